//! Checks the arguments that describe a pool.

use std::net::IpAddr;

use super::{Secret, Server};
use crate::names::find_nearest;

/// File system formats of a block device that libvirt supports (its `storagepool.rng`, `sourcefmtfs`).
pub(super) const FS_FORMATS: [&str; 14] = [
    "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2",
    "vmfs",
];

/// Formats of a network file system that libvirt supports (`sourcefmtnetfs`).
pub(super) const NETFS_FORMATS: [&str; 4] = ["auto", "nfs", "cifs", "glusterfs"];

/// The checked value, or what is wrong with the argument.
pub(super) type CheckedWord<T> = Result<T, String>;

/// Checks an absolute path on the host without `..`.
pub(super) fn check_path(word: &str) -> CheckedWord<String> {
    let has_no_parent_step = !word.split('/').any(|part| part == "..");
    if word.starts_with('/') && has_no_parent_step && !has_control(word) {
        return Ok(word.to_owned());
    }
    Err(format!("{word:?} is not an absolute path without '..'"))
}

/// Checks the path of a block device.
pub(super) fn check_device(word: &str) -> CheckedWord<String> {
    check_path(word)
        .map_err(|_| format!("{word:?} is not a device: write its path, such as /dev/disk/by-id/…"))
}

/// Checks a format against the known ones.
pub(super) fn check_format(word: &str, known: &[&str]) -> CheckedWord<String> {
    if known.contains(&word) {
        return Ok(word.to_owned());
    }
    let near = find_nearest(word, known.iter().copied());
    let near = near.map(|n| format!(": did you mean {n}?")).unwrap_or_default();
    Err(format!("--format {word:?} is not one of {}{near}", known.join(", ")))
}

/// Checks a version of NFS, as in the mount option `nfsvers` (nfs(5)).
pub(super) fn check_version(word: &str) -> CheckedWord<String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if word.len() <= 8 && word.split('.').all(digits) {
        return Ok(word.to_owned());
    }
    Err(format!("--protocol-ver {word:?} is not a version: write 4 or 4.2"))
}

/// Parses `HOST:/EXPORT`, or `HOST:SHARE` if the protocol is not NFS.
pub(super) fn parse_export(word: &str, is_nfs: bool) -> CheckedWord<(String, String)> {
    let wrong = || format!("{word:?} is not HOST:{}", if is_nfs { "/DIRECTORY" } else { "SHARE" });
    // A bracketed IPv6 host contains colons itself.
    let (host, rest) = match word.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(wrong)?,
        None => word.split_once(':').ok_or_else(wrong)?,
    };
    let fits = if is_nfs { rest.starts_with('/') } else { !rest.is_empty() && !rest.starts_with('-') };
    let has_no_parent_step = !rest.split('/').any(|part| part == "..");
    if !fits || !has_no_parent_step || has_control(rest) {
        return Err(wrong());
    }
    Ok((check_host_name(host).ok_or_else(wrong)?, rest.to_owned()))
}

/// Checks the name of an LVM volume group (lvm(8), "VALID NAMES").
pub(super) fn check_volume_group(word: &str) -> CheckedWord<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-".contains(c);
    if (1..=127).contains(&word.len())
        && word.chars().all(plain)
        && !word.starts_with('-')
        && !matches!(word, "." | "..")
    {
        return Ok(word.to_owned());
    }
    Err(format!("{word:?} is not the name of a volume group: use a-z, A-Z, 0-9 and + _ . -"))
}

/// Checks the name of a ZFS pool or dataset (zfs(8), zpoolconcepts(7)).
pub(super) fn check_dataset(word: &str) -> CheckedWord<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let part =
        |p: &str| !p.is_empty() && p.chars().all(plain) && !p.starts_with('-') && p != "." && p != "..";
    if word.len() < 256 && word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.split('/').all(part) {
        return Ok(word.to_owned());
    }
    Err(format!("{word:?} is not the name of a ZFS pool or dataset, such as tank or tank/vms"))
}

/// Checks the name of a Ceph pool. In QEMU's syntax `/` ends the pool's name and `@` an image's (its docs, "rbd").
pub(super) fn check_ceph_pool(word: &str) -> CheckedWord<String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "/@:\\".contains(c);
    if matches!(word, "" | "." | "..") || word.len() > 128 || word.starts_with('-') || word.contains(bad) {
        return Err(format!("{word:?} is not the name of a Ceph pool"));
    }
    Ok(word.to_owned())
}

/// Parses `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
pub(super) fn parse_server(word: &str) -> CheckedWord<Server> {
    let wrong = || format!("{word:?} is not HOST or HOST:PORT");
    let (host, port) = match word.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) };
            (host, port)
        }
        // A bare IPv6 address has several colons and no port.
        None if word.matches(':').count() > 1 => (word, None),
        None => word.split_once(':').map_or((word, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|p| p.parse().ok().filter(|p| *p > 0).ok_or_else(wrong)).transpose()?;
    Ok(Server { host: check_host_name(host).ok_or_else(wrong)?, port })
}

/// Checks a DNS name or an IP address.
fn check_host_name(word: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = word.len() < 254
        && word.chars().all(plain)
        && word.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    (is_name || word.parse::<IpAddr>().is_ok()).then(|| word.to_owned())
}

/// Checks an iSCSI qualified name (RFC 3720, section 3.2.6.3.1): `iqn.2026-01.com.example:disks`.
pub(super) fn check_iqn(word: &str) -> CheckedWord<String> {
    let wrong = || format!("{word:?} is not an iSCSI qualified name, such as iqn.2026-01.com.example:disks");
    let rest = word.strip_prefix("iqn.").ok_or_else(wrong)?;
    let (date, rest) = rest.split_once('.').ok_or_else(wrong)?;
    let authority = rest.split(':').next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_date = date.split_once('-').is_some_and(|(year, month)| {
        year.len() == 4 && digits(year) && month.len() == 2 && digits(month) && ("01"..="12").contains(&month)
    });
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_authority = !authority.is_empty() && authority.chars().all(plain);
    if is_date
        && is_authority
        && word.len() <= 223
        && !word.contains(char::is_whitespace)
        && !has_control(word)
    {
        return Ok(word.to_owned());
    }
    Err(wrong())
}

/// Checks a user name for Ceph or an iSCSI target.
pub(super) fn check_user(word: &str) -> CheckedWord<String> {
    if word.is_empty() || word.starts_with('-') || word.contains(char::is_whitespace) || has_control(word) {
        return Err(format!("--auth-user {word:?} is not a user name"));
    }
    Ok(word.to_owned())
}

/// Parses a reference to a libvirt secret: its UUID, otherwise its usage.
pub(super) fn parse_secret(word: &str) -> CheckedWord<Secret> {
    if word.trim().is_empty() || has_control(word) {
        return Err(format!("--secret {word:?} is neither the UUID nor the usage of a libvirt secret"));
    }
    Ok(word.parse().map_or_else(|_| Secret::Usage(word.to_owned()), Secret::Uuid))
}

fn has_control(word: &str) -> bool {
    word.contains(char::is_control)
}
