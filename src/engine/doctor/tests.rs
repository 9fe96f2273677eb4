//! A healthy host, one problem with it at a time, and what doctor reports.

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
        steps: Some(vec![("/".into(), rights(0, 0, 0o755)), (path.into(), rights(0, 0, 0o711))]),
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

/// The one check that is not well, its state, and all its words.
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
fn where_all_is_well_nothing_is_said_and_nothing_left_out() {
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
fn one_of_another_machine_says_what_it_leaves_out() {
    let remote = healthy_but(|f| (f.local, f.bridges) = (None, Ok(None)));
    assert_eq!(findings(&remote), []);
    assert!(run_checks(&remote).left_out.contains(&"bridges"));
}

#[test]
fn warnings_are_no_failure_and_problems_are_named() {
    let mut facts = local_but(|l| l.bridges_are_filtered = true);
    run_checks(&facts).outcome().unwrap();
    facts.probe = Probe::Stopped(VirtType::Kvm);
    facts.local.as_mut().unwrap().virtlogd = Virtlogd::Missing;
    let error = run_checks(&facts).outcome().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "2 problems on this host: virtlogd, guest"));
}

#[test]
fn kvm_that_libvirt_does_not_offer_has_a_reason() {
    let without = |act: fn(&mut LocalFacts)| {
        let mut facts = local_but(act);
        facts.capabilities.guests.insert("x86_64".into(), vec!["qemu".into()]);
        facts
    };
    let no_device = without(|l| l.kvm_device = None);
    assert_only(&no_device, "kvm", CheckState::Warning, &["not loaded", "modprobe"]);
    let no_processor = without(|l| (l.kvm_device, l.virtualization) = (None, false));
    assert_only(&no_processor, "kvm", CheckState::Warning, &["offers no virtualization", "firmware"]);
    let closed = without(|l| l.kvm_device = Some(rights(0, 0, 0o600)));
    assert_only(
        &closed,
        "kvm",
        CheckState::Warning,
        &["may not open /dev/kvm", "sudo chgrp kvm /dev/kvm && sudo chmod 0660"],
    );
    let mut wanted = without(|_| ());
    wanted.settings.virt_type = Some(VirtType::Kvm);
    assert_only(&wanted, "kvm", CheckState::Problem, &["--virt-type is kvm", "restart libvirtd"]);
}

#[test]
fn kvm_that_is_offered_may_still_not_work() {
    let closed = local_but(|l| l.accounts.users[2].2 = 64055);
    assert_only(&closed, "kvm", CheckState::Problem, &["libvirt-qemu", "sudo usermod -aG kvm libvirt-qemu"]);
    for mode in [0o600, 0o660, 0o640] {
        let only_roots = local_but(|l| l.kvm_device = Some(rights(0, 0, mode)));
        let (title, state, text) = only_finding(&only_roots);
        assert_eq!((title.as_str(), state), ("kvm", CheckState::Problem), "{mode:o}: {text}");
        assert!(text.ends_with("\nsudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm"), "{mode:o}: {text}");
        assert!(
            text.contains("at every call") && text.contains(&format!("group 0, mode {mode:o}")),
            "{text}"
        );
        assert!(!text.contains("usermod"), "{text}");
        // Nobody wants KVM, and every call is slow anyway.
        let unused = healthy_but(|f| {
            f.settings.virt_type = Some(VirtType::Qemu);
            f.local.as_mut().unwrap().kvm_device = Some(rights(0, 0, mode));
        });
        assert_only(&unused, "kvm", CheckState::Warning, &["at every call", "sudo chgrp kvm /dev/kvm"]);
    }
    // QEMU's user is in no group kvm: it joins that one, and not the one that the device is of.
    let stranger = local_but(|l| {
        l.accounts.users[2].2 = 64055;
        l.kvm_device = Some(rights(0, 6, 0o660));
        l.accounts.groups.push(("disk".into(), 6, vec![]));
    });
    let (_, _, text) = only_finding(&stranger);
    assert!(
        text.contains("sudo chgrp kvm /dev/kvm") && text.contains("usermod -aG kvm libvirt-qemu"),
        "{text}"
    );
    assert!(!text.contains("usermod -aG disk"), "{text}");
    let gone = local_but(|l| l.kvm_device = None);
    assert_only(&gone, "kvm", CheckState::Problem, &["/dev/kvm is gone"]);
    let pvm = local_but(|l| l.kvm_modules = vec!["kvm_pvm".into()]);
    assert_only(&pvm, "kvm", CheckState::Warning, &["PVM", "[DoctorProbe"]);
    let unused = healthy_but(|f| f.settings.virt_type = Some(VirtType::Qemu));
    assert_only(&unused, "kvm", CheckState::Warning, &["many times slower"]);
}

