//! Finds the VM whose disks are to be changed, and the disk.

use crate::Context;
use crate::advice::{destroy_command, interrupted_creation};
use crate::disk::backing_chain;
use crate::disk::own_disk::{disk_on, follow_moves, is_on, recorded_of};
use crate::disk::ownership::Ownership;
use crate::storage::file_locks;
use crate::vm::lookup::{find_vm, vm_not_found};
use crate::vm::record_pair::RecordPair;
use foundry_core::error::{Advice, Code, Error};
use foundry_core::names::find_nearest;
use foundry_core::record::{Liveness, Owner, Record, RecordState, RecordedVolume};
use foundry_core::text::quote_for_shell;
use foundry_host::libvirt_xml::{DiskDescription, DomainDescription};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, DomainState, View};

/// A complete foundry VM, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VmHandle {
    pub(crate) domain: Domain,
    pub(crate) record: Record,
    /// The running definition; `None` if the VM is off.
    pub(crate) live: Option<DomainDescription>,
    /// The persistent definition, used at the next start.
    pub(crate) next: DomainDescription,
}

/// One disk of a VM, from the domain, the record, or both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskHandle {
    pub(super) target: String,
    pub(super) live: Option<DiskDescription>,
    pub(super) next: Option<DiskDescription>,
    pub(super) recorded: Option<RecordedVolume>,
}

impl VmHandle {
    /// Finds a VM whose disks are to be changed.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] if there is none, foundry did not create it, or it is incomplete.
    pub(crate) fn find(context: &Context, name: &str) -> Result<Self, Error> {
        let Some(domain) = find_vm(context, name)? else { return Err(vm_not_found(context, name)?) };
        let record = whole_record(&domain)?;
        if !domain.persistent {
            return Err(refused_unchanged(
                Code::ChangedMeanwhile,
                format!("VM '{}' has no definition any more", domain.name),
            )
            .because("somebody undefined it while it runs"));
        }
        if domain.saved {
            return Err(saved_memory_error(&domain));
        }
        let described = |view| context.host.describe(domain.uuid, view);
        let live = if domain.state.is_active() { described(View::Current)? } else { None };
        let Some(next) = described(View::Config)? else { return Err(vm_not_found(context, name)?) };
        let mut record = RecordPair::of(&domain, record, live.is_some().then_some(&next)).merge_volumes();
        let views: Vec<&DomainDescription> = live.iter().chain([&next]).collect();
        follow_moves(context, &mut record, &views)?;
        Ok(Self { domain, record, live, next })
    }

    /// The domain's name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.domain.name
    }

    /// Returns whether the guest executes, and so can react to changes of its disks.
    pub(super) fn is_executing(&self) -> bool {
        matches!(self.domain.state, DomainState::Running | DomainState::Blocked)
    }

    /// Checks that no program holds a lock on a disk of a VM that is off here. The VM may run on another host; its
    /// QEMU then holds the lock.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Storage`] if a program has it open and locked.
    pub(crate) fn check_not_locked(&self, context: &Context, volume: &RecordedVolume) -> Result<(), Error> {
        if self.live.is_some() || !file_locks::is_locked(context, &volume.path) {
            return Ok(());
        }
        Err(file_locks::open_elsewhere(self.name(), &volume.reference()).unchanged())
    }

    /// The names and paths that distinguish its own volumes from others.
    pub(crate) fn ownership(&self) -> Ownership<'_> {
        Ownership::of(&self.domain, self.live.iter().chain([&self.next]), &[])
    }

    /// Finds a disk by its target, by `boot`, or by the name of its volume.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] if there is none.
    pub(super) fn find_disk(&self, word: &str) -> Result<DiskHandle, Error> {
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
    pub(super) fn own_volume(&self, context: &Context, of: &VmHandle) -> Result<&RecordedVolume, Error> {
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

/// The error for a VM with saved memory: when it resumes, it expects the disks that it had.
fn saved_memory_error(domain: &Domain) -> Error {
    let (vm, word) = (&domain.name, domain.shell_name());
    refused_unchanged(Code::SavedMemoryInTheWay, format!("VM '{vm}' is off with its memory saved"))
        .because("its guest continues where it stopped, with the disks that it had then")
        .hint(format!(
            "virsh start {word} resumes it, and then its disks can change; \
             virsh managedsave-remove {word} discards its memory, as a power failure would"
        ))
}

/// The record of a complete VM; fails if the VM is being created or destroyed.
fn whole_record(domain: &Domain) -> Result<Record, Error> {
    let name = &domain.name;
    match domain.owner() {
        Owner::Foundry(record) => match record.state {
            RecordState::Created => Ok(*record),
            RecordState::Destroying => {
                Err(refused_unchanged(Code::HalfDestroyed, format!("VM '{name}' is half destroyed"))
                    .hint(Advice::from(destroy_command(domain, false)).text(" finishes it")))
            }
            RecordState::Creating if check_liveness(&record.maker) == Liveness::Dead => Err(
                refused_unchanged(Code::HalfCreated, format!("the creation of VM '{name}' was interrupted"))
                    .hint(interrupted_creation(domain)),
            ),
            RecordState::Creating => {
                Err(refused_unchanged(Code::BeingCreated, format!("VM '{name}' is being created"))
                    .hint("wait for it"))
            }
        },
        Owner::FirstFoundry(_) => {
            Err(refused_unchanged(Code::NotFoundrys, format!("VM '{name}' was made by the first foundry"))
                .because("its record does not say which volumes are its own")
                .hint("virsh changes its disks"))
        }
        Owner::Foreign => {
            Err(refused_unchanged(Code::NotFoundrys, format!("domain '{name}' was not made by foundry"))
                .hint("virsh changes its disks"))
        }
        Owner::Newer(version) => {
            Err(refused_unchanged(Code::RecordUnreadable, format!("VM '{name}' was made by a newer foundry"))
                .because(format!("its record has version {version}"))
                .hint("use that foundry"))
        }
        Owner::Unreadable(reason) => Err(refused_unchanged(
            Code::RecordUnreadable,
            format!("foundry's record of VM '{name}' cannot be read"),
        )
        .because(reason)),
    }
}

/// An error before any change.
pub(crate) fn refused_unchanged(code: Code, message: impl Into<String>) -> Error {
    Error::new(code, message).unchanged()
}
