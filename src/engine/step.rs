//! What an operation does, as data: a program can act on it, and the command line makes sentences of it.

use std::path::PathBuf;
use std::time::Duration;

use foundry_core::error::Advice;
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

use crate::vm::goal::Goal;

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation begins.
    Begins(Task),
    /// A step begins that may take a while.
    Started(Step),
    /// A step is done.
    Finished(Step),
    /// Something that the user should know and that stops nothing.
    Warning {
        /// A sentence.
        message: String,
        /// What to do about it.
        advice: Option<Advice>,
    },
    /// Bytes of a transfer so far, and in all.
    Bytes {
        /// So far.
        done: u64,
        /// In all, if that is known.
        total: Option<u64>,
    },
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Creates a VM of that name.
    CreateVm(String),
    /// Destroys a VM of that name.
    DestroyVm(String),
    /// Removes what an interrupted creation left: those volumes.
    RemoveInterrupted(Vec<String>),
    /// Attaches a new disk.
    AttachDisk {
        /// The VM.
        vm: String,
        /// Size of the disk.
        size: Bytes,
    },
    /// Detaches a disk.
    DetachDisk {
        /// The VM.
        vm: String,
        /// Device name in the guest.
        target: String,
    },
    /// Ejects the cloud-init seed of a VM of that name.
    EjectSeed(String),
    /// Imports an image under that name.
    ImportImage(String),
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
    /// The domain is undefined.
    UndefineDomain,
    /// The VM is started.
    StartVm,
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
    /// A volume is deleted.
    DeleteVolume(VolumeRef),
    /// A disk is attached.
    AttachDisk {
        /// Whether a running guest has it at once, and not from its next start on.
        live: bool,
    },
    /// A disk is detached; a running guest may take a while to let go of it.
    DetachDisk,
    /// The CD-ROM drive with the seed is detached.
    DetachCdrom,
    /// A disk is grown.
    GrowDisk {
        /// Device name in the guest.
        target: String,
        /// Its new size.
        size: Bytes,
    },
    /// A VM is waited for.
    WaitFor {
        /// What it is waited for.
        goal: Goal,
        /// How long it took; zero at the beginning.
        took: Duration,
    },
    /// A server is asked for a newer image.
    AskServer(String),
    /// A URL or file is downloaded.
    Download(String),
    /// An image is converted.
    Convert {
        /// Its source.
        from: String,
        /// The new format.
        to: &'static str,
    },
    /// An image is imported.
    ImportImage,
    /// Another foundry process is waited for, which holds the lock of that: `VM 'web'`.
    WaitForLock(String),
    /// The volumes are waited for that libvirt is still creating in a pool.
    WaitForVolumes {
        /// The pool.
        pool: String,
    },
    /// Another VM is waited for, which is being created with the same address.
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
    /// The leftover was gone before.
    AlreadyGone(String),
    /// A VM of that name, and its volumes.
    Vm(String, Vec<String>),
    /// A VM of that name was removed by somebody else in the meantime.
    VmRemovedMeanwhile(String),
    /// The part of an image of that name that an interrupted import left.
    PartialImage(String),
    /// The note on the origin of an image of that name.
    Note(String),
    /// A volume of that name.
    Volume(String),
    /// A file with EFI variables.
    Nvram(PathBuf),
    /// An interrupted attach: the disk is recorded as the VM's.
    DiskRecorded {
        /// The VM.
        vm: String,
        /// Device name in the guest.
        target: String,
    },
}