#[test]
fn what_a_trial_shows() {
    for (probe, state, words) in [
        (Probe::NotRun, CheckState::Unknown, "[DoctorProbe"),
        (Probe::Impossible("why".into()), CheckState::Unknown, "why"),
        (
            Probe::Refused("QEMU ended".into()),
            CheckState::Problem,
            "QEMU ended\nsee /var/log/libvirt/qemu/foundry-doctor.log",
        ),
        (Probe::Stopped(VirtType::Kvm), CheckState::Problem, "FOUNDRY_VIRT_TYPE=qemu"),
        (Probe::Stopped(VirtType::Qemu), CheckState::Problem, "foundry-doctor.log"),
    ] {
        assert_only(&healthy_but(|f| f.probe = probe), "guest", state, &[words]);
    }
}

#[test]
fn versions_lack_what_came_later() {
    let libvirt = |version| healthy_but(|f| f.capabilities.libvirt_version = version);
    assert_only(
        &libvirt(9_000_000),
        "libvirt",
        CheckState::Warning,
        &["9.0.0", "VLAN tags on Linux bridges", "11.0.0"],
    );
    assert_only(&libvirt(7_000_000), "libvirt", CheckState::Problem, &["firmware selection by features"]);
    assert_only(&libvirt(11_003_000), "libvirt-fault", CheckState::Warning, &["11.3.0", "vol-upload"]);
    let qemu = healthy_but(|f| f.machine.as_mut().unwrap().hypervisor_version = 2_008_000);
    assert_only(&qemu, "qemu", CheckState::Problem, &["2.8.0", "2.9.0", "2.10.0"]);
}

#[test]
fn a_missing_machine_type_or_firmware() {
    let none = healthy_but(|f| f.guest_machine = Err("unsupported machine type".into()));
    assert_only(
        &none,
        "machine-type",
        CheckState::Problem,
        &["unsupported machine type", "apt install qemu-system-x86"],
    );
    let firmware = |act: fn(&mut GuestMachine)| healthy_but(|f| act(f.guest_machine.as_mut().unwrap()));
    assert_only(&firmware(|m| m.firmware.clear()), "firmware", CheckState::Problem, &["apt install ovmf"]);
    assert_only(
        &firmware(|m| m.secure_boot = Some(false)),
        "secure-boot",
        CheckState::Warning,
        &["secureBoot"],
    );
    assert_only(&firmware(|m| m.secure_boot = None), "secure-boot", CheckState::Unknown, &["12.1"]);
    let mut described = firmware(|m| m.secure_boot = None);
    described.local.as_mut().unwrap().secure_boot = Some(true);
    assert_eq!(findings(&described), [], "this machine's own files say it");
}

#[test]
fn pools_are_there_started_and_start_again() {
    let with = |act: fn(&mut Vec<Pool>)| healthy_but(|f| act(f.pools.as_mut().unwrap()));
    let stopped = with(|p| (p[1].active, p[1].autostart) = (false, false));
    assert_only(
        &stopped,
        "pool foundry-vms",
        CheckState::Warning,
        &["not started", "[PoolStart { pool: \"foundry-vms\" }] --autostart"],
    );
    let once = with(|p| p[0].autostart = false);
    assert_only(&once, "pool foundry-images", CheckState::Warning, &["does not start with the host"]);
    assert_eq!(findings(&with(Vec::clear)), [], "they are made on first use");
    let named = healthy_but(|f| f.settings.vm_pool = "my.pool".parse().unwrap());
    assert_only(&named, "pool my.pool", CheckState::Problem, &["[PoolAdd { pool: \"my.pool\" }]"]);
    let other = with(|p| p.push(Pool { active: false, ..pool("x; reboot", "/x") }));
    assert_only(&other, "pool x; reboot", CheckState::Warning, &["[PoolStart { pool: \"x; reboot\" }]"]);
}

