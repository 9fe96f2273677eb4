//! What stands in the way of a VM, found before anything is made: all of it at once, each in one sentence
//! with what to do, and nothing changed.

use crate::support::bench::{Bench, GIB, bridge, foreign, host_with_neighbours, whole};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::domain_xml::VirtType;
use foundry::host::memory::MemoryHost;
use foundry::host::{
    Bridge, Capabilities, Domains, GuestMachine, HostInfo, LinkAddress, Neighbour, Neighbourhood, Network,
    Pools, Subnet, Transfers, Volumes,
};
use foundry::operations::preflight::preflight;
use foundry::plan::{Arch, VmPlan};
use foundry::record::VolumeRef;
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];

/// What the preflight of a plan finds; the host must be as it was.
fn found(bench: &Bench, plan: &VmPlan) -> Error {
    let before = bench.host.fingerprint();
    let error = preflight(&bench.context(), plan).unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    error
}

fn assert_finds(bench: &Bench, plan: &VmPlan, kind: Kind, sentence: &str) {
    let error = found(bench, plan);
    assert_eq!(error.kind(), kind, "{}", whole(&error));
    assert!(error.text().contains(sentence), "{sentence}\nis not in\n{}", error.text());
}

fn with_image(image: &str) -> VmPlan {
    plan_with(WEB, &[("image: debian-12", &format!("image: '{image}'"))])
}

#[test]
fn all_findings_come_at_once_and_the_worst_is_the_code() {
    let host = MemoryHost::new().with_pool("foundry-vms", "/pool/vms").with_image(
        "foundry-vms",
        "web_boot",
        "raw",
        1,
    );
    let bench =
        Bench::on(host.with_foreign_domain(&foreign("web", "/x")).with_bridges(&[bridge("br1", false)]));
    let error = found(&bench, &plan_with(WEB, &[("bridge: br0}", "bridge: br0, vlan: 7}")]));
    assert_eq!((error.kind(), error.code()), (Kind::Storage, Code::ImageMissing));
    insta::assert_snapshot!(error.text(), @r"
    cannot create VM 'web' on this host
      a domain 'web' exists that foundry did not create [FND-4001]
        choose another name
      spec.networkInterfaces[0].bridge: there is no bridge 'br0' [FND-4201]
        did you mean 'br1'?
      image 'debian-12' not found: there is no pool 'foundry-images' [FND-5101]
        foundry image pull debian-12
      volume 'web_boot' exists in pool 'foundry-vms' [FND-5202]
        it may hold data: choose another name for the VM, or, if nobody needs the volume, foundry gc foundry-vms/web_boot
    ");
}

#[test]
fn what_is_not_about_storage_is_exit_4() {
    let bench = Bench::with_web();
    assert_finds(
        &bench,
        &plan(WEB),
        Kind::Vm,
        "VM 'web' exists\n    choose another name, or foundry destroy web first",
    );
    // Its own volumes are no report: nobody should be told to delete them.
    assert!(!whole(&found(&bench, &plan(WEB))).contains("gc "));
}

#[test]
fn bridges_are_named_with_the_nearest() {
    let bench = Bench::new();
    let vm = plan_with(WEB, &[("bridge: br0", "bridge: br2")]);
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.networkInterfaces[0].bridge: there is no bridge 'br2'\n    did you mean 'br",
    );
    let bench = Bench::on(host_with_neighbours().with_bridges(&[]));
    assert_finds(&bench, &plan(WEB), Kind::Vm, "there is no bridge 'br0'\n    there is none");
}

/// libvirt attaches to it without a word.
#[test]
fn a_bridge_that_is_down_is_found() {
    let down = Bridge { is_up: false, ..bridge("br0", false) };
    let bench = Bench::on(host_with_neighbours().with_bridges(&[down]));
    let sentence = "spec.networkInterfaces[0].bridge: bridge 'br0' is down\n    ip link set br0 up";
    assert_finds(&bench, &plan(WEB), Kind::Vm, sentence);
}

#[test]
fn bridges_that_cannot_be_known_are_a_warning() {
    let host = MemoryHost::new()
        .with_image("foundry-images", "debian-12", "qcow2", GIB)
        .with_pool("foundry-vms", "/v");
    let bench = Bench::on(host);
    preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!(bench.told.warnings(), ["bridges of a remote host cannot be checked before the VM starts"]);
}

