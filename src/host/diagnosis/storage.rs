//! Causes in pools, volumes and files of disks.

use std::fmt;

use super::permission::{is_denied, refused_file};
use super::words::{first_line, has_any, in_parentheses, named_after, quoted_after};
use super::{Diagnosis, Evidence};
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::text::quote_for_shell;

/// A process that has a file open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its program name (proc_pid_comm(5)).
    pub name: String,
    /// The user that runs it, if known.
    pub user: Option<String>,
    /// The domain whose QEMU it is, if libvirt itself says so.
    pub vm: Option<String>,
    /// Whether it may write to the file.
    pub writes: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vm {
            Some(vm) => write!(f, "VM '{vm}' (process {})", self.pid),
            None => match &self.user {
                Some(user) => write!(f, "{} of user {user} (process {})", self.name, self.pid),
                None => write!(f, "{} (process {})", self.name, self.pid),
            },
        }
    }
}

pub(super) fn out_of_space(text: &str, _: &Evidence) -> Option<Diagnosis> {
    has_any(text, &["No space left on device", "Disk quota exceeded"]).then(|| {
        Diagnosis::new(Code::OutOfSpace, "no space left on the host's file system").hint(
            Advice::from("df -h and df -i there show it; ")
                .run(Verb::GcDryRun)
                .text(" lists unused files, ")
                .run(Verb::ImageList)
                .text(" lists the images"),
        )
    })
}

/// EFBIG is about the file's size, not about free space: ext4 ends at 16 TiB with its usual blocks.
pub(super) fn too_large(text: &str, _: &Evidence) -> Option<Diagnosis> {
    text.contains("File too large").then(|| {
        Diagnosis::new(Code::FileTooLarge, "the pool's file system does not support files of that size").hint(
            "format: qcow2 makes a file that grows with what is written; XFS has files of up to 8 EiB, ext4 of 16 TiB",
        )
    })
}

/// Pools and volumes that were deleted or stopped meanwhile.
pub(super) fn object_gone(text: &str, _: &Evidence) -> Option<Diagnosis> {
    if let Some(pool) = named_after(text, "storage pool ").filter(|_| text.contains("is not active")) {
        return Some(
            Diagnosis::new(Code::PoolInactive, format!("pool '{pool}' is not started"))
                .hint(Verb::PoolStart { pool: pool.into() }),
        );
    }
    if let Some(pool) = named_after(text, "no storage pool with matching name ") {
        return Some(
            Diagnosis::new(Code::PoolMissing, format!("there is no pool '{pool}'"))
                .hint(Advice::from(Verb::PoolList).text(" lists the pools")),
        );
    }
    let volume = named_after(text, "no storage vol with matching name ")
        .or_else(|| named_after(text, "no storage vol with matching path "))?;
    Some(
        Diagnosis::new(Code::VolumeMissing, format!("there is no volume '{volume}'"))
            .hint(Advice::from(Verb::PoolRefresh { pool: "POOL".into() }).text(" rescans it")),
    )
}

pub(super) fn driver_missing(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let kind =
        text.split_once("missing backend for pool type ").and_then(|(_, rest)| in_parentheses(rest))?;
    Some(
        Diagnosis::new(
            Code::PoolDriverMissing,
            format!(
                "libvirt on the host has no driver for pools of type {kind}; its package is libvirt-daemon-driver-storage-{kind}"
            ),
        )
        .hint(format!(
            "apt install libvirt-daemon-driver-storage-{kind} there (or dnf), then systemctl restart libvirtd (or virtstoraged)"
        )),
    )
}

pub(super) fn not_mounted(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let (_, said) =
        text.split_once("unexpected exit status ").filter(|(before, _)| before.contains("/mount "))?;
    let said = said.split_once(": ").map_or(said, |(_, said)| said);
    Some(Diagnosis::new(Code::PoolSourceMissing, first_line(said)))
}

/// QEMU and qemu-nbd lock each image that they use. The lock ends with the process.
pub(super) fn open_elsewhere(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    has_any(text, &["\"write\" lock", "\"consistent read\" lock", "Failed to lock byte"]).then_some(())?;
    let Some(file) = locked_file(text) else {
        return Some(Diagnosis::new(Code::DiskOpenElsewhere, "another process has one of its disks open"));
    };
    let told = |who: String| {
        Diagnosis::new(
            Code::DiskOpenElsewhere,
            format!("{who} '{file}' open, which is one of its disks or below one"),
        )
    };
    let holders = in_the_way(text, &evidence.holders);
    if holders.is_empty() {
        return Some(
            told("another process has".into())
                .hint(format!("fuser -v {} shows who, on the host", quote_for_shell(file))),
        );
    }
    let all: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let have = if all.len() == 1 { "has" } else { "have" };
    Some(told(format!("{} {have}", all.join(" and "))).hint(how_to_free(&holders)))
}

