//! What the scripts change on a machine, and what they leave alone: leftovers, networks, /dev/kvm, files, mirrors.

use super::Machine;
use std::os::unix::fs::PermissionsExt;

const LEFTOVERS: [&str; 4] = ["log", "privilege", "libvirtd", "leftovers"];

/// libvirt allows blanks in names, and a name cut at its blanks names something else.
#[test]
fn what_is_left_goes_by_its_whole_name() {
    let machine = Machine::new();
    machine.program(
        "virsh",
        r#"case "$*" in
            *" list --all --name") printf '%s\n' 'foundry-test-x t1' t1 'other foundry-test-y' ' foundry-test-z' 'foundry-test-* *' ;;
            *" net-list --all --name") printf '%s\n' 'foundry-test-n default' default ;;
            *" pool-list --all --name") printf '%s\n' 'foundry-test-p other' other ;;
            *" vol-list foundry-test-p other") printf ' %s\n' 'a b    /pool x/a b' 'b      /pool x/b' 'c  d   /pool x/c  d' '' ;;
        esac"#,
    );
    let (well, said) = machine.runs(&LEFTOVERS, "leftovers_remove");
    assert!(well, "{said}");
    let verbs = [
        "destroy",
        "undefine",
        "net-destroy",
        "net-undefine",
        "pool-destroy",
        "pool-delete",
        "pool-undefine",
    ];
    for verb in verbs {
        let right: &[&str] = match verb.split_once('-') {
            None => &["foundry-test-x t1", "foundry-test-* *"],
            Some(("net", _)) => &["foundry-test-n default"],
            Some(_) => &["foundry-test-p other"],
        };
        let asked = machine.asked_for(&format!(" <{verb}> "));
        assert_eq!(asked.len(), right.len(), "{asked:?}");
        assert!(
            asked.iter().zip(right).all(|(a, name)| a.contains(&format!("<{verb}> <{name}>"))),
            "{asked:?}"
        );
    }
    let deleted = machine.asked_for("<vol-delete>");
    let right = ["a b", "b", "c  d"].map(|v| format!("<vol-delete> <{v}> <--pool> <foundry-test-p other>"));
    assert!(deleted.len() == 3 && deleted.iter().zip(&right).all(|(a, b)| a.ends_with(b)), "{deleted:?}");
}

/// A network is refused that any route or address meets, but for its own bridge's and for ways out into the world.
#[test]
fn a_network_that_is_routed_already_is_told_with_a_free_one() {
    let machine = Machine::new();
    let routes = "default via 192.0.2.1 dev eth0
0.0.0.0/1 via 192.0.2.9 dev tun0
10.20.30.0/24 dev br0 proto kernel scope link src 10.20.30.1
10.20.32.0/23 dev eth1 proto kernel scope link src 10.20.32.1
blackhole 10.20.35.0/24
172.16.0.0/12 via 192.0.2.1 dev eth0
local 10.20.31.7 dev lo table local proto kernel scope host src 10.20.31.7
broadcast 10.20.40.255 dev eth2 table local proto kernel scope link";
    machine.program("ip", &format!("cat <<'ROUTES'\n{routes}\nROUTES"));
    let asks = [
        ("taken 10.20.30", "free"),
        ("taken 10.20.31", "10.20.31.7/32 (lo)"),
        ("taken 10.20.33", "10.20.32.0/23 (eth1)"),
        ("taken 10.20.35", "10.20.35.0/24 (-)"),
        ("taken 172.20.1", "172.16.0.0/12 (eth0)"),
        ("taken 10.20.40", "free"),
        ("next_free 10.20.30", "10.20.34"),
        ("next_free 10.20.34", "10.20.36"),
        ("next_free 10.20.254", "192.168.100"),
    ];
    for (ask, right) in asks {
        let script = format!("subnet_routes br0 | subnet_{ask} || echo free");
        assert_eq!(machine.runs(&["subnet"], &script), (true, format!("{right}\n")), "{ask}");
    }
    let script =
        "for s in 10.20.30 10.20 10.20.30.0 10.20.300 a.b.c 10.20.08; do subnet_is $s && echo $s; done; true";
    assert_eq!(machine.runs(&["subnet"], script), (true, "10.20.30\n10.20.08\n".to_owned()));
}

