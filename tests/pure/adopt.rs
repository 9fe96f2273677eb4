//! Taking over domains that foundry did not make.

use crate::support::bench::{Bench, FORCE, foreign, host_with_neighbours, whole};
use crate::support::faults::each_fault;
use crate::support::manifests::{SMALL, plan, plan_with};
use foundry::host::libvirt_xml::edit;
use foundry::host::memory::MemoryHost;
use foundry::host::{Domains, View};
use foundry::operations::change::{ApplyOptions, WantedVm, apply_vm, diff_vm};
use foundry::operations::disk;
use foundry::operations::vm::adopt::{AdoptPlan, adopt_vm, plan_adopt};
use foundry::plan::VmPlan;
use foundry::units::{GIB, SizeRequest};
use foundry::{Code, Error};

const NOTHING: [&str; 0] = [];

/// A domain as virt-install makes it.
const OLD: &str = "<domain type='kvm'><name>old</name><uuid>00000000-0000-0000-0000-00000000000a</uuid>
  <metadata><libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'/></metadata>
  <memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>1048576</currentMemory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-9.0'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/><vmport state='off'/></features><cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='writeback'/>
      <source file='/pool/vms/old.qcow2'/><target dev='vda' bus='virtio'/><address type='pci' bus='0x04'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/vms/more.raw'/>
      <target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/><readonly/></disk>
    <controller type='usb' index='0' model='qemu-xhci' ports='15'/>
    <interface type='bridge'><mac address='52:54:00:00:00:0a'/><source bridge='br0'/><model type='e1000e'/></interface>
    <serial type='pty'><target type='isa-serial' port='0'><model name='isa-serial'/></target></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <input type='tablet' bus='usb'/><input type='mouse' bus='ps2'/>
    <graphics type='vnc' port='-1' autoport='yes'><listen type='address'/></graphics>
    <video><model type='virtio' heads='1' primary='yes'/></video><memballoon model='virtio'/>
    <hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/></source></hostdev>
  </devices></domain>";

fn host_with(xml: &str) -> MemoryHost {
    host_with_neighbours()
        .with_image("foundry-vms", "old.qcow2", "qcow2", 10 * GIB)
        .with_image("foundry-vms", "more.raw", "raw", 3 * GIB)
        .with_foreign_domain(xml)
}

fn bench_with(xml: &str) -> Bench {
    let mut bench = Bench::on(host_with(xml));
    bench.start = Some(bench.host.fingerprint());
    bench
}

fn old() -> Bench {
    bench_with(OLD)
}

fn planned(bench: &Bench) -> AdoptPlan {
    plan_adopt(&bench.context(), "old").unwrap_or_else(|e| panic!("{}", whole(&e)))
}

fn adopt(bench: &Bench) -> Result<(), Error> {
    adopt_vm(&bench.context(), &plan_adopt(&bench.context(), "old")?)
}

/// The manifest as a plan of its own, as from a file.
fn wanted(adopted: &AdoptPlan) -> WantedVm {
    let plan = VmPlan::from_manifest(&adopted.manifest, &crate::support::manifests::defaults());
    WantedVm::of_manifest(plan.unwrap_or_else(|e| panic!("{e}")))
}

#[test]
fn a_domain_is_taken_over_and_nothing_of_it_changes() {
    let bench = old();
    let uuid = bench.host.uuid_of("old").unwrap();
    let before = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
    let plan = planned(&bench);
    assert!(plan.issues.is_empty(), "{:?}", plan.issues);
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "a plan changes nothing");
    adopt(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    let after = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
    let record = bench.record("old");
    assert_eq!(after, edit::set_record(&before, &record.to_text().unwrap()).unwrap());
    let volumes: Vec<_> = record.volumes.iter().map(|v| (v.name.as_str(), v.adopted)).collect();
    assert_eq!(volumes, [("old.qcow2", true), ("more.raw", true)]);
    assert_eq!(diff_vm(&bench.context(), &wanted(&plan)).unwrap(), Some(Vec::new()));
    let spec = &plan.manifest.spec;
    assert_eq!(spec.cpu_mode.as_deref(), Some("host-passthrough"));
    assert_eq!(spec.network_interfaces[0].mac_address.as_deref(), Some("52:54:00:00:00:0a"));
    assert_eq!(spec.firmware.as_ref().unwrap().kind.as_deref(), Some("bios"));
    // The same again.
    let fingerprint = bench.host.fingerprint();
    assert!(planned(&bench).is_own);
    adopt(&bench).unwrap();
    assert_eq!(bench.host.changes_since(&fingerprint), NOTHING);
}

