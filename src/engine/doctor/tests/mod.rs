//! Each test takes a healthy host, adds one problem, and checks what doctor reports.

mod links;
mod machine;
mod storage;

use std::collections::BTreeMap;

use super::facts::{HostFacts, Probe};
use super::{CheckState, HostCheck, access, run_checks};
use crate::Settings;
use crate::storage::status::{FileSystem, StorageStatus, Tally};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Error, Kind};
use foundry_core::units::Bytes;
use foundry_host::local::{Accounts, UnixPermissions, User};
use foundry_host::local::{LinkFacts, LocalFacts, PoolDirectory, Virtlogd};
use foundry_host::memory::MemoryHost;
use foundry_host::{
    Bridge, Capabilities, Domain, DomainState, GuestMachine, HostInfo, Machine, Network, Pool, PoolSource,
    SecurityModel,
};

const GIB: u64 = 1 << 30;

/// What a check advises, a line each.
fn advice_lines(check: &HostCheck) -> Vec<String> {
    check.advice.iter().map(Advice::to_log_line).collect()
}

fn rights(uid: u32, gid: u32, mode: u32) -> UnixPermissions {
    UnixPermissions { uid, gid, mode, has_acl: false }
}

fn pool(name: &str, target: &str) -> Pool {
    Pool {
        name: name.into(),
        kind: "dir".into(),
        active: true,
        autostart: true,
        target: Some(target.into()),
        source: PoolSource::default(),
        capacity: Bytes(100 * GIB),
        allocation: Bytes(50 * GIB),
        available: Bytes(50 * GIB),
    }
}

fn local() -> LocalFacts {
    let directory = |path: &str| PoolDirectory {
        real: path.into(),
        components: Some(vec![("/".into(), rights(0, 0, 0o755)), (path.into(), rights(0, 0, 0o711))]),
        inodes: (1_000_000, 900_000),
        available: 50 * GIB,
    };
    LocalFacts {
        kvm_device: Some(rights(0, 993, 0o660)),
        kvm_modules: vec!["kvm_intel".into()],
        virtualization: true,
        nested: Some(true),
        user: User { uid: 0, groups: [0].into() },
        accounts: Accounts {
            users: vec![
                ("root".into(), 0, 0),
                ("alice".into(), 1000, 1000),
                ("libvirt-qemu".into(), 64055, 993),
            ],
            groups: vec![("kvm".into(), 993, vec![]), ("libvirt".into(), 106, vec!["alice".into()])],
        },
        sockets: vec![("/run/libvirt/libvirt-sock".into(), rights(0, 106, 0o660))],
        links: [(
            "br0".to_owned(),
            LinkFacts { is_up: true, has_address: true, uplinks: vec!["eth0".into()] },
        )]
        .into(),
        directories: ["/vms", "/images"].map(|path| (path.to_owned(), directory(path))).into(),
        ..LocalFacts::default()
    }
}

fn healthy_host() -> HostFacts {
    let host = MemoryHost::new();
    HostFacts {
        uri: "qemu:///system".into(),
        is_session: false,
        settings: Settings::default(),
        capabilities: Capabilities { libvirt_version: 12_001_000, ..host.capabilities().unwrap() },
        machine: Ok(host.machine().unwrap()),
        guest_machine: Ok(host.guest_machine("x86_64", "q35", "kvm").unwrap()),
        pools: Ok(vec![pool("foundry-images", "/images"), pool("foundry-vms", "/vms")]),
        storage: Ok(storage_status(Vec::new())),
        interrupted: Vec::new(),
        domains: Ok(Vec::new()),
        bridges: Ok(Some(vec![Bridge { name: "br0".into(), ..Bridge::default() }])),
        networks: Ok(vec![Network { name: "default".into(), active: true, ..Network::default() }]),
        probe: Probe::Ran(VirtType::Kvm),
        local: Some(local()),
    }
}

fn storage_status(file_systems: Vec<FileSystem>) -> StorageStatus {
    StorageStatus {
        file_systems,
        pools: Vec::new(),
        capacity: Bytes(0),
        available: Bytes(0),
        promised: Bytes(0),
        growth: Bytes(0),
        images: Tally::default(),
        disks: Tally::default(),
        orphans: Vec::new(),
    }
}

/// A foundry domain on a bridge.
fn vm(bridge: &str, vlan: bool) -> Domain {
    let vlan = if vlan { ", \"vlan\": 7" } else { "" };
    let record = format!(
        "{{\"version\":1,\"domain\":\"00000000-0000-0000-0000-000000000001\",\"state\":\"created\",\"manifest\":\
         {{\"apiVersion\":\"foundry.cofront.xyz/v1alpha1\",\"kind\":\"VirtualMachine\",\"metadata\":{{\"name\":\"web\"}},\
         \"spec\":{{\"networkInterfaces\":[{{\"bridge\":\"{bridge}\"{vlan}}}]}}}},\"volumes\":[],\"maker\":{{\"version\":\"0\",\
         \"host\":\"m\",\"boot\":\"b\",\"pid\":1,\"started\":1}},\"createdAt\":\"x\",\"changedAt\":\"x\",\"generation\":1}}"
    );
    Domain {
        uuid: uuid::Uuid::from_u128(1),
        name: "web".into(),
        state: DomainState::ShutOff,
        why: foundry_host::StateReason::default(),
        vcpus: 1,
        memory: Bytes(GIB),
        persistent: true,
        autostart: true,
        saved: false,
        record: Some(record),
    }
}

