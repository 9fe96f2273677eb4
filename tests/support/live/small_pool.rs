//! A pool on a file system of its own, small enough to be filled.

use std::path::{Path, PathBuf};

use super::bed::Bed;
use super::ran::program;

/// A file with an ext4 file system behind a loop device: what a pool of type `fs` mounts.
///
/// It goes with its bed, also after a failure: [`Bed`] stops the pools, which unmounts them, and then takes
/// away the loop devices whose files lie in its directory.
pub(crate) struct LoopDisk {
    /// The block device.
    pub(crate) device: String,
    file: PathBuf,
}

impl LoopDisk {
    /// Makes one of that many MiB.
    #[track_caller]
    pub(crate) fn new(bed: &Bed, end: &str, mib: u64) -> Self {
        std::fs::create_dir_all(bed.storage()).unwrap();
        let file = bed.storage().join(format!("{end}.disk"));
        std::fs::File::create(&file).unwrap().set_len(mib << 20).unwrap();
        let path = file.to_str().unwrap();
        // No blocks for root alone, so that what is available is what fits; no tables left to be written later.
        let settled = "lazy_itable_init=0,lazy_journal_init=0";
        program("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", settled, path]).exits(0);
        let device = program("losetup", &["--find", "--show", path]).exits(0).stdout.trim().to_owned();
        Self { device, file }
    }
}

impl Drop for LoopDisk {
    /// A device that is still mounted is detached by the kernel as soon as it is not.
    fn drop(&mut self) {
        program("losetup", &["--detach", &self.device]);
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A started pool of type `fs`, defined without foundry, on a [`LoopDisk`] of its own.
pub(crate) struct SmallPool<'a> {
    /// Its name.
    pub(crate) name: String,
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    bed: &'a Bed,
    _disk: LoopDisk,
}

impl<'a> SmallPool<'a> {
    /// Makes the pool `bed.name(end)` of that many MiB, of which the file system takes some itself.
    #[track_caller]
    pub(crate) fn new(bed: &'a Bed, end: &str, mib: u64) -> Self {
        let disk = LoopDisk::new(bed, end, mib);
        let (name, target) = (bed.name(end), bed.storage().join(end));
        std::fs::create_dir_all(&target).unwrap();
        bed.virsh().defines(
            "pool-define",
            &format!(
                "<pool type='fs'><name>{name}</name>
                <source><device path='{}'/><format type='ext4'/></source>
                <target><path>{}</path></target></pool>",
                disk.device,
                target.display()
            ),
        );
        bed.virsh().does(&["pool-start", &name]);
        Self { name, target, bed, _disk: disk }
    }

    /// What is left for whoever is not root, as the kernel says it now.
    pub(crate) fn available(&self) -> u64 {
        available(&self.target)
    }

    /// A file of that many bytes in it that libvirt has not seen; fails where it does not fit.
    #[track_caller]
    pub(crate) fn take(&self, file: &str, bytes: u64) {
        let path = self.target.join(file);
        program("fallocate", &["--length", &bytes.to_string(), path.to_str().unwrap()]).exits(0);
    }
}

impl Drop for SmallPool<'_> {
    /// Before the disk goes.
    fn drop(&mut self) {
        self.bed.virsh().tries(&["pool-destroy", &self.name]);
        self.bed.virsh().tries(&["pool-undefine", &self.name]);
    }
}

/// Bytes that are left on the file system of a directory.
pub(crate) fn available(directory: &Path) -> u64 {
    let said =
        program("df", &["--block-size=1", "--output=avail", directory.to_str().unwrap()]).exits(0).stdout;
    said.lines().last().unwrap().trim().parse().unwrap()
}

/// The loop devices whose files lie in a directory.
pub(super) fn loop_devices(directory: &str) -> Vec<String> {
    let list = program("losetup", &["--list", "--noheadings", "--output=NAME,BACK-FILE"]).stdout;
    let mine = |line: &&str| {
        line.split_whitespace().nth(1).is_some_and(|file| Path::new(file).starts_with(directory))
    };
    list.lines().filter(mine).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
