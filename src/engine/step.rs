//! What an operation does, as data: a program can act on it, and the command line makes sentences of it.

use std::path::PathBuf;
use std::time::Duration;

use foundry_core::error::Advice;
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

use crate::vm::goal::Goal;

/// Progress of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation begins.
    Begins(Task),
    /// A step begins that may take a while.
    Started(Step),
    /// A step is done.
    Finished(Step),
    /// A warning for the user; the operation continues.
    Warning {
        /// The warning, as one sentence.
        message: String,
        /// What to do about it.
        advice: Option<Advice>,
    },
    /// Progress of a transfer, in bytes.
    Bytes {
        /// Bytes transferred so far.
        done: u64,
        /// Total bytes, if known.
        total: Option<u64>,
    },
}

/// An operation on a VM or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Creates a VM of that name.
    CreateVm(String),
    /// Copies a VM.
    CloneVm {
        /// The name of the original.
        from: String,
        /// The name of the copy.
        to: String,
    },
    /// Changes a VM of that name as its manifest says.
    ChangeVm(String),
    /// Renames a VM.
    RenameVm {
        /// The name before.
        from: String,
        /// The new name.
        to: String,
    },
    /// Destroys a VM of that name.
    DestroyVm(String),
    /// Removes what an interrupted creation left: those volumes.
    RemoveInterrupted(Vec<String>),
    /// Attaches a new disk.
    AttachDisk {
        /// Name of the VM.
        vm: String,
        /// Size of the disk.
        size: Bytes,
    },
    /// Detaches a disk.
    DetachDisk {
        /// Name of the VM.
        vm: String,
        /// Device name in the guest.
        target: String,
    },
    /// Ejects the cloud-init seed of a VM of that name.
    EjectSeed(String),
    /// Gives a VM of that name a new boot disk and a new seed.
    RepaveVm(String),
    /// Gives a VM of that name its previous boot disk and seed again.
    RollBackVm(String),
    /// Makes a snapshot.
    CreateSnapshot {
        /// Name of the VM.
        vm: String,
        /// Name of the snapshot.
        snapshot: String,
    },
    /// Restores a snapshot.
    RestoreSnapshot {
        /// Name of the VM.
        vm: String,
        /// Name of the snapshot.
        snapshot: String,
    },
    /// Deletes a snapshot.
    DeleteSnapshot {
        /// Name of the VM.
        vm: String,
        /// Name of the snapshot.
        snapshot: String,
    },
    /// Imports an image under that name.
    ImportImage(String),
    /// Makes a warm image of that name.
    WarmImage(String),
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The manifest and the host are checked.
    Validate,
    /// What an interrupted creation left is removed.
    RemoveInterrupted,
    /// The domain is defined.
    DefineDomain,
    /// The domain gets another name.
    RenameDomain,
    /// The persistent definition is changed.
    ChangeDefinition,
    /// These fields of the running VM are changed.
    ChangeRunning(String),
    /// The VM gets its new boot disk.
    ExchangeBootDisk,
    /// The VM gets its previous boot disk again.
    BringBackBootDisk,
    /// The domain is undefined.
    UndefineDomain,
    /// The VM is started.
    StartVm,
    /// The memory of the guest is saved.
    SaveMemory,
    /// A guest that started from saved memory becomes another machine.
    RenewIdentity,
    /// The VM is stopped.
    StopVm,
    /// The guest shuts down.
    ShutDownGuest,
    /// All disks of a new VM are created.
    CreateStorage {
        /// Size of the boot disk.
        boot: Bytes,
        /// Size of all data disks together; `None` if there are none.
        data: Option<Bytes>,
        /// How the boot disk is made from the image, if it is not an overlay: `a copy of the image`.
        origin: Option<&'static str>,
    },
    /// The cloud-init seed is generated and stored.
    GenerateSeed,
    /// A VM's volumes are deleted.
    RemoveStorage {
        /// Whether the seed is the only one.
        only_seed: bool,
    },
    /// A volume is created.
    CreateVolume(VolumeRef),
    /// A volume is created with the content of another VM's disk.
    CopyVolume(VolumeRef),
    /// A volume is deleted.
    DeleteVolume(VolumeRef),
    /// A disk is attached.
    AttachDisk {
        /// Whether a running guest gets it at once, not at its next start.
        live: bool,
    },
    /// A disk is detached; a running guest may take a while to release it.
    DetachDisk,
    /// The CD-ROM drive with the seed is detached.
    DetachCdrom,
    /// A snapshot is made.
    MakeSnapshot,
    /// The disks are set back to a snapshot.
    RestoreDisks,
    /// The overlays of a snapshot are merged into the files below them.
    MergeSnapshot,
    /// A disk is grown.
    GrowDisk {
        /// Device name in the guest.
        target: String,
        /// The size after growing.
        size: Bytes,
    },
    /// Waits until a VM has reached a goal.
    WaitFor {
        /// The state that the VM is to reach.
        goal: Goal,
        /// The time that it took; zero at the start.
        took: Duration,
    },
    /// A server is queried for a newer image.
    AskServer(String),
    /// A URL or file is downloaded.
    Download(String),
    /// An image is converted.
    Convert {
        /// The source, for messages.
        from: String,
        /// The format to convert to, as qemu-img names it.
        to: &'static str,
    },
    /// An image is imported.
    ImportImage,
    /// Waits for another foundry process, which holds the lock of this resource: `VM 'web'`.
    WaitForLock(String),
    /// Waits for volumes that libvirt is still creating in a pool.
    WaitForVolumes {
        /// Name of the pool.
        pool: String,
    },
    /// Waits for another VM, which is being created with the same address.
    WaitForRival,
    /// A test guest runs for a moment.
    RunProbe,
    /// Something that an interrupted command left is removed.
    CleanUp(Cleanup),
}

/// What was cleaned up, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleanup {
    /// The leftover as it is listed.
    Leftover(String),
    /// The leftover had already been deleted.
    AlreadyGone(String),
    /// A VM of that name, and its volumes.
    Vm(String, Vec<String>),
    /// A VM of that name was deleted by another process meanwhile.
    VmRemovedMeanwhile(String),
    /// The partial image of that name, left by an interrupted import.
    PartialImage(String),
    /// The note on the origin of an image of that name.
    Note(String),
    /// A volume of that name.
    Volume(String),
    /// A file with EFI variables.
    Nvram(PathBuf),
    /// A snapshot, as `VM/SNAPSHOT`: what an interrupted command left of it.
    Snapshot(String),
    /// An interrupted attach: the disk is recorded as the VM's.
    DiskRecorded {
        /// Name of the VM.
        vm: String,
        /// Device name in the guest.
        target: String,
    },
}