fn findings(facts: &HostFacts) -> Vec<HostCheck> {
    run_checks(facts).checks.into_iter().filter(|check| check.state != CheckState::Ok).collect()
}

/// The title, state and full text of the only check that is not ok.
#[track_caller]
fn only_finding(facts: &HostFacts) -> (String, CheckState, String) {
    let found = findings(facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    let check = &found[0];
    assert!(
        !check.advice.is_empty() || check.state == CheckState::Unknown,
        "{check:?} says nothing of what to do"
    );
    (check.title(), check.state, format!("{}\n{}", check.found, advice_lines(check).join("\n")))
}

#[track_caller]
fn assert_only(facts: &HostFacts, title: &str, state: CheckState, words: &[&str]) {
    let (found, is, text) = only_finding(facts);
    assert_eq!((found.as_str(), is), (title, state), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

fn healthy_but(change: impl FnOnce(&mut HostFacts)) -> HostFacts {
    let mut facts = healthy_host();
    change(&mut facts);
    facts
}

fn local_but(act: impl FnOnce(&mut LocalFacts)) -> HostFacts {
    healthy_but(|facts| act(facts.local.as_mut().unwrap()))
}

#[test]
fn healthy_host_passes_all_checks() {
    let report = run_checks(&healthy_host());
    assert_eq!(findings(&healthy_host()), []);
    assert_eq!((report.left_out.len(), report.outcome().is_ok()), (0, true));
    let names: Vec<String> = report.checks.iter().map(HostCheck::title).collect();
    for name in [
        "connection",
        "virtlogd",
        "kvm",
        "guest",
        "firmware",
        "pool foundry-vms",
        "pool-path foundry-vms",
        "room foundry-images",
        "bridge br0",
        "memory",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
    }
}

#[test]
fn remote_host_lists_skipped_checks() {
    let remote = healthy_but(|f| (f.local, f.bridges) = (None, Ok(None)));
    assert_eq!(findings(&remote), []);
    assert!(run_checks(&remote).left_out.contains(&"bridges"));
}

#[test]
fn outcome_fails_on_problems_only() {
    let mut facts = local_but(|l| l.bridges_are_filtered = true);
    run_checks(&facts).outcome().unwrap();
    facts.probe = Probe::Stopped(VirtType::Kvm);
    facts.local.as_mut().unwrap().virtlogd = Virtlogd::Missing;
    let error = run_checks(&facts).outcome().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "2 problems on this host: virtlogd, guest"));
}

#[test]
fn refused_answers_are_unknown() {
    let mute = healthy_but(|f| {
        f.machine = Err("no".into());
        f.storage = Err("no".into());
        f.domains = Err("no".into());
        f.networks = Err("no".into());
        f.bridges = Err("no".into());
    });
    let states: Vec<CheckState> = findings(&mute).iter().map(|c| c.state).collect();
    assert_eq!(states, vec![CheckState::Unknown; states.len()]);
    run_checks(&mute).outcome().unwrap();
}

#[test]
fn forbidden_socket_names_its_group() {
    let alice = |groups: &[u32], listed: bool| {
        let mut local = local();
        local.user = User { uid: 1000, groups: groups.iter().copied().collect() };
        if !listed {
            local.accounts.groups[1].2.clear();
        }
        access::check_socket("qemu:///system", &local).remove(0)
    };
    let out = alice(&[1000], false);
    assert_eq!(
        (out.state, advice_lines(&out)),
        (CheckState::Problem, vec!["sudo usermod -aG libvirt alice, and log in again (members of the group libvirt can become root on that host)".to_owned()])
    );
    assert_eq!(advice_lines(&alice(&[1000], true)), ["log out and in again"]);
    // Of other groups it is unknown what they give: none is joined for a socket, least of all root's.
    for (gid, name, mode) in [
        (0, "root", 0o600),
        (0, "root", 0o660),
        (106, "libvirt", 0o600),
        (27, "sudo", 0o660),
        (6, "disk", 0o660),
    ] {
        let mut local = local();
        local.user = User { uid: 1000, groups: [1000].into() };
        local.accounts.groups = vec![(name.into(), gid, vec![]), ("libvirt".into(), 106, vec![])];
        local.sockets[0].1 = rights(0, gid, mode);
        let check = access::check_socket("qemu:///system", &local).remove(0);
        let text = advice_lines(&check).join("\n");
        assert_eq!(check.state, CheckState::Problem, "{text}");
        assert!(name == "libvirt" || !text.contains(&format!("-aG {name}")), "{text}");
        assert!(text.contains("unix_sock_group"), "{text}");
    }
    assert_eq!(alice(&[1000, 106], true).state, CheckState::Ok);
    let nobody = access::check_socket("qemu:///system", &LocalFacts::default()).remove(0);
    assert!(
        nobody.state == CheckState::Problem
            && advice_lines(&nobody)[1].contains("systemctl enable --now libvirtd.socket")
    );
    assert_eq!(access::check_socket("qemu:///session?x", &LocalFacts::default()), []);
}

#[test]
fn unreachable_libvirt_names_reason() {
    let error = Error::new(Kind::Connection, "cannot connect").because("it is off").hint("turn it on");
    let check = access::check_unreachable("qemu:///system", &error);
    assert_eq!(
        (check.state, check.found.as_str()),
        (CheckState::Problem, "qemu:///system does not answer: it is off")
    );
    assert_eq!(advice_lines(&check), ["turn it on"]);
}
