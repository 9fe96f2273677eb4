//! One disk of a VM, in both definitions and in the record.

use crate::Context;
use crate::disk::backing_chain;
use crate::disk::own_disk::{disk_on, is_on, recorded_of};
use crate::vm::handle::{VmHandle, refused_unchanged};
use foundry_core::error::{Code, Error};
use foundry_core::names::find_nearest;
use foundry_core::record::RecordedVolume;
use foundry_core::text::quote_for_shell;
use foundry_host::libvirt_xml::{DiskDescription, DomainDescription};

/// One disk of a VM, from the domain, the record, or both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DiskHandle {
    pub(crate) target: String,
    pub(crate) live: Option<DiskDescription>,
    pub(crate) next: Option<DiskDescription>,
    pub(crate) recorded: Option<RecordedVolume>,
}

impl VmHandle {
    /// Finds a disk by its target, by `boot`, or by the name of its volume.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] if there is none.
    pub(crate) fn find_disk(&self, word: &str) -> Result<DiskHandle, Error> {
        let named = if word == "boot" { "vda" } else { word };
        if let Some(described) = self.described_disks().find(|d| d.target == named) {
            return Ok(self.disk_handle(described.target.clone(), self.recorded_of(described)));
        }
        // The name of a volume; or the target that a disk was created with, which may have changed since.
        let is_meant = |v: &&RecordedVolume| v.name == word || v.disk_target().as_deref() == Some(named);
        if let Some(recorded) = self.record.volumes.iter().find(is_meant) {
            let on_it = self.described_disks().find(|d| is_on(d, recorded)).map(|d| d.target.clone());
            let target = on_it.or_else(|| recorded.disk_target()).unwrap_or_else(|| word.to_owned());
            return Ok(self.disk_handle(target, Some(recorded)));
        }
        let targets = self.taken_targets();
        if targets.iter().any(|target| target == named) {
            return Ok(self.disk_handle(named.to_owned(), None));
        }
        let error =
            refused_unchanged(Code::DiskMissing, format!("VM '{}' has no disk '{word}'", self.name()));
        let hint = match find_nearest(word, targets.iter().map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'? It has {}", targets.join(", ")),
            None => format!("it has {}", targets.join(", ")),
        };
        Err(error.hint(hint))
    }

    /// The disks of the running and of the persistent definition.
    fn described_disks(&self) -> impl Iterator<Item = &DiskDescription> {
        self.live.iter().chain([&self.next]).flat_map(|d| &d.disks)
    }

    fn recorded_of(&self, disk: &DiskDescription) -> Option<&RecordedVolume> {
        let views: Vec<&DomainDescription> = self.live.iter().chain([&self.next]).collect();
        recorded_of(&self.record.volumes, &views, disk)
    }

    /// Collects what both definitions say about a disk. They may have different targets for it, but it is on one
    /// volume.
    fn disk_handle(&self, target: String, recorded: Option<&RecordedVolume>) -> DiskHandle {
        let of = |described: &DomainDescription| {
            let on_it = recorded.and_then(|recorded| disk_on(described, recorded));
            let by_target = || {
                described.disk(&target).filter(|d| self.recorded_of(d).is_none_or(|r| Some(r) == recorded))
            };
            on_it.or_else(by_target).cloned()
        };
        DiskHandle {
            live: self.live.as_ref().and_then(of),
            next: of(&self.next),
            recorded: recorded.cloned(),
            target,
        }
    }

    /// All targets that are taken, in the domain or in the record, sorted.
    pub(super) fn taken_targets(&self) -> Vec<String> {
        let mut all: Vec<String> = self.described_disks().map(|d| d.target.clone()).collect();
        all.extend(self.record.volumes.iter().filter_map(RecordedVolume::disk_target));
        all.extend(self.record.manifest.spec.data_disks.iter().filter_map(|d| d.device.clone()));
        all.sort();
        all.dedup();
        all
    }
}

impl DiskHandle {
    /// Its description in the running definition, else in the persistent one.
    pub(super) fn description(&self) -> Option<&DiskDescription> {
        self.live.as_ref().or(self.next.as_ref())
    }

    /// The disk's volume, if the disk is the one that foundry created and was not replaced by a snapshot or by the
    /// user.
    ///
    /// # Errors
    /// The reason why it is not.
    pub(crate) fn own_volume(&self, context: &Context, of: &VmHandle) -> Result<&RecordedVolume, Error> {
        let (vm, target) = (of.name(), &self.target);
        let Some(recorded) = &self.recorded else {
            return Err(refused_unchanged(
                Code::DiskNotOwn,
                format!("disk '{target}' of VM '{vm}' was not made by foundry"),
            ));
        };
        match self.live.iter().chain(&self.next).find(|d| !is_on(d, recorded)) {
            None => Ok(recorded),
            Some(other) => Err(self.not_on_its_own(context, of, recorded, other)?),
        }
    }

    /// Explains what replaced the volume. If the volume is in the backing chain of the replacement, an external
    /// snapshot made it, and the hint says how to merge it back.
    fn not_on_its_own(
        &self,
        context: &Context,
        of: &VmHandle,
        recorded: &RecordedVolume,
        other: &DiskDescription,
    ) -> Result<Error, Error> {
        let (vm, target) = (of.name(), &self.target);
        let place = other.source.path().unwrap_or("another volume");
        let error = refused_unchanged(
            Code::DiskNotOwn,
            format!("disk '{target}' of VM '{vm}' is not on its own volume"),
        );
        let (vm, word) = (of.domain.shell_name(), quote_for_shell(&other.target));
        let is_known = self.live.as_ref().is_some_and(|d| d.backing_chain.contains(&recorded.path));
        let is_snapshot = is_known || backing_chain::lies_on(context, place, recorded)?;
        Ok(match is_snapshot {
            // Without --base, libvirt commits the whole chain, down into the image that other VMs use as backing file.
            true => error.because(format!("it is on {place}, which an external snapshot made")).hint(format!(
                "virsh blockcommit {vm} {word} --active --pivot --base {} brings it back into the volume while the VM runs; \
                 without --base it would go into the image below",
                quote_for_shell(recorded.path.as_str())
            )),
            false => error
                .because(format!("it is on {place}, and volume '{}' was made for it", recorded.name))
                .hint(format!("virsh domblklist {vm} --details shows what each disk is on")),
        })
    }
}