#[test]
fn a_screen_that_a_manifest_can_say_is_in_it() {
    for (listen, said) in
        [("<listen type='socket'/>", "socket"), ("<listen type='address' address='127.0.0.1'/>", "127.0.0.1")]
    {
        let bench = bench_with(&OLD.replace("<listen type='address'/>", listen));
        let plan = planned(&bench);
        let graphics = plan.manifest.spec.graphics.clone().unwrap_or_else(|| panic!("{:?}", plan.manifest));
        assert_eq!(graphics.listen.as_deref(), Some(said));
        adopt(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
        assert_eq!(diff_vm(&bench.context(), &wanted(&plan)).unwrap(), Some(Vec::new()));
    }
    assert_eq!(planned(&old()).manifest.spec.graphics, None, "libvirt's configuration says where it listens");
}

#[test]
fn what_no_field_says_is_a_patch_or_is_shown() {
    let plan = planned(&old());
    let has = |path: &str, what: &str, is_patch: bool| {
        let mut parts = plan.unsaid.iter();
        let is_there =
            parts.any(|p| p.path.contains(path) && p.what.contains(what) && p.entry.is_some() == is_patch);
        let told: Vec<_> = plan.unsaid.iter().map(|p| (&p.path, &p.what, p.entry.is_some())).collect();
        assert!(is_there, "{path} {what}: {told:#?}");
    };
    has("/domain/features", "vmport", true);
    has("/domain", "<clock offset='utc'><timer name='hpet'", true);
    has("/domain/devices/interface/model/@type", "e1000e", true);
    has("/domain/devices/disk[target/@dev='vda']/driver/@cache", "writeback", true);
    has("/domain/devices", "<disk type='file' device='cdrom'>", true);
    has("/domain/devices", "<graphics type='vnc'", true);
    has("/domain/devices", "<input type='tablet'", true);
    has("/domain/devices/rng", "not there", true);
    has("/domain/genid", "not there", true);
    has("/domain/devices", "<hostdev", false);
    has("/domain", "<metadata>", false);
    has("vda", "the content of volume 'old.qcow2'", false);
    for silent in ["emulator", "on_poweroff", "ps2", "memballoon", "<controller", "<boot dev", "0x04"] {
        assert!(!plan.unsaid.iter().any(|part| part.what.contains(silent)), "{silent}");
    }
}

/// What foundry itself makes needs no patch: a manifest leads to a domain and the domain back to it.
#[test]
fn a_created_vm_without_its_record_leads_back_to_its_manifest() {
    let cases = [
        plan(SMALL),
        plan_with(
            SMALL,
            &[("memoryGiB: 0.5", "memoryGiB: 0.3\n  resources: {maxVcpus: 4, maxMemoryGiB: 1}")],
        ),
        plan_with(
            SMALL,
            &[("{network: default}", "{bridge: br1, vlan: 7, mtu: 1400, pxeBoot: true}, {network: default}")],
        ),
        plan_with(
            SMALL,
            &[(
                "autostart: false",
                "firmware: {type: bios}\n  dataDisks: [{device: vdc, sizeGB: 3, serial: x}]",
            )],
        ),
        plan_with(
            SMALL,
            &[("autostart: false", "cpuMode: host-passthrough\n  firmware: {secureBoot: true}")],
        ),
    ];
    for (n, plan) in cases.into_iter().enumerate() {
        let bench = Bench::new();
        bench.create(&plan).unwrap();
        let uuid = bench.host.uuid_of("small").unwrap();
        for active in [true, false] {
            if !active {
                bench.host.force_off(uuid).unwrap();
            }
            // Without a record of this domain, it is anybody's.
            bench.edit_record("small", |record| {
                record["domain"] = uuid::Uuid::from_u128(9).to_string().into()
            });
            let adopted = plan_adopt(&bench.context(), "small").unwrap();
            assert!(!adopted.is_own && adopted.issues.is_empty(), "{n}: {:?}", adopted.issues);
            assert!(adopted.manifest.spec.xml_patch.is_empty(), "{n}: {:?}", adopted.unsaid);
            adopt_vm(&bench.context(), &adopted).unwrap();
            assert_eq!(diff_vm(&bench.context(), &wanted(&adopted)).unwrap(), Some(Vec::new()), "{n}");
        }
    }
}

#[test]
fn an_adopted_vm_is_changed_and_its_disks_stay() {
    let bench = old();
    adopt(&bench).unwrap();
    let mut plan = planned(&bench);
    let uuid = bench.host.uuid_of("old").unwrap();
    bench.host.start(uuid).unwrap();
    assert_eq!(diff_vm(&bench.context(), &wanted(&plan)).unwrap(), Some(Vec::new()), "running");
    plan.manifest.spec.vcpus = Some(foundry::manifest::Number::Whole(1));
    plan.manifest.metadata.labels.insert("a".into(), "b".into());
    let applied = apply_vm(&bench.context(), &wanted(&plan), ApplyOptions::default()).unwrap();
    assert_eq!(applied.pending, ["vcpus"]);
    disk::resize(&bench.context(), "old", "boot", SizeRequest::To(foundry::units::Bytes(11 * GIB))).unwrap();
    disk::resize(&bench.context(), "old", "vdb", SizeRequest::To(foundry::units::Bytes(4 * GIB))).unwrap();
    let destroyed = foundry::operations::vm::destroy::plan_destroy(&bench.context(), "old", FORCE).unwrap();
    assert!(destroyed.volumes.is_empty(), "{:?}", destroyed.volumes);
    let kept = destroyed.kept_back.iter().chain(destroyed.left.iter().map(|_| unreachable()));
    let kept: Vec<_> = kept.map(|(what, why)| format!("{what}: {why}")).collect();
    assert!(
        kept.iter().any(|line| line.contains("old.qcow2") && line.contains("existed before foundry")),
        "{kept:?}"
    );
    bench.destroy("old", FORCE).unwrap();
    assert_eq!(bench.host.uuid_of("old"), None);
    for name in ["old.qcow2", "more.raw"] {
        use foundry::host::Volumes;
        let volume = foundry::record::VolumeRef::new("foundry-vms", name);
        assert!(bench.host.volume(&volume).unwrap().is_some(), "{name}");
    }
}

fn unreachable() -> &'static (String, String) {
    panic!("an adopted volume is kept back, not left behind")
}