#[test]
fn networks_must_be_there_and_started() {
    let bench = Bench::on(host_with_neighbours().with_network("lab", false));
    let small = |network: &str| plan_with(SMALL, &[("network: default", &format!("network: {network}"))]);
    assert_finds(&bench, &small("lab"), Kind::Vm, "network 'lab' is not started\n    virsh net-start lab");
    assert_finds(
        &bench,
        &small("defualt"),
        Kind::Vm,
        "there is no network 'defualt'\n    did you mean 'default'?",
    );
    preflight(&bench.context(), &small("default")).unwrap();
}

fn old_libvirt(version: u32) -> MemoryHost {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    host_with_neighbours().with_capabilities(Capabilities { libvirt_version: version, ..capabilities })
}

#[test]
fn vlans_need_a_new_libvirt_and_a_bridge_that_filters() {
    let tagged = |bridge: &str| plan_with(WEB, &[("bridge: br0}", &format!("bridge: {bridge}, vlan: 7}}"))]);
    let bench = Bench::new();
    assert_finds(
        &bench,
        &tagged("br0"),
        Kind::Vm,
        "bridge 'br0' does not filter VLANs\n    attach it to a bridge that is already on the VLAN",
    );
    preflight(&bench.context(), &tagged("br1")).unwrap();
    let bench = Bench::on(old_libvirt(10_999_000));
    assert_finds(
        &bench,
        &tagged("br1"),
        Kind::Vm,
        "vlan: libvirt 10.999 cannot set VLAN tags on a Linux bridge; 11.0 can",
    );
    preflight(&Bench::on(old_libvirt(11_000_000)).context(), &tagged("br1")).unwrap();
    preflight(&bench.context(), &plan(WEB)).unwrap();
}

/// FACTS 31: addresses are compared as addresses, whatever their prefix length.
#[test]
fn an_address_of_another_vm_is_told_with_what_it_names() {
    let bench = Bench::with_web();
    let other = |ip: &str| plan_with(WEB, &[("name: web,", "name: shop,"), ("10.0.0.1/24", ip)]);
    let sentence = "spec.networkInterfaces[0].ip: VM 'web' already has the address 10.0.0.1, and thereby MAC be:ef:0a:00:00:01 and tap vm0a000001";
    assert_finds(&bench, &other("10.0.0.1/16"), Kind::Vm, sentence);
    preflight(&bench.context(), &other("10.0.0.2/24")).unwrap();
}

#[test]
fn a_mac_address_of_another_vm_is_found_whichever_way_either_came_by_it() {
    let bench = Bench::with_web();
    let small = |mac: &str| {
        plan_with(SMALL, &[("network: default", &format!("network: default, macAddress: '{mac}'"))])
    };
    let sentence = "spec.networkInterfaces[0]: VM 'web' already has MAC be:ef:0a:00:00:01\n    choose another macAddress";
    assert_finds(&bench, &small("BE-EF-0A-00-00-01"), Kind::Vm, sentence);
    preflight(&bench.context(), &small("be:ef:0a:00:00:99")).unwrap();
}

#[test]
fn further_addresses_are_compared_too() {
    let six = "dnsServers: [10.0.0.254], addresses: ['2001:db8::1/64', 10.9.9.9/32]";
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[("dnsServers: [10.0.0.254]", six)])).unwrap();
    for (extra, ip, at) in
        [("'2001:db8:0::1/48'", "10.0.0.2/24", "2001:db8::1"), ("'10.0.0.1/32'", "10.0.0.2/24", "10.0.0.1")]
    {
        let extra = format!("dnsServers: [10.0.0.254], addresses: [{extra}]");
        let vm = plan_with(
            WEB,
            &[("name: web,", "name: shop,"), ("10.0.0.1/24", ip), ("dnsServers: [10.0.0.254]", &extra)],
        );
        assert_finds(
            &bench,
            &vm,
            Kind::Vm,
            &format!("spec.networkInterfaces[0].addresses: VM 'web' already has the address {at}"),
        );
    }
    let vm = plan_with(
        WEB,
        &[
            ("name: web,", "name: shop,"),
            ("10.0.0.1/24, gateway: 10.0.0.254", "10.9.9.9/8, gateway: 10.0.0.254"),
        ],
    );
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.networkInterfaces[0].ip: VM 'web' already has the address 10.9.9.9",
    );
}

