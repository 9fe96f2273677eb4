//! The commonest refusals of libvirt and QEMU in a short sentence.
//!
//! libvirt's texts name functions, file descriptors and command lines of QEMU. Where they mean one of a few
//! things, that is said; the text itself is shown with `--verbose`. Anything else is passed on as it is.

/// What a refusal means, where foundry has a better sentence for it than libvirt.
pub(super) fn sentence(libvirt: &str) -> Option<String> {
    connection(libvirt).or_else(|| storage(libvirt)).or_else(|| domain(libvirt))
}

/// The first line; libvirt adds QEMU's and ssh's output below.
pub(super) fn first_line(libvirt: &str) -> &str {
    libvirt.trim().lines().next().unwrap_or_default().trim_end()
}

fn connection(text: &str) -> Option<String> {
    if text.contains("authentication unavailable") || text.contains("authentication failed") {
        return Some("this user may not manage that libvirt".into());
    }
    for (words, meaning) in [
        ("keepalive timeout", "it does not answer any more, or cannot be reached"),
        ("client socket is closed", "it was lost before that"),
        ("End of file while reading data", "the daemon ended, or closed it"),
    ] {
        if text.contains(words) {
            return Some(meaning.into());
        }
    }
    let socket = quoted_after(text, "Failed to connect socket to ")?;
    Some(if text.contains("No such file") {
        format!("no daemon of libvirt's listens there: {socket} does not exist")
    } else if text.contains("Permission denied") {
        format!("this user may not use the socket {socket}")
    } else if text.contains("Connection refused") {
        format!("no daemon of libvirt's listens at the socket {socket}")
    } else {
        return None;
    })
}

fn storage(text: &str) -> Option<String> {
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return Some("no space is left on the host's file system".into());
    }
    if let Some(kind) =
        text.split_once("missing backend for pool type ").and_then(|(_, rest)| parenthesized(rest))
    {
        return Some(format!(
            "libvirt on the host has no driver for pools of type {kind}; its package is libvirt-daemon-driver-storage-{kind}"
        ));
    }
    if let Some((_, said)) =
        text.split_once("unexpected exit status ").filter(|(before, _)| before.contains("/mount "))
    {
        let said = said.split_once(": ").map_or(said, |(_, said)| said);
        return Some(first_line(said).to_owned());
    }
    if let Some(directory) = quoted_after(text, "cannot open directory ") {
        return why(text, &format!("its directory {directory}"));
    }
    let file = quoted_after(text, "Cannot access storage file ")
        .or_else(|| quoted_after(text, "Could not open "))
        .or_else(|| quoted_after(text, "cannot open file "))?;
    if text.contains("\"write\" lock") {
        return None;
    }
    why(text, &format!("the file {file}"))
}

/// The first word in parentheses.
fn parenthesized(text: &str) -> Option<&str> {
    text.split_once('(')?.1.split_once(')').map(|(word, _)| word)
}

/// What the system said of a file.
fn why(text: &str, what: &str) -> Option<String> {
    if text.contains("Permission denied") {
        Some(format!("{what} may not be read by the hypervisor's user"))
    } else if text.contains("No such file") {
        Some(format!("{what} does not exist"))
    } else {
        None
    }
}

fn domain(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    if lower.contains("could not access kvm") || lower.contains("failed to initialize kvm") {
        return Some("QEMU cannot use KVM on this host".into());
    }
    if text.contains("annot set up guest memory") || text.contains("Cannot allocate memory") {
        return Some("the host has not enough memory for it".into());
    }
    if text.contains("\"write\" lock") {
        return Some("another process has one of its disks open".into());
    }
    let device = quoted_after(text, "Cannot get interface MTU on ")
        .or_else(|| quoted_after(text, "Cannot get interface flags on "));
    if let Some(device) = device.filter(|_| text.contains("No such device")) {
        return Some(format!("the host has no bridge {device}"));
    }
    if let Some(network) = quoted_after(text, "no network with matching name ") {
        return Some(format!("there is no network {network}"));
    }
    taken(text)
}

/// `domain 'web' already exists with uuid …`, `storage volume 'x' exists already` and their like.
fn taken(text: &str) -> Option<String> {
    let exists = ["already exists with", "is already defined with uuid", "exists already"];
    if !exists.iter().any(|words| text.contains(words)) {
        return None;
    }
    quoted_after(text, "").map(|name| format!("the name {name} is taken"))
}

/// The first text in single quotes after these words, with its quotes.
fn quoted_after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let rest = &text[text.find(words)? + words.len()..];
    let begin = rest.find('\'').filter(|at| *at == 0 || words.is_empty())?;
    let length = rest[begin + 1..].find('\'')? + 2;
    Some(&rest[begin..begin + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_refusals_have_a_sentence() {
        for (libvirt, told) in [
            (
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
                "no daemon of libvirt's listens there: '/var/run/libvirt/libvirt-sock' does not exist",
            ),
            (
                "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
                "this user may not use the socket '/var/run/libvirt/libvirt-sock'",
            ),
            (
                "Failed to connect socket to '/run/x': Connection refused",
                "no daemon of libvirt's listens at the socket '/run/x'",
            ),
            (
                "internal error: connection closed due to keepalive timeout",
                "it does not answer any more, or cannot be reached",
            ),
            ("internal error: client socket is closed", "it was lost before that"),
            ("End of file while reading data: Input/output error", "the daemon ended, or closed it"),
            (
                "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
                "this user may not manage that libvirt",
            ),
            ("Cannot get interface MTU on 'br9': No such device", "the host has no bridge 'br9'"),
            ("Network not found: no network with matching name 'lan'", "there is no network 'lan'"),
            (
                "operation failed: domain 'web' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
                "the name 'web' is taken",
            ),
            ("storage volume 'web_boot' exists already", "the name 'web_boot' is taken"),
            (
                "cannot open directory '/srv/ssd': No such file or directory",
                "its directory '/srv/ssd' does not exist",
            ),
            (
                "cannot fill file '/srv/ssd/web_boot': No space left on device",
                "no space is left on the host's file system",
            ),
            (
                "Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:64055): Permission denied",
                "the file '/root/x.qcow2' may not be read by the hypervisor's user",
            ),
            (
                "internal error: QEMU unexpectedly closed the monitor (vm='web'): 2026-01-02T03:04:05Z qemu-system-x86_64: -blockdev {\"driver\":\"file\"}: Could not open '/x/y': Permission denied",
                "the file '/x/y' may not be read by the hypervisor's user",
            ),
            (
                "internal error: process exited while connecting to monitor: Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: failed to initialize kvm: No such file or directory",
                "QEMU cannot use KVM on this host",
            ),
            (
                "internal error: missing backend for pool type 3 (logical)",
                "libvirt on the host has no driver for pools of type logical; its package is libvirt-daemon-driver-storage-logical",
            ),
            (
                "internal error: Child process (/usr/bin/mount -o nodev,nosuid,noexec -t ext4 /dev/loop0 /srv/x) unexpected exit status 32: mount: /srv/x: mount point does not exist.\n       dmesg(1) may have more information after failed mount system call.",
                "mount: /srv/x: mount point does not exist.",
            ),
        ] {
            assert_eq!(sentence(libvirt).as_deref(), Some(told), "{libvirt}");
        }
    }

    #[test]
    fn anything_else_is_passed_on() {
        for libvirt in [
            "",
            "it's odd",
            "Requested operation is not valid: network 'lan' is not active",
            "cannot open directory 'x",
        ] {
            assert_eq!(sentence(libvirt), None, "{libvirt}");
        }
        assert_eq!(first_line("\none  \ntwo\n"), "one");
    }
}
