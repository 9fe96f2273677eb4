//! A healthy host, one problem with it at a time, and what doctor reports.

use std::collections::BTreeMap;

use super::facts::{Facts, Trial};
use super::local::{Directory, Link, Local, Logd};
use super::{Check, State, access, judge};
use crate::Settings;
use crate::rights::{Accounts, Rights, User};
use crate::storage::status::{FileSystem, StorageStatus, Tally};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Error, Kind};
use foundry_core::units::Bytes;
use foundry_host::memory::MemoryHost;
use foundry_host::{
    Bridge, Capabilities, Domain, DomainState, GuestMachine, HostInfo, Machine, Network, Pool, PoolSource,
    SecurityModel,
};

const GIB: u64 = 1 << 30;

/// What a check advises, a line each.
fn todo(check: &Check) -> Vec<String> {
    check.advice.iter().map(Advice::to_log_line).collect()
}

fn rights(uid: u32, gid: u32, mode: u32) -> Rights {
    Rights { uid, gid, mode, has_acl: false }
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

fn local() -> Local {
    let directory = |path: &str| Directory {
        real: path.into(),
        way: Some(vec![("/".into(), rights(0, 0, 0o755)), (path.into(), rights(0, 0, 0o711))]),
        inodes: (1_000_000, 900_000),
        available: 50 * GIB,
    };
    Local {
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
        links: [("br0".to_owned(), Link { is_up: true, has_address: true, uplinks: vec!["eth0".into()] })]
            .into(),
        directories: ["/vms", "/images"].map(|path| (path.to_owned(), directory(path))).into(),
        ..Local::default()
    }
}

fn well() -> Facts {
    let host = MemoryHost::new();
    Facts {
        uri: "qemu:///system".into(),
        is_session: false,
        settings: Settings::default(),
        capabilities: Capabilities { libvirt_version: 12_001_000, ..host.capabilities().unwrap() },
        machine: Ok(host.machine().unwrap()),
        guest_machine: Ok(host.guest_machine("x86_64", "q35", "kvm").unwrap()),
        pools: Ok(vec![pool("foundry-images", "/images"), pool("foundry-vms", "/vms")]),
        storage: Ok(status(Vec::new())),
        domains: Ok(Vec::new()),
        bridges: Ok(Some(vec![Bridge { name: "br0".into(), ..Bridge::default() }])),
        networks: Ok(vec![Network { name: "default".into(), active: true, ..Network::default() }]),
        trial: Trial::Ran(VirtType::Kvm),
        local: Some(local()),
    }
}

fn status(file_systems: Vec<FileSystem>) -> StorageStatus {
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
        why: foundry_host::Why::default(),
        vcpus: 1,
        memory: Bytes(GIB),
        persistent: true,
        autostart: true,
        saved: false,
        record: Some(record),
    }
}

fn not_well(facts: &Facts) -> Vec<Check> {
    judge(facts).checks.into_iter().filter(|check| check.state != State::Ok).collect()
}