/// The guest gets the user's own network-config: what it replaces is neither asked for nor judged, and has no effect.
#[test]
fn fields_that_an_own_network_config_replaces_are_warned_of_and_not_asked_for() {
    let warnings = |interfaces: &str| {
        let mut bench = Bench::new();
        bench.settings.dns = vec!["10.0.0.253".parse().unwrap()];
        let own = "networkConfig: {version: 2, ethernets: {a: {dhcp4: true}}}\n    fqdn: web.example.com";
        let old = "{ip: 10.0.0.1/24, gateway: 10.0.0.254, dnsServers: [10.0.0.254], bridge: br0}";
        let vm = plan_with(WEB, &[(old, interfaces), ("fqdn: web.example.com", own)]);
        preflight(&bench.context(), &vm).unwrap();
        bench.told.warnings()
    };
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0}"), NOTHING, "the way out is not ours to know");
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0, addresses: ['fd00::1/64'], mtu: 1500}"), NOTHING);
    let none = |index: usize, fields: &str| {
        format!(
            "spec.networkInterfaces[{index}]: {fields} without effect: the guest gets spec.cloudInit.networkConfig instead"
        )
    };
    assert_eq!(warnings("{ip: 10.0.0.1/24, bridge: br0, gateway: 10.0.0.254}"), [none(0, "gateway")]);
    let all = "{ip: 10.0.0.1/24, bridge: br0}\n    - {ip: 10.0.0.2/24, addresses: ['fd00::1/64'], bridge: br0, gateway: 10.0.0.254, \
               gateway6: 'fd00::2', onLink: true, dnsServers: [1.1.1.1], searchDomains: [lab], defaultRoute: true}";
    assert_eq!(
        warnings(all),
        [none(1, "gateway, gateway6, onLink, dnsServers, searchDomains, defaultRoute")]
    );
}

#[test]
fn how_the_guest_runs_follows_the_host() {
    let ready = |bench: &Bench, plan: &VmPlan| preflight(&bench.context(), plan).unwrap();
    let bench = Bench::new();
    assert_eq!(ready(&bench, &plan(WEB)).virt_type, VirtType::Kvm);
    assert_eq!(bench.told.warnings(), NOTHING);
    let arm = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  arch: aarch64")]);
    let ready_arm = ready(&bench, &arm);
    assert_eq!(
        (ready_arm.virt_type, ready_arm.arch, ready_arm.native),
        (VirtType::Qemu, Arch::Aarch64, false)
    );
    assert!(bench.told.warnings()[0].contains("the host offers no KVM"), "{:?}", bench.told.warnings());

    let mut bench = Bench::new();
    bench.settings.virt_type = Some(VirtType::Qemu);
    let passthrough = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  cpuMode: host-passthrough")]);
    assert_eq!(ready(&bench, &passthrough).virt_type, VirtType::Qemu);
    assert_eq!(bench.told.warnings().len(), 1, "who chooses qemu knows that it is slow");
    assert!(bench.told.warnings()[0].starts_with("spec.cpuMode: host-passthrough needs KVM"));
    bench.settings.virt_type = Some(VirtType::Kvm);
    assert_finds(&bench, &arm, Kind::Vm, "the host cannot run aarch64 guests with kvm; it offers qemu");
}

#[test]
fn an_arm_host_has_no_bios() {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    let guests = [("aarch64".to_owned(), vec!["kvm".to_owned()])].into();
    let host = host_with_neighbours().with_capabilities(Capabilities {
        arch: "aarch64".into(),
        guests,
        ..capabilities
    });
    let bios = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  firmware: {type: bios}")]);
    let bench = Bench::on(host);
    assert_finds(&bench, &bios, Kind::Vm, "spec.firmware.type: aarch64 machines have no BIOS");
    let ready = preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!((ready.arch, ready.virt_type, ready.native), (Arch::Aarch64, VirtType::Kvm, true));
}