#[test]
fn what_a_manifest_cannot_say_is_refused_with_its_reasons() {
    let disk = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\n";
    let cases = [
        (OLD.replace("/pool/vms/old.qcow2", "/elsewhere/x"), "vda: /elsewhere/x is in no started pool"),
        (OLD.replace("dev='vdb'", "dev='sdb'"), "disk sdb: the disks of a manifest are vda"),
        (OLD.replace("dev='vda'", "dev='vdc'"), "it has no disk vda"),
        (
            OLD.replace("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/vms/more.raw'/>",
                "<disk type='volume' device='disk'><source pool='foundry-vms' volume='more.raw'/>"),
            "vdb: the domain names the volume foundry-vms/more.raw",
        ),
        (OLD.replace("type='bridge'", "type='user'"), "networkInterfaces"),
        (OLD.replace("/pool/vms/more.raw", "/pool/vms/web_1_boot"), "domain 'other' uses"),
        (OLD.replace("type='qcow2' cache", "type='vmdk' cache"), "its format is vmdk"),
        (
            OLD.replace(
                "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/vms/more.raw'/>",
                "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='ceph/more'/>",
            ),
            "vdb: ceph/more is a Ceph image, which is not taken over",
        ),
        (
            OLD.replace(
                "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/vms/more.raw'/>",
                "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='iscsi' name='iqn.2026-11.test:more/1'/>",
            ),
            "vdb: a disk of type 'network' is not in a pool",
        ),
    ];
    assert!(OLD.contains("<disk type='file'") && disk.contains("qcow2"));
    for (xml, wanted) in cases {
        assert_ne!(xml, OLD, "{wanted}");
        let bench = bench_with(&xml);
        let error = adopt(&bench).unwrap_err();
        assert!(whole(&error).contains(wanted), "{wanted}: {}", whole(&error));
        assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{wanted}");
    }
    // A size that is not of whole GiB is rounded down; a disk of less than one has none.
    for (size, wanted) in [(GIB * 5 / 2, None), (GIB / 2, Some("spec.bootDisk.sizeGiB"))] {
        let host = host_with_neighbours()
            .with_image("foundry-vms", "old.qcow2", "qcow2", size)
            .with_image("foundry-vms", "more.raw", "raw", 3 * GIB)
            .with_foreign_domain(OLD);
        match (adopt(&Bench::on(host)), wanted) {
            (Ok(()), None) => {}
            (Err(error), Some(wanted)) => assert!(whole(&error).contains(wanted), "{}", whole(&error)),
            (outcome, _) => panic!("{size}: {outcome:?}"),
        }
    }
}

/// Names that libvirt gives and a manifest cannot: each with the command that renames it.
#[test]
fn name_that_no_manifest_can_have_is_refused() {
    for name in ["Old", "old vm", "o", "-old", "old.", &"o".repeat(80)] {
        let bench = bench_with(&OLD.replace("<name>old</name>", &format!("<name>{name}</name>")));
        let error = plan_adopt(&bench.context(), name).and_then(|plan| adopt_vm(&bench.context(), &plan));
        let told = whole(&error.unwrap_err());
        assert!(
            told.contains(&format!("the name '{name}' is not one that a manifest can give")),
            "{name}: {told}"
        );
        assert!(told.contains("virsh domrename"), "{name}: {told}");
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{name}");
    }
}