/// The holders that the lock is about. A reader conflicts with writers only, and many VMs may read the same image.
fn in_the_way<'a>(text: &str, holders: &'a [Holder]) -> Vec<&'a Holder> {
    let only_writers = text.contains("shared \"write\" lock") && holders.iter().any(|holder| holder.writes);
    holders.iter().filter(|holder| holder.writes || !only_writers).collect()
}

/// How to release the file: shut down a VM with libvirt; look at another process before killing it.
fn how_to_free(holders: &[&Holder]) -> String {
    let (vms, others): (Vec<&Holder>, Vec<&Holder>) = holders.iter().partition(|holder| holder.vm.is_some());
    let mut ways: Vec<String> = vms
        .iter()
        .filter_map(|holder| holder.vm.as_deref())
        .map(|vm| format!("virsh shutdown {} ends that VM, if it is not needed", quote_for_shell(vm)))
        .collect();
    if !others.is_empty() {
        let pids =
            |holders: &[&Holder]| holders.iter().map(|holder| holder.pid.to_string()).collect::<Vec<_>>();
        let show = format!("ps -fp {} shows what for", pids(&others).join(","));
        // Killing the QEMU of another libvirt would lose unwritten data of its guest.
        let (guests, others): (Vec<&Holder>, Vec<&Holder>) = others
            .into_iter()
            .partition(|holder| holder.name.starts_with("qemu-system") || holder.name == "qemu-kvm");
        ways.push(match (guests.as_slice(), others.as_slice()) {
            ([], others) => format!("{show}; if nothing needs it there: kill {}", pids(others).join(" ")),
            (_, []) => format!("{show}; if that guest is not needed, stop it where it was started"),
            (_, others) => format!(
                "{show}; if that guest is not needed, stop it where it was started; if nothing needs the others: kill {}",
                pids(others).join(" ")
            ),
        });
    }
    ways.join("; ")
}

/// The path in QEMU's line `Is another process using the image [PATH]?`.
pub fn locked_file(text: &str) -> Option<&str> {
    super::words::text_between(text, "using the image [", "]?").filter(|path| path.starts_with('/'))
}

/// The directory of a pool, which libvirt itself reads.
pub(super) fn directory_unreadable(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let quoted = quoted_after(text, "cannot open directory ")?;
    let word = quote_for_shell(quoted.trim_matches('\''));
    if text.contains("Permission denied") {
        return Some(
            Diagnosis::new(
                Code::PoolUnreadable,
                format!("its directory {quoted} is not readable for the user of QEMU"),
            )
            .hint(format!("ls -ld {word} there; a network file system may keep root out (root_squash)")),
        );
    }
    text.contains("No such file").then(|| {
        Diagnosis::new(Code::PoolSourceMissing, format!("its directory {quoted} does not exist"))
            .hint(format!("mount what belongs there, or: mkdir -p {word}"))
    })
}

/// A file that libvirt or qemu-img could not create in a pool.
pub(super) fn not_made(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let file = named_after(text, "Could not create ")
        .or_else(|| named_after(text, "ailed to create file "))
        .or_else(|| named_after(text, "cannot create path "))
        .filter(|path| path.starts_with('/'))?;
    let (directory, _) = file.rsplit_once('/').filter(|(directory, _)| !directory.is_empty())?;
    let word = quote_for_shell(directory);
    let (why, hint) = if text.contains("Read-only file system") {
        (
            "its file system is read-only",
            format!("findmnt -T {word} shows it, dmesg whether an error made it so"),
        )
    } else if is_denied(text) {
        (
            "libvirt lacks the permission",
            format!(
                "ls -ld {word} and lsattr -d {word} there; a network file system may keep root out (root_squash)"
            ),
        )
    } else {
        return None;
    };
    let cause = format!("cannot create a file in the pool's directory {directory}: {why}");
    Some(Diagnosis::new(Code::PoolUnwritable, cause).hint(hint))
}

/// A disk, or a file below it, no longer exists.
pub(super) fn file_missing(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let file = refused_file(text).filter(|_| text.contains("No such file"))?;
    let diagnosis = Diagnosis::new(Code::DiskUnreadable, format!("the file '{}' does not exist", file.path));
    Some(match named_after(text, "of storage file ") {
        Some(disk) => diagnosis.hint(format!("the disk '{disk}' needs it: put it back where it was")),
        None => diagnosis,
    })
}

/// A file whose format is not the configured one.
pub(super) fn not_an_image(text: &str, _: &Evidence) -> Option<Diagnosis> {
    text.contains("Image is not in qcow2 format").then(|| {
        Diagnosis::new(
            Code::NotAnImage,
            "one of its disks, or an image below one, is no longer a qcow2 image",
        )
        .hint(Advice::from(Verb::ImageList).text(" shows what each image is"))
    })
}