/// FACTS 37: nothing about the machine is fixed.
#[test]
fn a_host_of_a_kind_that_foundry_does_not_know_says_so() {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    let host = host_with_neighbours().with_capabilities(Capabilities {
        arch: "riscv64".into(),
        guests: [].into(),
        ..capabilities
    });
    let bench = Bench::on(host);
    assert_finds(
        &bench,
        &plan(WEB),
        Kind::Vm,
        "the host's architecture riscv64 is not supported\n    set spec.arch",
    );
    let arm = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  arch: aarch64")]);
    assert_finds(&bench, &arm, Kind::Vm, "the host cannot run aarch64 guests; it offers nothing");
}

#[test]
fn pools_must_be_there_and_be_such_that_disks_can_be_made() {
    let bench = Bench::new();
    let in_pool = |pool: &str| plan_with(WEB, &[("vcpus: 2", &format!("vcpus: 2\n  storagePool: {pool}"))]);
    assert_finds(
        &bench,
        &in_pool("foundry-vm"),
        Kind::Storage,
        "there is no pool 'foundry-vm'\n    did you mean 'foundry-vms'?",
    );
    assert!(found(&bench, &in_pool("ssd")).text().contains("foundry pool add ssd dir PATH creates one"));
    let xml = "<pool type='iscsi'><name>luns</name><target><path>/dev/disk/by-path</path></target></pool>";
    bench.host.define_pool(xml).unwrap();
    assert_finds(
        &bench,
        &in_pool("luns"),
        Kind::Storage,
        "pool 'luns' is of type iscsi, and libvirt cannot create volumes in it\n    use a pool of type dir, fs, netfs, logical, zfs or rbd",
    );
    let xml = "<pool type='gluster'><name>far</name><target><path>/far</path></target></pool>";
    bench.host.define_pool(xml).unwrap();
    assert_finds(&bench, &in_pool("far"), Kind::Storage, "pool 'far' is of type gluster");
}

#[test]
fn disks_need_room_now_and_later() {
    let bench = Bench::on(host_with_neighbours().with_space(3 << 20));
    assert_finds(&bench, &plan(WEB), Kind::Storage, "the VM needs 4 MiB at once");
    let bench = Bench::on(host_with_neighbours().with_space(30 * GIB));
    preflight(&bench.context(), &plan(WEB)).unwrap();
    assert!(bench.told.warnings()[0].starts_with("the disks can grow to 60 GiB, but pool 'foundry-vms' has"));
    let raw = plan_with(
        WEB,
        &[("image: debian-12}", "image: debian-12, format: raw}"), ("sizeGB: 20", "sizeGB: 40")],
    );
    assert_finds(&bench, &raw, Kind::Storage, "the VM needs 40 GiB");
}

#[test]
fn an_image_that_is_not_there_is_told_with_the_nearest() {
    let bench = Bench::new();
    assert_finds(
        &bench,
        &with_image("debian-21"),
        Kind::Storage,
        "image 'debian-21' not found in pool 'foundry-images'\n    did you mean 'debian-12'?",
    );
    let no_pool = "there is no pool 'golden'\n    foundry pool list";
    assert_finds(&bench, &with_image("golden:debian-12"), Kind::Storage, no_pool);
    let bench = Bench::on(host_with_neighbours().with_inactive_pool("golden", "/golden"));
    assert_finds(
        &bench,
        &with_image("golden:x"),
        Kind::Storage,
        "pool 'golden' is not started\n    foundry pool start golden",
    );
}

#[test]
fn an_image_that_is_not_there_is_told_with_the_command_that_brings_it() {
    let bench = Bench::on(host_with_neighbours().with_pool("golden", "/golden"));
    let cases = [
        ("debian-13.qcow2", "\n    foundry image pull debian-13 adds one"),
        ("golden:debian-13.qcow2", "\n    foundry image pull debian-13 --pool golden adds one"),
        ("golden:own.qcow2", "\n    foundry image import FILE own.qcow2 --pool golden adds one"),
    ];
    for (image, told) in cases {
        assert_finds(&bench, &with_image(image), Kind::Storage, told);
    }
}