/// The one check that is not well, its state, and all its words.
#[track_caller]
fn only(facts: &Facts) -> (String, State, String) {
    let found = not_well(facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    let check = &found[0];
    assert!(
        !check.advice.is_empty() || check.state == State::Unknown,
        "{check:?} says nothing of what to do"
    );
    (check.title(), check.state, format!("{}\n{}", check.found, todo(check).join("\n")))
}

#[track_caller]
fn assert_only(facts: &Facts, title: &str, state: State, words: &[&str]) {
    let (found, is, text) = only(facts);
    assert_eq!((found.as_str(), is), (title, state), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

fn change(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = well();
    change(&mut facts);
    facts
}

fn change_local(act: impl FnOnce(&mut Local)) -> Facts {
    change(|facts| act(facts.local.as_mut().unwrap()))
}

#[test]
fn where_all_is_well_nothing_is_said_and_nothing_left_out() {
    let report = judge(&well());
    assert_eq!(not_well(&well()), []);
    assert_eq!((report.left_out.len(), report.outcome().is_ok()), (0, true));
    let names: Vec<String> = report.checks.iter().map(Check::title).collect();
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
    let remote = change(|f| (f.local, f.bridges) = (None, Ok(None)));
    assert_eq!(not_well(&remote), []);
    assert!(judge(&remote).left_out.contains(&"bridges"));
}

#[test]
fn warnings_are_no_failure_and_problems_are_named() {
    let mut facts = change_local(|l| l.bridges_are_filtered = true);
    judge(&facts).outcome().unwrap();
    facts.trial = Trial::Stopped(VirtType::Kvm);
    facts.local.as_mut().unwrap().virtlogd = Logd::Missing;
    let error = judge(&facts).outcome().unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Vm, "there are 2 problems on this host: virtlogd, guest")
    );
}

#[test]
fn kvm_that_libvirt_does_not_offer_has_a_reason() {
    let without = |act: fn(&mut Local)| {
        let mut facts = change_local(act);
        facts.capabilities.guests.insert("x86_64".into(), vec!["qemu".into()]);
        facts
    };
    let no_device = without(|l| l.kvm_device = None);
    assert_only(&no_device, "kvm", State::Warning, &["not loaded", "modprobe"]);
    let no_processor = without(|l| (l.kvm_device, l.virtualization) = (None, false));
    assert_only(&no_processor, "kvm", State::Warning, &["offers no virtualization", "firmware"]);
    let closed = without(|l| l.kvm_device = Some(rights(0, 0, 0o600)));
    assert_only(
        &closed,
        "kvm",
        State::Warning,
        &["may not open /dev/kvm", "sudo chgrp kvm /dev/kvm && sudo chmod 0660"],
    );
    let mut wanted = without(|_| ());
    wanted.settings.virt_type = Some(VirtType::Kvm);
    assert_only(&wanted, "kvm", State::Problem, &["--virt-type says kvm", "restart libvirtd"]);
}

#[test]
fn kvm_that_is_offered_may_still_not_work() {
    let closed = change_local(|l| l.accounts.users[2].2 = 64055);
    assert_only(&closed, "kvm", State::Problem, &["libvirt-qemu", "sudo usermod -aG kvm libvirt-qemu"]);
    for mode in [0o600, 0o660, 0o640] {
        let only_roots = change_local(|l| l.kvm_device = Some(rights(0, 0, mode)));
        let (title, state, text) = only(&only_roots);
        assert_eq!((title.as_str(), state), ("kvm", State::Problem), "{mode:o}: {text}");
        assert!(text.ends_with("\nsudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm"), "{mode:o}: {text}");
        assert!(
            text.contains("at every call") && text.contains(&format!("group 0, mode {mode:o}")),
            "{text}"
        );
        assert!(!text.contains("usermod"), "{text}");
        // Nobody wants KVM, and every call is slow anyway.
        let unused = change(|f| {
            f.settings.virt_type = Some(VirtType::Qemu);
            f.local.as_mut().unwrap().kvm_device = Some(rights(0, 0, mode));
        });
        assert_only(&unused, "kvm", State::Warning, &["at every call", "sudo chgrp kvm /dev/kvm"]);
    }
    // QEMU's user is in no group kvm: it joins that one, and not the one that the device is of.
    let stranger = change_local(|l| {
        l.accounts.users[2].2 = 64055;
        l.kvm_device = Some(rights(0, 6, 0o660));
        l.accounts.groups.push(("disk".into(), 6, vec![]));
    });
    let (_, _, text) = only(&stranger);
    assert!(
        text.contains("sudo chgrp kvm /dev/kvm") && text.contains("usermod -aG kvm libvirt-qemu"),
        "{text}"
    );
    assert!(!text.contains("usermod -aG disk"), "{text}");
    let gone = change_local(|l| l.kvm_device = None);
    assert_only(&gone, "kvm", State::Problem, &["no /dev/kvm any more"]);
    let pvm = change_local(|l| l.kvm_modules = vec!["kvm_pvm".into()]);
    assert_only(&pvm, "kvm", State::Warning, &["PVM", "[DoctorProbe"]);
    let unused = change(|f| f.settings.virt_type = Some(VirtType::Qemu));
    assert_only(&unused, "kvm", State::Warning, &["many times slower"]);
}

#[test]
fn what_a_trial_shows() {
    for (trial, state, words) in [
        (Trial::NotTried, State::Unknown, "[DoctorProbe"),
        (Trial::Impossible("why".into()), State::Unknown, "why"),
        (
            Trial::Refused("QEMU ended".into()),
            State::Problem,
            "QEMU ended\nsee /var/log/libvirt/qemu/foundry-doctor.log",
        ),
        (Trial::Stopped(VirtType::Kvm), State::Problem, "FOUNDRY_VIRT_TYPE=qemu"),
        (Trial::Stopped(VirtType::Qemu), State::Problem, "foundry-doctor.log"),
    ] {
        assert_only(&change(|f| f.trial = trial), "guest", state, &[words]);
    }
}

#[test]
fn versions_lack_what_came_later() {
    let libvirt = |version| change(|f| f.capabilities.libvirt_version = version);
    assert_only(
        &libvirt(9_000_000),
        "libvirt",
        State::Warning,
        &["9.0.0", "VLAN tags on Linux bridges", "11.0.0"],
    );
    assert_only(&libvirt(7_000_000), "libvirt", State::Problem, &["firmware by its features"]);
    assert_only(&libvirt(11_003_000), "libvirt-fault", State::Warning, &["11.3.0", "vol-upload"]);
    let qemu = change(|f| f.machine.as_mut().unwrap().hypervisor_version = 2_008_000);
    assert_only(&qemu, "qemu", State::Problem, &["2.8.0", "2.9.0", "2.10.0"]);
}

#[test]
fn a_missing_machine_type_or_firmware() {
    let none = change(|f| f.guest_machine = Err("unsupported machine type".into()));
    assert_only(
        &none,
        "machine-type",
        State::Problem,
        &["unsupported machine type", "apt install qemu-system-x86"],
    );
    let firmware = |act: fn(&mut GuestMachine)| change(|f| act(f.guest_machine.as_mut().unwrap()));
    assert_only(&firmware(|m| m.firmware.clear()), "firmware", State::Problem, &["apt install ovmf"]);
    assert_only(&firmware(|m| m.secure_boot = Some(false)), "secure-boot", State::Warning, &["secureBoot"]);
    assert_only(&firmware(|m| m.secure_boot = None), "secure-boot", State::Unknown, &["12.1"]);
    let mut described = firmware(|m| m.secure_boot = None);
    described.local.as_mut().unwrap().secure_boot = Some(true);
    assert_eq!(not_well(&described), [], "this machine's own files say it");
}

#[test]
fn pools_are_there_started_and_start_again() {
    let with = |act: fn(&mut Vec<Pool>)| change(|f| act(f.pools.as_mut().unwrap()));
    let stopped = with(|p| (p[1].active, p[1].autostart) = (false, false));
    assert_only(
        &stopped,
        "pool foundry-vms",
        State::Warning,
        &["not started", "[PoolStart { pool: \"foundry-vms\" }] --autostart"],
    );
    let once = with(|p| p[0].autostart = false);
    assert_only(&once, "pool foundry-images", State::Warning, &["does not start with the host"]);
    assert_eq!(not_well(&with(Vec::clear)), [], "they are made on first use");
    let named = change(|f| f.settings.vm_pool = "my.pool".parse().unwrap());
    assert_only(&named, "pool my.pool", State::Problem, &["[PoolAdd { pool: \"my.pool\" }]"]);
    let other = with(|p| p.push(Pool { active: false, ..pool("x; reboot", "/x") }));
    assert_only(&other, "pool x; reboot", State::Warning, &["[PoolStart { pool: \"x; reboot\" }]"]);
}

#[test]
fn guests_get_to_the_directories_of_pools() {
    let closed = |has_acl| {
        change_local(|l| {
            let way = l.directories.get_mut("/vms").unwrap().way.as_mut().unwrap();
            way[1].1 = Rights { has_acl, ..rights(0, 0, 0o700) };
        })
    };
    let words = ["libvirt-qemu", "may not pass /vms (mode 700)", "setfacl -m u:libvirt-qemu:x /vms"];
    assert_only(&closed(false), "pool-path foundry-vms", State::Problem, &words);
    assert_only(&closed(true), "pool-path foundry-vms", State::Unknown, &["getfacl /vms"]);
    let mut context = closed(false);
    (context.is_session, context.uri) = (true, "qemu:///session".into());
    assert_eq!(not_well(&context), [], "a session's guests run as whoever asks, here root");
    let hidden = change_local(|l| l.directories.get_mut("/vms").unwrap().way = None);
    assert_only(&hidden, "pool-path foundry-vms", State::Unknown, &["/vms"]);
}

#[test]
fn the_place_of_a_pool_that_is_not_made_yet_is_looked_at_too() {
    let mut facts = change(|f| f.pools.as_mut().unwrap().clear());
    let place = "/var/lib/libvirt/images/foundry/vms";
    let way = Some(vec![("/var/lib".to_owned(), rights(0, 0, 0o750))]);
    let directory = Directory { real: "/var/lib".into(), way, ..Directory::default() };
    facts.local.as_mut().unwrap().directories = BTreeMap::from([(place.to_owned(), directory)]);
    assert_only(&facts, "pool-path foundry-vms", State::Problem, &["/var/lib (mode 750)"]);
}

#[test]
fn room_runs_out_in_bytes_inodes_and_promises() {
    let left = |bytes| change_local(move |l| l.directories.get_mut("/vms").unwrap().available = bytes);
    assert_only(&left(GIB / 2), "room foundry-vms", State::Problem, &["512 MiB of 100 GiB"]);
    assert_only(&left(4 * GIB), "room foundry-vms", State::Warning, &["[StorageStatus]"]);
    let inodes =
        |left| change_local(move |l| l.directories.get_mut("/images").unwrap().inodes = (1000, left));
    assert_only(&inodes(0), "inodes foundry-images", State::Problem, &["0 of 1000", "df -i"]);
    assert_only(&inodes(9), "inodes foundry-images", State::Warning, &["9 of 1000"]);
    let promised = change(|f| {
        f.storage = Ok(status(vec![FileSystem {
            pools: vec!["foundry-vms".into()],
            capacity: Bytes(100 * GIB),
            allocation: Bytes(50 * GIB),
            available: Bytes(50 * GIB),
            growth: Bytes(80 * GIB),
            overcommit: Bytes(30 * GIB),
        }]));
    });
    assert_only(&promised, "overcommit foundry-vms", State::Warning, &["80 GiB", "50 GiB"]);
    let elsewhere =
        change(|f| f.pools.as_mut().unwrap().push(Pool { available: Bytes(0), ..pool("nas", "/nas") }));
    assert_only(&elsewhere, "room nas", State::Warning, &["0 B"]);
}

#[test]
fn bridges_pass_something() {
    let link = |act: fn(&mut Link)| change_local(|l| act(l.links.get_mut("br0").unwrap()));
    let down = link(|l| l.is_up = false);
    assert_only(&down, "bridge br0", State::Warning, &["is down", "ip link set br0 up"]);
    let alone = link(|l| (l.has_address, l.uplinks) = (false, vec![]));
    assert_only(
        &alone,
        "bridge br0",
        State::Warning,
        &["only each other", "ip address add ADDRESS/PREFIX dev br0"],
    );
    let filtered = change_local(|l| l.bridges_are_filtered = true);
    assert_only(
        &filtered,
        "bridge-filter",
        State::Warning,
        &["iptables -I DOCKER-USER -i BRIDGE -o BRIDGE -j ACCEPT"],
    );
}

#[test]
fn what_a_vm_is_on_must_work() {
    let on = |bridge: &str, vlan| change(|f| f.domains = Ok(vec![vm(bridge, vlan)]));
    assert_eq!(not_well(&on("br0", false)), []);
    assert_only(
        &on("br0", true),
        "bridge br0",
        State::Problem,
        &["VM 'web'", "ip link add NAME type bridge vlan_filtering 1"],
    );
    assert_only(
        &on("br7", false),
        "bridge br7",
        State::Problem,
        &["VM 'web'", "ip link add br7 type bridge"],
    );
    let mut down = on("br0", false);
    down.local.as_mut().unwrap().links.get_mut("br0").unwrap().is_up = false;
    assert_only(&down, "bridge br0", State::Problem, &["VM 'web' is on it"]);
}

#[test]
fn there_is_something_to_attach_a_vm_to() {
    let no_bridge = change(|f| f.bridges = Ok(Some(vec![])));
    assert_eq!(not_well(&no_bridge), [], "there is the network");
    let mut nothing = no_bridge;
    nothing.networks = Ok(vec![]);
    assert_only(&nothing, "network", State::Problem, &["neither"]);
    let stopped = change(|f| f.networks.as_mut().unwrap()[0].active = false);
    assert_only(&stopped, "network default", State::Warning, &["virsh net-start default"]);
}

#[test]
fn confinement_lets_guests_to_their_images() {
    let model = |name: &str| SecurityModel { name: name.into(), label: None };
    let at = |name: &'static str, target: &'static str| {
        change(move |f| {
            f.capabilities.security.insert(0, model(name));
            f.pools.as_mut().unwrap().push(pool("x", target));
        })
    };
    assert_eq!(not_well(&at("apparmor", "/srv/x")), []);
    assert_only(&at("apparmor", "/etc/x"), "confinement x", State::Problem, &["/etc/x", "elsewhere"]);
    let selinux: Vec<String> = not_well(&at("selinux", "/srv/it's"))
        .iter()
        .filter(|c| c.object.as_deref() == Some("x"))
        .flat_map(todo)
        .collect();
    assert_eq!(
        selinux,
        [r"semanage fcontext -a -t virt_image_t '/srv/it\'\''s(/.*)?' && restorecon -R '/srv/it'\''s'"]
    );
    let mut permissive = at("selinux", "/srv/x");
    permissive.local.as_mut().unwrap().selinux_enforces = Some(false);
    assert_eq!(not_well(&permissive), []);
    let idle = change_local(|l| l.apparmor = true);
    assert_only(&idle, "confinement", State::Warning, &["security_driver"]);
}

#[test]
fn memory_is_not_promised_twice() {
    let with = |memory, state, autostart, free| {
        change(move |f| {
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
    assert_eq!(not_well(&with(8 * GIB, DomainState::Running, true, GIB)), []);
    assert_only(
        &with(9 * GIB, DomainState::Paused, false, GIB),
        "memory",
        State::Warning,
        &["running VMs may take 9 GiB"],
    );
    assert_only(
        &with(9 * GIB, DomainState::ShutOff, true, GIB),
        "memory",
        State::Warning,
        &["start with the host"],
    );
    assert_eq!(not_well(&with(9 * GIB, DomainState::ShutOff, false, GIB)), []);
    assert_only(
        &with(GIB, DomainState::Running, true, 1 << 20),
        "memory",
        State::Warning,
        &["1 MiB of 8 GiB are free"],
    );
}

#[test]
fn what_the_host_does_not_say_is_unknown() {
    let mute = change(|f| {
        f.machine = Err("no".into());
        f.storage = Err("no".into());
        f.domains = Err("no".into());
        f.networks = Err("no".into());
        f.bridges = Err("no".into());
    });
    let states: Vec<State> = not_well(&mute).iter().map(|c| c.state).collect();
    assert_eq!(states, vec![State::Unknown; states.len()]);
    judge(&mute).outcome().unwrap();
}

#[test]
fn a_socket_that_may_not_be_used_names_its_group() {
    let alice = |groups: &[u32], listed: bool| {
        let mut local = local();
        local.user = User { uid: 1000, groups: groups.iter().copied().collect() };
        if !listed {
            local.accounts.groups[1].2.clear();
        }
        access::socket("qemu:///system", &local).remove(0)
    };
    let out = alice(&[1000], false);
    assert_eq!(
        (out.state, todo(&out)),
        (State::Problem, vec!["sudo usermod -aG libvirt alice, and log in anew (whoever is in the group libvirt can become root on that host)".to_owned()])
    );
    assert_eq!(todo(&alice(&[1000], true)), ["log out and in again"]);
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
        let check = access::socket("qemu:///system", &local).remove(0);
        let text = todo(&check).join("\n");
        assert_eq!(check.state, State::Problem, "{text}");
        assert!(name == "libvirt" || !text.contains(&format!("-aG {name}")), "{text}");
        assert!(text.contains("unix_sock_group"), "{text}");
    }
    assert_eq!(alice(&[1000, 106], true).state, State::Ok);
    let nobody = access::socket("qemu:///system", &Local::default()).remove(0);
    assert!(
        nobody.state == State::Problem && todo(&nobody)[1].contains("systemctl enable --now libvirtd.socket")
    );
    assert_eq!(access::socket("qemu:///session?x", &Local::default()), []);
}

#[test]
fn a_libvirt_that_does_not_answer_is_said_with_its_reason() {
    let error = Error::new(Kind::Connection, "cannot connect").because("it is off").hint("turn it on");
    let check = access::unreachable("qemu:///system", &error);
    assert_eq!(
        (check.state, check.found.as_str()),
        (State::Problem, "qemu:///system does not answer: it is off")
    );
    assert_eq!(todo(&check), ["turn it on"]);
}