#[test]
fn domain_with_snapshots_and_a_transient_one_are_refused() {
    let bench = old();
    bench.host.set_snapshots("old", &["before update", "later"]);
    let before = bench.host.fingerprint();
    let error = adopt(&bench).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotInTheWay, "{}", whole(&error));
    assert!(whole(&error).contains("it has snapshots: before update, later"), "{}", whole(&error));
    assert!(whole(&error).contains("virsh snapshot-delete old 'before update'"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    let host = host_with_neighbours().with_image("foundry-vms", "old.qcow2", "qcow2", 10 * GIB);
    let bench = Bench::on(host);
    bench.host.start_transient(&foreign("passing", "/pool/vms/old.qcow2")).unwrap();
    let error = plan_adopt(&bench.context(), "passing").unwrap_err();
    assert!(whole(&error).contains("domain 'passing' is transient"), "{}", whole(&error));
    assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
}

/// As few elements as libvirt accepts, in an order of somebody's own.
#[test]
fn a_domain_written_by_hand_is_taken_over() {
    let xml = "<domain type='kvm'><name>old</name><memory unit='MiB'>512</memory>
      <devices><disk type='file' device='disk'><target dev='vda'/><source file='/pool/vms/old.qcow2'/>
      <driver name='qemu' type='qcow2'/></disk><interface type='network'><source network='default'/>
      <mac address='52:54:00:00:00:0a'/></interface><serial type='pty'/></devices>
      <os><type arch='x86_64'>hvm</type></os><vcpu>1</vcpu></domain>";
    let bench = bench_with(xml);
    let plan = planned(&bench);
    assert!(plan.issues.is_empty(), "{:?}", plan.issues);
    adopt(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(diff_vm(&bench.context(), &wanted(&plan)).unwrap(), Some(Vec::new()));
    bench.destroy("old", FORCE).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/old.qcow2".to_owned()));
}

/// The way to change a domain of another program is to take it over, unless that is refused.
#[test]
fn commands_for_vms_of_foundry_name_adopt() {
    let bench = old();
    let error = disk::resize(&bench.context(), "old", "vdb", SizeRequest::To(foundry::units::Bytes(4 * GIB)));
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::NotFoundrys);
    let told = whole(&error);
    assert!(told.contains("foundry adopt old takes it over; without that, virsh changes it"), "{told}");
    bench.host.start(bench.host.uuid_of("old").unwrap()).unwrap();
    bench.host.save("old");
    let error = disk::list_disks(&bench.context(), Some("old")).and_then(|_| {
        disk::resize(&bench.context(), "old", "vdb", SizeRequest::To(foundry::units::Bytes(4 * GIB)))
            .map(drop)
    });
    let told = whole(&error.unwrap_err());
    assert!(!told.contains("adopt") && told.contains("virsh changes it"), "{told}");
}

#[test]
fn what_is_in_between_is_refused() {
    let bench = old();
    bench.host.start(bench.host.uuid_of("old").unwrap()).unwrap();
    bench.host.save("old");
    let error = adopt(&bench).unwrap_err();
    assert_eq!(error.code(), Code::SavedMemoryInTheWay);
    assert_eq!(plan_adopt(&bench.context(), "nobody").unwrap_err().code(), Code::VmMissing);
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    assert_eq!(plan_adopt(&bench.context(), "web").unwrap_err().code(), Code::HalfDestroyed);
    bench.edit_record("web", |record| record["volumes"] = 1.into());
    assert_eq!(plan_adopt(&bench.context(), "web").unwrap_err().code(), Code::RecordUnreadable);
    let first = foreign("first", "/pool/vms/x").replace(
        "<memory",
        "<metadata><f:m xmlns:f='http://foundry.cofront.xyz/v1alpha1'>apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\n</f:m></metadata><memory",
    );
    let bench = bench_with(&first);
    let error = plan_adopt(&bench.context(), "first").unwrap_err();
    assert!(whole(&error).contains("the first foundry"), "{}", whole(&error));
}

#[test]
fn an_adoption_that_fails_at_any_call_is_finished_by_the_same_again() {
    let faults = each_fault(old, adopt, |bench, _, _, label| {
        bench.next_operation();
        adopt(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert!(planned(bench).is_own, "{label}");
        bench.destroy("old", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        let gone: Vec<String> = bench.host.changes_since(bench.start.as_ref().unwrap());
        assert!(gone.iter().all(|line| line.contains("domain old")), "{label}: {gone:?}");
    });
    assert!(faults > 20, "{faults}");
}