/// FACTS 14: qemu-img makes such a disk without complaint.
#[test]
fn a_disk_that_is_smaller_than_its_image_is_refused() {
    let bench = Bench::on(host_with_neighbours().with_image("foundry-images", "big", "qcow2", 21 * GIB));
    assert_finds(
        &bench,
        &with_image("big"),
        Kind::Storage,
        "spec.bootDisk.sizeGB: image 'foundry-images:big' needs 21 GiB, but the boot disk has only 20 GiB",
    );
    let bench = Bench::on(host_with_neighbours().with_image("foundry-images", "fits", "qcow2", 20 * GIB));
    preflight(&bench.context(), &with_image("fits")).unwrap();
}

/// What libvirt says of an image may be from before it was written.
#[test]
fn the_header_says_what_an_image_is_not_libvirt() {
    let bench = Bench::new();
    let mut boot_sector: &[u8] = &[&[0xeb, 0xfe][..], &[0; 508], &[0x55, 0xaa]].concat();
    bench.host.upload_all(&VolumeRef::new("foundry-images", "debian-12"), &mut boot_sector, 512).unwrap();
    assert_eq!(
        bench.host.volume(&VolumeRef::new("foundry-images", "debian-12")).unwrap().unwrap().format,
        "qcow2"
    );
    let ready = preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!(ready.storage.image.unwrap().format, "raw");

    // And the other way round: a qcow2 of 30 GiB in what libvirt takes for a raw file of 1 MiB.
    let bench =
        Bench::on(host_with_neighbours().with_image("foundry-images", "img", "raw", 1 << 20).with_image(
            "tmp",
            "big",
            "qcow2",
            30 * GIB,
        ));
    let header = bench.host.content("/pool/tmp/big").unwrap();
    bench
        .host
        .upload_all(&VolumeRef::new("foundry-images", "img"), &mut header.as_slice(), header.len() as u64)
        .unwrap();
    assert_finds(&bench, &with_image("img"), Kind::Storage, "image 'foundry-images:img' needs 30 GiB");
}

#[test]
fn what_is_no_bootable_image_is_refused_with_the_reason() {
    let vmdk = [b"KDMV".as_slice(), &[0; 600]].concat();
    let host = host_with_neighbours()
        .with_overlay("foundry-images", "overlay", GIB, "/pool/images/debian-12")
        .with_volume("foundry-images", "text", &[b'a'; 1000])
        .with_volume("foundry-images", "vmdk", &vmdk)
        .with_volume("foundry-images", "broken", b"QFI\xfb\0\0\0\x03");
    let bench = Bench::on(host);
    for (name, reason) in [
        ("overlay", "it is an overlay on \"/pool/images/debian-12\""),
        ("text", "it is text, not a disk"),
        ("vmdk", "VMDK"),
        ("broken", "the qcow2 header is truncated"),
    ] {
        assert_finds(
            &bench,
            &with_image(name),
            Kind::Storage,
            &format!("image 'foundry-images:{name}' cannot be used"),
        );
        assert!(
            found(&bench, &with_image(name)).text().contains(reason),
            "{}",
            found(&bench, &with_image(name))
        );
    }
}

