//! A VM with its disks and snapshots, as they are now.

use crate::Context;
use crate::disk::backing_chain;
use crate::storage::backend::PoolBackend;
use crate::storage::usage;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::lookup::removed_meanwhile;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::find_nearest;
use foundry_core::record::RecordedVolume;
use foundry_core::text::quote_for_shell;
use foundry_host::Domain;
use foundry_host::libvirt_xml::{
    DiskDescription, DiskDevice, DiskSource, DomainDescription, SnapshotDescription,
};

/// A VM with its disks and snapshots.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SnapshotScene {
    pub(super) handle: VmHandle,
    /// Its snapshots, parents first.
    pub(super) snapshots: Vec<SnapshotDescription>,
}

/// A disk that foundry made, and the files that it is on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChainedDisk {
    /// Device name in the guest.
    pub(super) target: String,
    /// The volume that the disk is on.
    pub(super) volume: RecordedVolume,
    /// The paths of its files, the newest first; the last one may be an image.
    pub(super) chain: Vec<String>,
}

impl SnapshotScene {
    /// Looks at a VM that was found before.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] if it may not be changed, or a failed call to the host.
    pub(super) fn look(context: &Context, domain: &Domain) -> Result<Self, Error> {
        let handle = VmHandle::find(context, &domain.name)?;
        if handle.domain.uuid != domain.uuid {
            return Err(removed_meanwhile(&domain.name).unchanged());
        }
        // Until a rescan, libvirt does not list the overlays that it made itself.
        refresh_pools_of(context, &handle.record.volumes)?;
        let described = context.host.describe_snapshots(domain.uuid)?;
        let snapshots =
            described.iter().map(|xml| SnapshotDescription::read(xml)).collect::<Result<_, _>>()?;
        Ok(Self { handle, snapshots })
    }

    /// The definition that counts now: the running one, else the persistent one.
    pub(super) fn present(&self) -> &DomainDescription {
        self.handle.live.as_ref().unwrap_or(&self.handle.next)
    }

    /// Finds a snapshot.
    ///
    /// # Errors
    /// [`Code::SnapshotMissing`] if there is none of that name.
    pub(super) fn find(&self, name: &str) -> Result<&SnapshotDescription, Error> {
        if let Some(found) = self.snapshots.iter().find(|snapshot| snapshot.name == name) {
            return Ok(found);
        }
        let vm = self.handle.name();
        let error = refused_unchanged(Code::SnapshotMissing, format!("VM '{vm}' has no snapshot '{name}'"));
        let names: Vec<&str> = self.snapshots.iter().map(|s| s.name.as_str()).collect();
        Err(match find_nearest(name, names.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'? It has {}", names.join(", "))),
            None if names.is_empty() => error,
            None => error.hint(format!("it has {}", names.join(", "))),
        })
    }

    /// Whether foundry made a snapshot: the record names all its overlays.
    pub(super) fn is_own(&self, snapshot: &SnapshotDescription) -> bool {
        is_own_snapshot(&self.handle.record.volumes, snapshot)
    }

    /// Refuses a snapshot of another tool.
    pub(super) fn check_own(&self, snapshot: &SnapshotDescription, virsh: &str) -> Result<(), Error> {
        if self.is_own(snapshot) {
            return Ok(());
        }
        let (vm, name) = (self.handle.name(), &snapshot.name);
        let word = self.handle.domain.shell_name();
        Err(refused_unchanged(
            Code::NotFoundrys,
            format!("snapshot '{name}' of VM '{vm}' was not made by foundry"),
        )
        .because("the record does not name its overlays, so foundry cannot tell what belongs to it")
        .hint(format!("{virsh} {word} {}", quote_for_shell(name.as_str()))))
    }

    /// The snapshots that were made after this one, the newest last.
    pub(super) fn later_than(&self, snapshot: &SnapshotDescription) -> Vec<&SnapshotDescription> {
        let mut found = vec![snapshot.name.as_str()];
        let mut later = Vec::new();
        // Parents come first.
        for candidate in &self.snapshots {
            if candidate.parent.as_deref().is_some_and(|parent| found.contains(&parent)) {
                found.push(&candidate.name);
                later.push(candidate);
            }
        }
        later
    }

