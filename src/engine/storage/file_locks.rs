//! Locks on the files of volumes, if the host is this machine.

use std::fs::{self, Metadata};
use std::path::Path;

use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_core::record::VolumeRef;
use foundry_host::local;

/// The file itself, not what a link leads to; `None` on another machine, or if it cannot be seen.
pub(crate) fn file_metadata(context: &Context, path: &str) -> Option<Metadata> {
    fs::symlink_metadata(file_here(context, path)?).ok()
}

/// Why a file may be in use, by the locks on it. Nothing is known of another machine's files.
pub(crate) fn reason_if_locked(context: &Context, path: &str) -> Option<String> {
    local::reason_if_locked(file_here(context, path)?)
}

/// Whether a program certainly has a file open and locked.
pub(crate) fn is_locked(context: &Context, path: &str) -> bool {
    file_here(context, path).is_some_and(local::is_locked)
}

fn file_here<'a>(context: &Context, path: &'a str) -> Option<&'a Path> {
    (context.host.is_local() && path.starts_with('/')).then(|| Path::new(path))
}

/// The error for a disk that is in use by a program outside this libvirt.
pub(crate) fn open_elsewhere(vm: &str, volume: &VolumeRef) -> Error {
    Error::new(Code::DiskOpenElsewhere, format!("{volume}, a disk of VM '{vm}', is open elsewhere"))
        .because("a program has it open and locked, as a QEMU of another libvirt or of another host does")
}