/// A machine whose /dev/kvm has a mode, and whose QEMU may open it from 0660 on.
fn kvm_machine(mode: u32, groups: &str) -> Machine {
    let machine = Machine::new();
    let device = machine.path().join("kvm");
    std::fs::write(&device, "").unwrap();
    std::fs::set_permissions(&device, std::fs::Permissions::from_mode(mode)).unwrap();
    machine.program("getent", "true");
    machine.program("setpriv", "[[ $(stat -c %a \"${0%/*}/kvm\") == 66* ]]");
    machine.program("id", &format!("echo {groups}"));
    machine.program("chgrp", "true");
    machine
}

fn opens_kvm(machine: &Machine, script: &str) -> (String, u32) {
    let device = machine.path().join("kvm");
    let head = format!("KVM_DEVICE={} WAY_OUT_NOTES={}/run; ", device.display(), machine.path().display());
    let (well, said) = machine.runs(&["log", "privilege", "kvm_access"], &(head + script));
    assert!(well, "{said}");
    (said, std::fs::metadata(device).unwrap().permissions().mode() & 0o777)
}

/// As udev's rule does, and never wider; not where nobody said so, and not where it would not help.
#[test]
fn a_closed_kvm_is_opened_to_its_group_when_told_so() {
    let closed = || kvm_machine(0o600, "kvm libvirt-qemu");
    let (said, mode) = opens_kvm(&closed(), "kvm_open yes");
    assert!(said.ends_with("opened\n") && mode == 0o660, "{said}");
    let (said, mode) = opens_kvm(&closed(), "kvm_open no");
    assert!(said.contains("chgrp kvm") && said.ends_with("closed\n") && mode == 0o600, "{said}");
    let (said, mode) = opens_kvm(&closed(), "machine_is_throw_away() { false; }; kvm_open ''");
    assert!(said.contains("--open-kvm") && mode == 0o600, "{said}");
    let (_, mode) = opens_kvm(&closed(), "machine_is_throw_away() { true; }; kvm_open ''");
    assert_eq!(mode, 0o660);
    let (said, mode) = opens_kvm(&kvm_machine(0o600, "libvirt-qemu"), "kvm_open yes");
    assert!(said.ends_with("closed\n") && mode == 0o600, "no group kvm: {said}");
    let open = kvm_machine(0o666, "kvm");
    let (said, mode) = opens_kvm(&open, "kvm_open yes");
    assert!(said == "open\n" && mode == 0o666 && open.asked_for("chgrp").is_empty(), "{said}");
}

/// What somebody else wrote there, or changed since, stays.
#[test]
fn a_file_of_somebody_else_is_neither_written_over_nor_removed() {
    let machine = Machine::new();
    let file = machine.path().join("a file");
    let made = |script: &str| {
        let head = format!("F='{}'; ", file.display());
        machine.runs(&["log", "privilege", "made"], &(head + script)).0
    };
    let text = || std::fs::read_to_string(&file).ok();
    assert!(made("made_put \"$F\" 644 <<<one; made_put \"$F\" 644 <<<two"), "its own is written anew");
    assert_eq!(text().as_deref(), Some("two\n"));
    std::fs::write(&file, "mine\n").unwrap();
    assert!(!made("made_put \"$F\" 644 <<<three"));
    assert!(made("made_remove \"$F\""));
    assert_eq!(text().as_deref(), Some("mine\n"));
    std::fs::write(&file, "two\n").unwrap();
    assert!(made("made_remove \"$F\"; ! made_is_ours \"$F\""));
    assert_eq!(text(), None);
}

/// What a machine reaches at its own loopback has another address in the network of a bare machine, and only that.
#[test]
fn a_mirror_at_the_loopback_is_elsewhere_for_a_bare_machine() {
    let machine = Machine::new();
    let settings = "Acquire::http::Proxy \\\"http://127.0.0.1:3142\\\";\ndeb http://localhost/debian bookworm main\n\
        deb http://localhost.example.com/debian bookworm main\ndeb http://mirror.example.com/127.0.0.1/ bookworm main\n";
    let (well, said) = machine.runs(&["bare"], &format!("printf \"{settings}\" | bare_outer"));
    let right = "Acquire::http::Proxy \"http://10.0.2.2:3142\";\ndeb http://10.0.2.2/debian bookworm main\n\
        deb http://localhost.example.com/debian bookworm main\ndeb http://mirror.example.com/127.0.0.1/ bookworm main\n";
    assert!(well && said == right, "{said}");
}
