//! Real texts and their causes. A text without a source was printed by libvirt 11.3 or QEMU 10.0 in
//! `tests/live/causes.rs`; the others are from bug reports on older versions.

mod connections;
mod machine_texts;
mod permissions;
mod storage_texts;

use super::*;
use machine_texts::MACHINE_TEXTS;
use storage_texts::STORAGE_AND_NETWORK_TEXTS;

fn hint_of(found: &Diagnosis) -> Option<String> {
    found.advice.as_ref().map(Advice::to_log_line)
}

fn diagnose_text(libvirt: &str) -> (Code, String, String) {
    let found = of_words(libvirt).unwrap_or_else(|| panic!("no cause: {libvirt}"));
    let hint = hint_of(&found).unwrap_or_default();
    (found.code, found.cause, hint)
}

#[test]
fn real_words_have_their_cause() {
    for (libvirt, code, cause, hint) in MACHINE_TEXTS.iter().chain(STORAGE_AND_NETWORK_TEXTS) {
        let found = diagnose_text(libvirt);
        assert_eq!((found.0, found.1.as_str()), (*code, *cause), "{libvirt}");
        assert!(found.2.contains(hint), "{libvirt}\n{}", found.2);
    }
}

/// The variables of a VM hold its boot order and the keys that its disk is sealed with: nothing but their not being any
/// is a reason to remove them.
#[test]
fn variables_that_cannot_be_read_just_now_stay() {
    let file = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";
    for why in ["Input/output error", "Too many open files", "No such file or directory", "Permission denied"]
    {
        let found = of_words(&format!("Could not open '{file}': {why}"));
        assert_ne!(found.as_ref().map(|found| found.code), Some(Code::NvramInTheWay), "{why}");
        assert!(!found.as_ref().and_then(hint_of).unwrap_or_default().contains("rm "), "{why}");
    }
    let template = "Could not open '/usr/share/OVMF/OVMF_VARS.fd': Is a directory";
    assert_eq!(of_words(template), None, "it is the firmware's");
}

#[test]
fn anything_else_is_passed_on() {
    for libvirt in [
        "",
        "it's odd",
        "Requested operation is not valid: domain is not running",
        "cannot open directory 'x",
        "Cannot access storage file 'relative' (as uid:1, gid:1): Permission denied",
        "Unable to create tap device $(reboot): Device or resource busy",
        "internal error: process exited while connecting to monitor",
    ] {
        assert_eq!(of_words(libvirt), None, "{libvirt}");
    }
    assert_eq!(first_line("\none  \ntwo\n"), "one");
}

fn locked_evidence(libvirt: &str, holders: &[(u32, &str, Option<&str>, bool)]) -> (String, String) {
    let holder = |&(pid, name, vm, writes): &(u32, &str, Option<&str>, bool)| Holder {
        pid,
        name: name.into(),
        user: None,
        vm: vm.map(str::to_owned),
        writes,
    };
    let libvirt = format!("{libvirt}\nIs another process using the image [/srv/tiny.qcow2]?");
    let holders = holders.iter().map(holder).collect();
    let found = find_cause(&Evidence { libvirt, holders, ..Evidence::default() }).unwrap();
    let hint = hint_of(&found).unwrap();
    (found.cause, hint)
}

#[test]
fn who_holds_a_lock_is_named() {
    let shared = "Failed to get shared \"write\" lock";
    let (cause, hint) = locked_evidence(shared, &[(4711, "qemu-nbd", None, true)]);
    assert_eq!(
        cause,
        "qemu-nbd (process 4711) has '/srv/tiny.qcow2' open, which is one of its disks or below one"
    );
    assert_eq!(hint, "ps -fp 4711 shows what for; if nothing needs it there: kill 4711");
}

/// VMs that run well on an image are not to be killed for one that does not start.
#[test]
fn who_only_reads_is_not_blamed_and_no_vm_is_killed() {
    let reader = (1, "qemu-system-x86", Some("db"), false);
    let writer = (4711, "qemu-nbd", None, true);
    let (cause, hint) = locked_evidence("Failed to get shared \"write\" lock", &[writer, reader]);
    assert!(cause.starts_with("qemu-nbd (process 4711) has "), "{cause}");
    assert!(hint.ends_with("kill 4711"), "{hint}");
    // Who is to write minds everybody.
    let (cause, hint) = locked_evidence("Failed to get \"write\" lock", &[writer, reader]);
    assert!(cause.starts_with("qemu-nbd (process 4711) and VM 'db' (process 1) have "), "{cause}");
    assert_eq!(
        hint,
        "virsh shutdown db ends that VM, if it is not needed; ps -fp 4711 shows what for; if nothing needs it there: kill 4711"
    );
}

