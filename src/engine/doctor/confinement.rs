//! AppArmor and SELinux: which files a guest's QEMU can use beyond its file permissions.

use super::Check;
use super::facts::Facts;
use foundry_core::error::Code;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::{LABELLED_MOUNT, label_pattern};

const NAME: &str = "confinement";

/// Where AppArmor's helper of libvirt's lets no guest write (`restricted` in libvirt's virt-aa-helper.c).
const KEPT_BY_APPARMOR: [&str; 15] = [
    "/bin/",
    "/boot/",
    "/etc/",
    "/lib",
    "/lost+found/",
    "/proc/",
    "/sbin/",
    "/sys/",
    "/usr/bin/",
    "/usr/lib",
    "/usr/sbin/",
    "/usr/share/",
    "/usr/local/bin/",
    "/usr/local/etc/",
    "/usr/local/lib",
];

/// The directory whose files the policy labels as images.
const LABELLED: &str = "/var/lib/libvirt/images";

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    if facts.capabilities.confines_by("selinux") {
        with_selinux(facts)
    } else if facts.capabilities.confines_by("apparmor") {
        with_apparmor(facts)
    } else {
        vec![without(facts)]
    }
}

fn without(facts: &Facts) -> Check {
    let is_idle =
        facts.local.as_ref().is_some_and(|local| local.apparmor || local.selinux_enforces.is_some());
    if is_idle {
        return Check::warning(
            NAME,
            "the kernel has AppArmor or SELinux, and libvirt does not use it for guests",
        )
        .todo("see security_driver in /etc/libvirt/qemu.conf, then restart libvirtd");
    }
    Check::ok(
        NAME,
        "owners and modes of files only; neither AppArmor nor SELinux stands in the way of images",
    )
}

fn with_apparmor(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![Check::ok(NAME, "AppArmor: a guest reaches its own disks and what they lie on")];
    for (pool, path) in facts.directories() {
        let path = format!("{path}/");
        if KEPT_BY_APPARMOR.iter().any(|kept| path.starts_with(kept)) {
            checks.push(
                Check::problem(NAME, format!("AppArmor lets no guest write below {path}"))
                    .known_as(Code::Confined)
                    .of(&pool.name)
                    .todo("put the pool elsewhere, below /var/lib/libvirt or /srv for one"),
            );
        }
    }
    checks
}

fn with_selinux(facts: &Facts) -> Vec<Check> {
    if facts.local.as_ref().is_some_and(|local| local.selinux_enforces == Some(false)) {
        return vec![Check::ok(NAME, "SELinux, which only warns at present")];
    }
    let mut checks = vec![Check::ok(NAME, "SELinux: libvirt labels disks and what they lie on")];
    for (pool, path) in facts.directories().into_iter().filter(|(_, path)| !path.starts_with(LABELLED)) {
        let check = Check::warning(NAME, format!("SELinux's policy knows nothing of images in {path}"))
            .of(&pool.name);
        checks.push(if pool.kind == "netfs" {
            check.todo(LABELLED_MOUNT)
        } else {
            check.todo(format!(
                "semanage fcontext -a -t virt_image_t {} && restorecon -R {}",
                quote_for_shell(&format!("{}(/.*)?", label_pattern(path))),
                quote_for_shell(path)
            ))
        });
    }
    checks
}