#[test]
fn an_image_by_path_is_a_volume_or_a_file_of_this_machine() {
    let bench = Bench::new();
    let ready = preflight(&bench.context(), &with_image("/pool/images/debian-12")).unwrap();
    assert_eq!(ready.storage.image.unwrap().volume.unwrap().name, "debian-12");
    assert_finds(
        &bench,
        &with_image("/srv/x.qcow2"),
        Kind::Storage,
        "image '/srv/x.qcow2' is in no pool of the host",
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.img");
    let path = path.to_str().unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    // FACTS 15: the file is looked for.
    assert_finds(&bench, &with_image(path), Kind::Storage, "cannot be read: no such file");
    std::fs::write(path, bench.host.content("/pool/images/debian-12").unwrap()).unwrap();
    let image = preflight(&bench.context(), &with_image(path)).unwrap().storage.image.unwrap();
    assert_eq!((image.path.as_str(), image.format.as_str(), image.virtual_size.0), (path, "qcow2", 2 * GIB));
    // A link is followed once, and what it led to is what the VM gets.
    let link = folder.path().join("link.img");
    std::os::unix::fs::symlink(path, &link).unwrap();
    let linked = preflight(&bench.context(), &with_image(link.to_str().unwrap())).unwrap();
    assert_eq!(linked.storage.image.unwrap().path, path);
    let raw = plan_with(WEB, &[("image: debian-12}", &format!("image: '{path}', format: raw}}"))]);
    assert_finds(&bench, &raw, Kind::Storage, "is in no pool, so that libvirt cannot copy it to a raw disk");
}

/// What was looked at is what QEMU opens only if nobody else can put something in its place.
#[test]
fn an_image_by_path_that_others_can_replace_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("pub");
    std::fs::create_dir(&below).unwrap();
    let path = below.join("x.qcow2");
    let bench = Bench::on(host_with_neighbours().local());
    std::fs::write(&path, bench.host.content("/pool/images/debian-12").unwrap()).unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = || found(&bench, &with_image(path.to_str().unwrap()));
    let fine = || preflight(&bench.context(), &with_image(path.to_str().unwrap())).unwrap();
    set(&path, 0o644);
    fine();
    set(&below, 0o777);
    let error = refused();
    assert_eq!((error.kind(), error.code()), (Kind::Storage, Code::ImageOfOthers));
    assert!(error.text().contains("is writable by other users (mode 777)"), "{}", whole(&error));
    set(&below, 0o1777);
    fine();
    set(&path, 0o666);
    assert_eq!(refused().code(), Code::ImageOfOthers);
    set(&path, 0o644);
    set(&below, 0o755);
    // Only root can give a file away.
    if chown(&path, Some(12345), None).is_ok() {
        assert!(refused().text().contains("belongs to user 12345"));
    }
}

/// A device would be the host's own disk to the guest, and a FIFO is never done.
#[test]
fn an_image_by_path_is_a_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    for (path, what) in [
        (fifo.to_str().unwrap(), "it is a FIFO, not a regular file"),
        ("/dev/null", "it is a character device, not a regular file"),
        (link.to_str().unwrap(), "it is a character device, not a regular file"),
        (folder.path().to_str().unwrap(), "it is a directory, not a regular file"),
    ] {
        let error = found(&bench, &with_image(path));
        assert_eq!(error.code(), Code::NotAnImage, "{}", whole(&error));
        assert!(error.text().contains(what), "{}", whole(&error));
    }
}

fn around(own: &[(&str, &str)], neighbours: &[(&str, &str)]) -> Neighbourhood {
    let own = own.iter().map(|(link, net)| LinkAddress { link: (*link).into(), net: net.parse().unwrap() });
    let others = neighbours.iter().map(|(ip, mac)| Neighbour {
        link: "br0".into(),
        ip: ip.parse().unwrap(),
        mac: (*mac).into(),
    });
    Neighbourhood { addresses: own.collect(), routes: Vec::new(), neighbours: others.collect() }
}

/// A bench on a local host whose br0 has an address and an MTU.
fn local(address: &str, mtu: u32, around: Neighbourhood) -> Bench {
    let addresses = if address.is_empty() { Vec::new() } else { vec![address.parse().unwrap()] };
    let br0 = Bridge { mtu, addresses, ..bridge("br0", false) };
    let host = MemoryHost::new()
        .local()
        .with_image("foundry-images", "debian-12", "qcow2", GIB)
        .with_pool("foundry-vms", "/v")
        .with_neighbourhood(around)
        .with_bridges(&[br0]);
    Bench::on(host)
}

#[test]
fn an_address_of_the_hosts_own_is_refused_on_whichever_interface_it_is() {
    for link in ["br0", "eth0", "virbr0"] {
        let bench = local("10.0.0.254/24", 1500, around(&[(link, "10.0.0.1/24")], &[]));
        let sentence = format!("spec.networkInterfaces[0]: 10.0.0.1 is this host's own address, on {link}");
        assert_finds(&bench, &plan(WEB), Kind::Vm, &sentence);
        assert_eq!(found(&bench, &plan(WEB)).code(), Code::AddressOfHost);
    }
}

#[test]
fn an_address_that_another_machine_has_is_a_warning() {
    let warnings = |mac: &str| {
        let bench = local("10.0.0.254/24", 1500, around(&[("br0", "10.0.0.254/24")], &[("10.0.0.1", mac)]));
        preflight(&bench.context(), &plan(WEB)).unwrap();
        bench.told.warnings()
    };
    assert_eq!(
        warnings("52:54:00:00:00:01"),
        [
            "spec.networkInterfaces[0]: another machine uses 10.0.0.1, or used it just now: MAC 52:54:00:00:00:01 on br0, and the VM's MAC is be:ef:0a:00:00:01"
        ]
    );
    assert_eq!(warnings("be:ef:0a:00:00:01"), NOTHING, "the VM of that name before");
    assert_eq!(warnings(""), NOTHING);
}