#[test]
fn a_bridge_with_too_large_an_mtu_is_named() {
    let libvirt = "Cannot set interface MTU on 'vm0a4d0032': Invalid argument".to_owned();
    let mtus = vec![("br1".to_owned(), 1500), ("br0".to_owned(), 65535)];
    let found = find_cause(&Evidence { libvirt, mtus, ..Evidence::default() }).unwrap();
    assert_eq!(found.cause, "bridge 'br0' has an MTU of 65535, and a VM's tap can have 65521 at most");
    assert_eq!(hint_of(&found).as_deref(), Some("ip link set br0 mtu 65521"));
}

#[test]
fn secure_boot_counts_where_it_was_asked_for() {
    let libvirt =
        "operation failed: Unable to find 'efi' firmware that is compatible with the current configuration";
    let asked = RequestedVm { secure_boot: true, ..RequestedVm::default() };
    let found = find_cause(&Evidence { libvirt: libvirt.into(), asked, ..Evidence::default() }).unwrap();
    assert_eq!(found.code, Code::SecureBootMissing);
    assert!(hint_of(&found).unwrap().contains("secureBoot: false"));
}

/// QEMU's accel/kvm: what it writes when it pauses a guest that KVM does not run.
#[test]
fn a_guest_that_kvm_stops_has_its_cause_in_the_log() {
    for log in [
        "KVM internal error. Suberror: 1\nextra data[0]: 0x0000000000000000\nRAX=0000000000000000",
        "error: kvm run failed Bad address\nEAX=00000000 EBX=00000000",
    ] {
        let found = find_cause(&Evidence { log: log.into(), ..Evidence::default() }).unwrap();
        assert_eq!(
            (found.code, found.cause.as_str()),
            (Code::NoKvm, "KVM on this host does not run this guest")
        );
    }
}

#[test]
fn qemus_log_counts_where_libvirt_says_nothing() {
    let log = "2026-11-21T21:31:08.702108Z qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory";
    let with = |libvirt: &str| {
        let evidence = Evidence { libvirt: libvirt.into(), log: log.into(), ..Evidence::default() };
        find_cause(&evidence).map(|found| found.code)
    };
    assert_eq!(with("Unable to read from monitor: Connection reset by peer"), Some(Code::OutOfMemory));
    assert_eq!(with("Cannot get interface MTU on 'br9': No such device"), Some(Code::BridgeMissing));
}

/// A path can be anybody's, and a guest may have a say in what QEMU writes.
#[test]
fn hostile_words_do_no_harm() {
    let evil = "Cannot access storage file '/srv/\u{1b}[2Jx\u{202e}y' (as uid:1, gid:1): Permission denied";
    let (code, cause, hint) = diagnose_text(evil);
    assert_eq!(
        (code, cause.as_str()),
        (Code::DiskUnreadable, r"the file '/srv/\u{1b}[2Jx\u{202e}y' is not readable for the user of QEMU")
    );
    assert_eq!(hint, "", "a command on another file than the one that is meant helps nobody");
    let shell = "Cannot access storage file '/srv/$(reboot);x' (as uid:1, gid:1): Permission denied";
    assert!(diagnose_text(shell).2.contains("namei -l '/srv/$(reboot);x'"));
    let long = format!("Could not open '/{}': Permission denied", "ä".repeat(100_000));
    assert!(diagnose_text(&long).1.chars().count() <= LONGEST);
    for tail in
        ["'", "''", "Could not open '", "(as uid:", "(as uid:99999999999, gid:1)", "name=\"", "[", "]?"]
    {
        let _ = (of_words(tail), Denial::parse_line(tail), refused_file(tail), locked_file(tail));
        let _ = of_words(&format!("Could not open 'ä{tail}': Permission denied \"write\" lock"));
    }
}
