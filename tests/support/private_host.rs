//! A libvirtd of one's own, for benches and for tests that break it.
//!
//! The machine's own libvirtd is not touched. A program starts itself anew inside namespaces (unshare(1)) with a private
//! libvirtd, a bridge `br0` at 10.77.0.1/24 and nothing else; the end of the first process in there, however it comes,
//! is the end of every process, guest and interface in there. It needs root.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const HOST: &str = include_str!("private_host.sh");

/// Where what such a host has on disk goes: not under a home directory, since QEMU runs as another user and must reach
/// its disks.
pub(crate) fn directory(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).tempdir_in("/var/tmp")
}

/// Runs `program` inside a host of its own. Whoever spawns it holds its standard input until it has ended: when that is
/// closed, as it is when its holder is killed, all inside ends.
pub(crate) fn command(directory: &Path, program: &Path) -> Command {
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-c", HOST, "private_host.sh"])
        .arg(directory)
        .arg(program)
        .env_remove("LIBVIRT_DEFAULT_URI")
        .stdin(Stdio::piped());
    inside
}