    /// The hard disks that foundry made, and the targets of those that it did not make.
    ///
    /// # Errors
    /// If another tool has put one of foundry's disks on another file.
    pub(super) fn own_disks(&self, context: &Context) -> Result<(Vec<ChainedDisk>, Vec<String>), Error> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        let is_writable = |d: &&DiskDescription| d.device == DiskDevice::Disk && !d.readonly;
        for disk in self.present().disks.iter().filter(is_writable) {
            let found = self.handle.find_disk(&disk.target)?;
            if found.recorded.is_none() {
                others.push(disk.target.clone());
                continue;
            }
            let volume = found.own_volume(context, &self.handle)?.clone();
            let chain = match &disk.source {
                DiskSource::File(path) => backing_chain::chain_of(context, path)?,
                _ => vec![volume.path.clone()],
            };
            own.push(ChainedDisk { target: disk.target.clone(), volume, chain });
        }
        Ok((own, others))
    }

    /// Refuses if the disks are not on the chains that the snapshots describe. That is so after an interrupted restore,
    /// and after another tool has changed something.
    pub(super) fn check_chains(&self, disks: &[ChainedDisk]) -> Result<(), Error> {
        let vm = self.handle.name();
        let Some(odd) = self.find_off_chain(disks) else { return Ok(()) };
        let error = refused_unchanged(
            Code::SnapshotInTheWay,
            format!("the disks of VM '{vm}' are not on the overlays of snapshot '{}'", odd.name),
        );
        Err(match self.find_half_restored(disks) {
            Some(snapshot) => error
                .because(format!("a restore of snapshot '{snapshot}' was interrupted"))
                .hint(Advice::from(self.restore_command(snapshot)).text(" finishes it")),
            None => error.because("another tool has changed the disks or the snapshots").hint(format!(
                "virsh snapshot-delete {} {} --metadata removes its description",
                self.handle.domain.shell_name(),
                quote_for_shell(odd.name.as_str())
            )),
        })
    }

    /// A snapshot of foundry with an overlay that is in no chain of the disks.
    fn find_off_chain(&self, disks: &[ChainedDisk]) -> Option<&SnapshotDescription> {
        let is_off_chain = |snapshot: &&SnapshotDescription| {
            snapshot.disks.iter().any(|of| {
                let disk = disks.iter().find(|disk| disk.target == of.target);
                disk.is_some_and(|disk| !disk.chain.contains(&of.overlay))
            })
        };
        self.snapshots.iter().filter(|s| self.is_own(s)).find(is_off_chain)
    }

    /// The snapshot whose restore was interrupted after the disks were set back: the overlays that the restore made name
    /// it.
    pub(super) fn find_half_restored<'a>(&self, disks: &'a [ChainedDisk]) -> Option<&'a str> {
        self.find_off_chain(disks)?;
        let mut begun = disks
            .iter()
            .filter_map(|disk| disk.volume.overlay_of.as_ref())
            .map(|mark| mark.snapshot.as_str());
        begun.find(|name| self.snapshots.iter().any(|s| s.name == *name))
    }

    pub(super) fn restore_command(&self, snapshot: &str) -> Verb {
        Verb::SnapshotRestore { vm: self.handle.domain.command_name(), snapshot: snapshot.to_owned() }
    }

    pub(super) fn delete_command(&self, snapshot: &str) -> Verb {
        Verb::SnapshotDelete { vm: self.handle.domain.command_name(), snapshot: snapshot.to_owned() }
    }

    /// Refuses snapshots inside an image: libvirt can then not delete an external one, and old versions delete the image
    /// together with the internal one.
    pub(super) fn refuse_internal(&self) -> Result<(), Error> {
        let Some(internal) = self.snapshots.iter().find(|s| s.is_internal) else { return Ok(()) };
        let (vm, name) = (self.handle.name(), &internal.name);
        Err(refused_unchanged(
            Code::SnapshotInTheWay,
            format!("VM '{vm}' has the internal snapshot '{name}'"),
        )
        .because("libvirt cannot delete an external snapshot that follows an internal one")
        .hint(format!(
            "if nobody needs it, virsh snapshot-delete {} {} deletes it",
            self.handle.domain.shell_name(),
            quote_for_shell(name.as_str())
        )))
    }

    /// Refuses disks that are being copied or merged, and those that a program outside this libvirt uses.
    pub(super) fn check_idle(&self, context: &Context, disks: &[ChainedDisk]) -> Result<(), Error> {
        for disk in disks {
            let found = self.handle.find_disk(&disk.target)?;
            crate::disk::check_block_job(context, &self.handle, &found)?;
            self.handle.check_not_locked(context, &disk.volume)?;
        }
        Ok(())
    }
}

/// Whether a record names all overlays of a snapshot, so that foundry made it.
pub(super) fn is_own_snapshot(recorded: &[RecordedVolume], snapshot: &SnapshotDescription) -> bool {
    let is_known = |path: &String| recorded.iter().any(|v| v.overlay_of.is_some() && v.path == *path);
    !snapshot.has_memory
        && !snapshot.is_internal
        && !snapshot.disks.is_empty()
        && snapshot.disks.iter().all(|disk| is_known(&disk.overlay))
}

/// Rescans the active pools of these volumes.
pub(super) fn refresh_pools_of(context: &Context, volumes: &[RecordedVolume]) -> Result<(), Error> {
    let mut pools: Vec<&str> = volumes.iter().map(|v| v.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    for name in pools {
        let pool = context.host.pool(name)?;
        let is_useful = |p: &foundry_host::Pool| {
            p.active
                && PoolBackend::of(&p.kind) == Some(PoolBackend::Files)
                && !usage::is_directory_away(context, p)
        };
        if pool.as_ref().is_some_and(is_useful) {
            usage::refresh_pool(context, name)?;
        }
    }
    Ok(())
}