#[test]
fn guests_get_to_the_directories_of_pools() {
    let closed = |has_acl| {
        local_but(|l| {
            let way = l.directories.get_mut("/vms").unwrap().steps.as_mut().unwrap();
            way[1].1 = UnixPermissions { has_acl, ..rights(0, 0, 0o700) };
        })
    };
    let words = ["libvirt-qemu", "may not enter /vms (mode 700)", "setfacl -m u:libvirt-qemu:x /vms"];
    assert_only(&closed(false), "pool-path foundry-vms", CheckState::Problem, &words);
    assert_only(&closed(true), "pool-path foundry-vms", CheckState::Unknown, &["getfacl /vms"]);
    let mut context = closed(false);
    (context.is_session, context.uri) = (true, "qemu:///session".into());
    assert_eq!(findings(&context), [], "a session's guests run as whoever asks, here root");
    let hidden = local_but(|l| l.directories.get_mut("/vms").unwrap().steps = None);
    assert_only(&hidden, "pool-path foundry-vms", CheckState::Unknown, &["/vms"]);
}

#[test]
fn the_place_of_a_pool_that_is_not_made_yet_is_looked_at_too() {
    let mut facts = healthy_but(|f| f.pools.as_mut().unwrap().clear());
    let place = "/var/lib/libvirt/images/foundry/vms";
    let way = Some(vec![("/var/lib".to_owned(), rights(0, 0, 0o750))]);
    let directory = PoolDirectory { real: "/var/lib".into(), steps: way, ..PoolDirectory::default() };
    facts.local.as_mut().unwrap().directories = BTreeMap::from([(place.to_owned(), directory)]);
    assert_only(&facts, "pool-path foundry-vms", CheckState::Problem, &["/var/lib (mode 750)"]);
}

#[test]
fn room_runs_out_in_bytes_inodes_and_promises() {
    let left = |bytes| local_but(move |l| l.directories.get_mut("/vms").unwrap().available = bytes);
    assert_only(&left(GIB / 2), "room foundry-vms", CheckState::Problem, &["512 MiB of 100 GiB"]);
    assert_only(&left(4 * GIB), "room foundry-vms", CheckState::Warning, &["[StorageStatus]"]);
    let inodes = |left| local_but(move |l| l.directories.get_mut("/images").unwrap().inodes = (1000, left));
    assert_only(&inodes(0), "inodes foundry-images", CheckState::Problem, &["0 of 1000", "df -i"]);
    assert_only(&inodes(9), "inodes foundry-images", CheckState::Warning, &["9 of 1000"]);
    let promised = healthy_but(|f| {
        f.storage = Ok(storage_status(vec![FileSystem {
            pools: vec!["foundry-vms".into()],
            capacity: Bytes(100 * GIB),
            allocation: Bytes(50 * GIB),
            available: Bytes(50 * GIB),
            growth: Bytes(80 * GIB),
            overcommit: Bytes(30 * GIB),
        }]));
    });
    assert_only(&promised, "overcommit foundry-vms", CheckState::Warning, &["80 GiB", "50 GiB"]);
    let elsewhere =
        healthy_but(|f| f.pools.as_mut().unwrap().push(Pool { available: Bytes(0), ..pool("nas", "/nas") }));
    assert_only(&elsewhere, "room nas", CheckState::Warning, &["0 B"]);
}

#[test]
fn bridges_pass_something() {
    let link = |act: fn(&mut LinkFacts)| local_but(|l| act(l.links.get_mut("br0").unwrap()));
    let down = link(|l| l.is_up = false);
    assert_only(&down, "bridge br0", CheckState::Warning, &["is down", "ip link set br0 up"]);
    let alone = link(|l| (l.has_address, l.uplinks) = (false, vec![]));
    assert_only(
        &alone,
        "bridge br0",
        CheckState::Warning,
        &["only each other", "ip address add ADDRESS/PREFIX dev br0"],
    );
    let filtered = local_but(|l| l.bridges_are_filtered = true);
    assert_only(
        &filtered,
        "bridge-filter",
        CheckState::Warning,
        &["iptables -I DOCKER-USER -i BRIDGE -o BRIDGE -j ACCEPT"],
    );
}