#[test]
fn a_subnet_that_the_host_does_not_reach_is_a_warning_with_both() {
    let warnings = |address: &str, around: Neighbourhood| {
        let bench = local(address, 1500, around);
        preflight(&bench.context(), &plan(WEB)).unwrap();
        bench.told.warnings()
    };
    let off = around(&[("br0", "10.77.0.1/16")], &[]);
    assert_eq!(
        warnings("10.77.0.1/16", off.clone()),
        [
            "spec.networkInterfaces[0]: 10.0.0.1/24 is not in the subnet of bridge 'br0', where this host has 10.77.0.1/16: this host reaches the VM only through a router"
        ]
    );
    assert_eq!(warnings("", off.clone()), NOTHING, "a bridge without an address only carries frames");
    let routed = Neighbourhood { routes: vec!["10.0.0.0/16".parse().unwrap()], ..off.clone() };
    assert_eq!(warnings("10.77.0.1/16", routed), NOTHING);
    assert_eq!(warnings("10.0.0.254/24", around(&[("br0", "10.0.0.254/24")], &[])), NOTHING);
    let elsewhere = around(&[("br0", "10.77.0.1/16"), ("eth0", "10.0.0.7/8")], &[]);
    assert_eq!(warnings("10.77.0.1/16", elsewhere), NOTHING);
}

/// FND: a guest at 1500 on a bridge at 1400 loses its larger packets.
#[test]
fn the_mtu_of_the_bridge_is_the_guests() {
    let ready = |mtu: u32, more: &str| {
        let bench = local("10.0.0.254/24", mtu, around(&[("br0", "10.0.0.254/24")], &[]));
        let vm = plan_with(WEB, &[("bridge: br0}", &format!("bridge: br0{more}}}"))]);
        let plan = preflight(&bench.context(), &vm).unwrap().plan;
        bench.create(&vm).unwrap();
        let uuid = bench.host.uuid_of("web").unwrap();
        let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
        (plan.interfaces[0].link_mtu, xml, bench.told.warnings())
    };
    for mtu in [1400, 9000] {
        let (link, xml, warnings) = ready(mtu, "");
        assert_eq!((u32::from(link.unwrap()), warnings.len()), (mtu, 0));
        assert!(xml.contains(&format!("<mtu size=\"{mtu}\"/>")), "{xml}");
    }
    assert!(!ready(1500, "").1.contains("<mtu"));
    let (_, xml, warnings) = ready(1400, ", mtu: 1500");
    assert!(xml.contains("<mtu size=\"1500\"/>"), "{xml}");
    assert!(warnings[0].contains("mtu: 1500 is more than the MTU of bridge 'br0' (1400)"), "{warnings:?}");
    let (_, _, warnings) = ready(1500, ", mtu: 1400");
    assert!(warnings[0].contains("mtu: while the VM runs, bridge 'br0' gets MTU 1400"), "{warnings:?}");
}

#[test]
fn a_bridge_of_open_vswitch_is_recognised_and_tags_vlans_with_every_libvirt() {
    let ovs = Bridge { is_open_vswitch: true, is_up: false, ..bridge("br0", true) };
    let bench = Bench::on(old_libvirt(9_000_000).with_bridges(&[ovs]));
    let vm = plan_with(WEB, &[("bridge: br0}", "bridge: br0, vlan: 7}")]);
    bench.create(&vm).unwrap();
    let uuid = bench.host.uuid_of("web").unwrap();
    let xml = bench.host.domain_xml(uuid, foundry::host::View::Config).unwrap().unwrap();
    assert!(xml.contains("<virtualport type=\"openvswitch\"/>"), "{xml}");
    // One that works outside of the kernel cannot be seen, and is believed.
    let bench = Bench::on(host_with_neighbours().with_bridges(&[]));
    assert_finds(&bench, &plan(WEB), Kind::Vm, "there is no bridge 'br0'");
    let said = plan_with(WEB, &[("bridge: br0}", "bridge: br0, virtualport: openvswitch}")]);
    assert!(preflight(&bench.context(), &said).unwrap().plan.interfaces[0].on_open_vswitch);
}

