//! AppArmor and SELinux: which files a guest's QEMU can use beyond its file permissions.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::Code;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::advice::{LABELLED_MOUNT, label_pattern};

const NAME: &str = "confinement";

/// Path prefixes to which libvirt's AppArmor helper lets no guest write (`restricted` in virt-aa-helper.c).
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

/// The directory whose files the SELinux policy labels as images.
const LABELLED: &str = "/var/lib/libvirt/images";

pub(super) fn check_confinement(facts: &HostFacts) -> Vec<HostCheck> {
    if facts.capabilities.confines_by("selinux") {
        check_selinux(facts)
    } else if facts.capabilities.confines_by("apparmor") {
        check_apparmor(facts)
    } else {
        vec![check_unconfined(facts)]
    }
}

fn check_unconfined(facts: &HostFacts) -> HostCheck {
    let is_idle =
        facts.local.as_ref().is_some_and(|local| local.apparmor || local.selinux_enforces.is_some());
    if is_idle {
        return HostCheck::warning(
            NAME,
            "AppArmor or SELinux is enabled, but libvirt does not use it for guests",
        )
        .add_advice("see security_driver in /etc/libvirt/qemu.conf, then restart libvirtd");
    }
    HostCheck::ok(NAME, "neither AppArmor nor SELinux; only file permissions apply")
}

fn check_apparmor(facts: &HostFacts) -> Vec<HostCheck> {
    let mut checks =
        vec![HostCheck::ok(NAME, "AppArmor: a guest can use its own disks and their backing files")];
    for (pool, path) in facts.directory_pools() {
        let path = format!("{path}/");
        if KEPT_BY_APPARMOR.iter().any(|kept| path.starts_with(kept)) {
            checks.push(
                HostCheck::problem(NAME, format!("AppArmor blocks guests from writing below {path}"))
                    .with_code(Code::Confined)
                    .about(&pool.name)
                    .add_advice("put the pool elsewhere, for example below /var/lib/libvirt or /srv"),
            );
        }
    }
    checks
}

fn check_selinux(facts: &HostFacts) -> Vec<HostCheck> {
    if facts.local.as_ref().is_some_and(|local| local.selinux_enforces == Some(false)) {
        return vec![HostCheck::ok(NAME, "SELinux, in permissive mode")];
    }
    let mut checks = vec![HostCheck::ok(NAME, "SELinux: libvirt labels disks and their backing files")];
    for (pool, path) in facts.directory_pools().into_iter().filter(|(_, path)| !path.starts_with(LABELLED)) {
        let check = HostCheck::warning(NAME, format!("the SELinux policy has no rule for images in {path}"))
            .about(&pool.name);
        checks.push(if pool.kind == "netfs" {
            check.add_advice(LABELLED_MOUNT)
        } else {
            check.add_advice(format!(
                "semanage fcontext -a -t virt_image_t {} && restorecon -R {}",
                quote_for_shell(&format!("{}(/.*)?", label_pattern(path))),
                quote_for_shell(path)
            ))
        });
    }
    checks
}