#[test]
fn what_a_vm_is_on_must_work() {
    let on = |bridge: &str, vlan| healthy_but(|f| f.domains = Ok(vec![vm(bridge, vlan)]));
    assert_eq!(findings(&on("br0", false)), []);
    assert_only(
        &on("br0", true),
        "bridge br0",
        CheckState::Problem,
        &["VM 'web'", "ip link add NAME type bridge vlan_filtering 1"],
    );
    assert_only(
        &on("br7", false),
        "bridge br7",
        CheckState::Problem,
        &["VM 'web'", "ip link add br7 type bridge"],
    );
    let mut down = on("br0", false);
    down.local.as_mut().unwrap().links.get_mut("br0").unwrap().is_up = false;
    assert_only(&down, "bridge br0", CheckState::Problem, &["VM 'web' is attached to it"]);
}

#[test]
fn there_is_something_to_attach_a_vm_to() {
    let no_bridge = healthy_but(|f| f.bridges = Ok(Some(vec![])));
    assert_eq!(findings(&no_bridge), [], "there is the network");
    let mut nothing = no_bridge;
    nothing.networks = Ok(vec![]);
    assert_only(&nothing, "network", CheckState::Problem, &["neither"]);
    let stopped = healthy_but(|f| f.networks.as_mut().unwrap()[0].active = false);
    assert_only(&stopped, "network default", CheckState::Warning, &["virsh net-start default"]);
}

#[test]
fn confinement_lets_guests_to_their_images() {
    let model = |name: &str| SecurityModel { name: name.into(), label: None };
    let at = |name: &'static str, target: &'static str| {
        healthy_but(move |f| {
            f.capabilities.security.insert(0, model(name));
            f.pools.as_mut().unwrap().push(pool("x", target));
        })
    };
    assert_eq!(findings(&at("apparmor", "/srv/x")), []);
    assert_only(&at("apparmor", "/etc/x"), "confinement x", CheckState::Problem, &["/etc/x", "elsewhere"]);
    let selinux: Vec<String> = findings(&at("selinux", "/srv/it's"))
        .iter()
        .filter(|c| c.object.as_deref() == Some("x"))
        .flat_map(advice_lines)
        .collect();
    assert_eq!(
        selinux,
        [r"semanage fcontext -a -t virt_image_t '/srv/it\'\''s(/.*)?' && restorecon -R '/srv/it'\''s'"]
    );
    let mut permissive = at("selinux", "/srv/x");
    permissive.local.as_mut().unwrap().selinux_enforces = Some(false);
    assert_eq!(findings(&permissive), []);
    let idle = local_but(|l| l.apparmor = true);
    assert_only(&idle, "confinement", CheckState::Warning, &["security_driver"]);
}

#[test]
fn memory_is_not_promised_twice() {
    let with = |memory, state, autostart, free| {
        healthy_but(move |f| {
            let machine: &mut Machine = f.machine.as_mut().unwrap();
            (machine.memory, machine.free_memory) = (Bytes(8 * GIB), Bytes(free));
            f.domains = Ok(vec![Domain {
                memory: Bytes(memory),
                state,
                autostart,
                record: None,
                ..vm("br0", false)
            }]);
        })
    };
    assert_eq!(findings(&with(8 * GIB, DomainState::Running, true, GIB)), []);
    assert_only(
        &with(9 * GIB, DomainState::Paused, false, GIB),
        "memory",
        CheckState::Warning,
        &["running VMs are assigned 9 GiB"],
    );
    assert_only(
        &with(9 * GIB, DomainState::ShutOff, true, GIB),
        "memory",
        CheckState::Warning,
        &["start with the host"],
    );
    assert_eq!(findings(&with(9 * GIB, DomainState::ShutOff, false, GIB)), []);
    assert_only(
        &with(GIB, DomainState::Running, true, 1 << 20),
        "memory",
        CheckState::Warning,
        &["1 MiB of 8 GiB free"],
    );
}

#[test]
fn what_the_host_does_not_say_is_unknown() {
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
fn a_socket_that_may_not_be_used_names_its_group() {
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
fn a_libvirt_that_does_not_answer_is_said_with_its_reason() {
    let error = Error::new(Kind::Connection, "cannot connect").because("it is off").hint("turn it on");
    let check = access::check_unreachable("qemu:///system", &error);
    assert_eq!(
        (check.state, check.found.as_str()),
        (CheckState::Problem, "qemu:///system does not answer: it is off")
    );
    assert_eq!(advice_lines(&check), ["turn it on"]);
}