fn lab(forward: Option<&str>, dhcp: bool) -> Network {
    let ranges = if dhcp {
        vec![("192.168.9.100".parse().unwrap(), "192.168.9.200".parse().unwrap())]
    } else {
        vec![]
    };
    let subnet = Subnet { host: "192.168.9.1/24".parse().unwrap(), has_dhcp: dhcp, ranges };
    Network { name: "lab".into(), active: true, forward: forward.map(str::to_owned), subnets: vec![subnet] }
}

#[test]
fn what_libvirt_knows_of_a_networks_addresses_is_compared() {
    let looked = |network: Network, more: &str| {
        let bench = Bench::on(host_with_neighbours().with_network_of(network));
        let vm = plan_with(SMALL, &[("network: default", &format!("network: lab{more}"))]);
        let outcome = preflight(&bench.context(), &vm).map(drop).map_err(|e| e.code());
        (outcome, bench.told.warnings().join("\n"))
    };
    assert_eq!(looked(lab(Some("nat"), true), ""), (Ok(()), String::new()));
    assert_eq!(looked(lab(Some("nat"), true), ", ip: 192.168.9.5/24"), (Ok(()), String::new()));
    assert_eq!(looked(lab(None, true), ", ip: 192.168.9.1/24").0, Err(Code::AddressOfHost));
    let (outcome, told) = looked(lab(None, true), ", ip: 10.99.0.5/24, gateway: 10.99.0.1");
    assert_eq!(outcome, Ok(()));
    assert!(told.contains("10.99.0.5 is not in the subnet of network 'lab', 192.168.9.0/24"), "{told}");
    let told = looked(lab(Some("nat"), true), ", ip: 192.168.9.100/24").1;
    assert!(told.contains("192.168.9.100 is in the DHCP range of network 'lab' (192.168.9.100 to"), "{told}");
    let told = looked(lab(Some("nat"), false), "").1;
    assert!(told.contains("network 'lab' has no DHCP server"), "{told}");
    let bare = Network { subnets: Vec::new(), ..lab(None, false) };
    assert!(looked(bare.clone(), "").1.contains("has no DHCP server"));
    // Behind these somebody else does.
    let bridged = Network { forward: Some("bridge".into()), ..bare };
    assert_eq!(looked(bridged, ""), (Ok(()), String::new()));
}

#[test]
fn a_vm_larger_than_the_machine_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let vm = plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 1048576")]);
    assert_eq!(found(&bench, &vm).code(), Code::OutOfMemory);
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.memoryGiB: the VM needs 1 PiB of memory, but the host has only 64 GiB",
    );
    let cpus = |count: u32| plan_with(WEB, &[("vcpus: 2", &format!("vcpus: {count}"))]);
    assert_finds(
        &bench,
        &cpus(289),
        Kind::Vm,
        "spec.vcpus: a q35 machine of this host has at most 288 CPUs, not 289",
    );
    assert_eq!(found(&bench, &cpus(4096)).code(), Code::TooManyCpus);
    preflight(&bench.context(), &cpus(288)).unwrap();
    let old = Bench::on(old_libvirt(9_000_000));
    assert_finds(&old, &cpus(256), Kind::Vm, "more than 255 CPUs need an IOMMU");
    preflight(&old.context(), &cpus(255)).unwrap();
    let silent = Bench::on(host_with_neighbours().with_guest_machine(GuestMachine::default()));
    preflight(&silent.context(), &cpus(4096)).unwrap();
}

#[test]
fn what_the_guest_will_not_do_is_a_warning() {
    let warnings = |from: &str, to: &str| {
        let bench = Bench::new();
        preflight(&bench.context(), &plan_with(WEB, &[(from, to)])).unwrap();
        bench.told.warnings().join("\n")
    };
    assert_eq!(warnings("vcpus: 2", "vcpus: 2"), "");
    let told = warnings("device: vdc", "device: vdf");
    assert!(told.contains("the guest's kernel calls 'vdf' /dev/vdc"), "{told}");
}
