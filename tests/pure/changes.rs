//! A manifest is compared with its VM, and applied to it.

mod faults;
mod pairs;

use crate::support::bench::{Bench, FORCE, as_rival, whole};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use foundry::host::libvirt_xml::edit_screen::set_screen;
use foundry::host::libvirt_xml::{DomainDescription, edit};
use foundry::host::memory::MemoryHost;
use foundry::host::{DomainState, Domains, View};
use foundry::operations::change::{
    Applied, ApplyOptions, ApplyOutcome, FieldDiff, Verdict, WantedVm, add_change_conditions, apply_vm,
    diff_vm, list_revisions, plan_apply, recorded_manifest,
};
use foundry::operations::vm::inspect::get_vm;
use foundry::plan::{VmPlan, VncListen};
use foundry::units::Bytes;
use foundry::{Code, Error};

const MIB: u64 = 1 << 20;

fn apply_with(bench: &Bench, plan: VmPlan, force: bool) -> Result<Applied, Error> {
    apply_vm(&bench.context(), &WantedVm::of_manifest(plan), ApplyOptions { force })
}

fn apply(bench: &Bench, plan: VmPlan) -> Applied {
    apply_with(bench, plan, false).unwrap_or_else(|e| panic!("{}", whole(&e)))
}

/// All that differs between a VM and a manifest.
fn diff(bench: &Bench, plan: VmPlan) -> Vec<FieldDiff> {
    diff_vm(&bench.context(), &WantedVm::of_manifest(plan)).unwrap().expect("there is such a VM")
}

fn paths(fields: &[FieldDiff]) -> Vec<&str> {
    fields.iter().map(|field| field.path.as_str()).collect()
}

fn described(bench: &Bench, name: &str, view: View) -> DomainDescription {
    let uuid = bench.host.uuid_of(name).unwrap();
    bench.host.describe(uuid, view).unwrap().unwrap()
}

/// Off and on again.
fn restart(bench: &Bench, name: &str) {
    let uuid = bench.host.uuid_of(name).unwrap();
    bench.host.force_off(uuid).unwrap();
    bench.host.start(uuid).unwrap();
}

/// Changes a definition as `virsh edit` does.
fn edit_definition(host: &MemoryHost, name: &str, change: impl FnOnce(&str) -> String) {
    let uuid = host.uuid_of(name).unwrap();
    let text = host.full_definition(uuid).unwrap().unwrap();
    host.define_domain(&change(&text)).unwrap();
}

/// The calls that changed something.
fn changing_calls(bench: &Bench) -> Vec<String> {
    const READING: [&str; 14] = [
        "domain ",
        "domain_xml",
        "domains",
        "volume ",
        "volume_at",
        "volumes",
        "pool ",
        "pools",
        "capabilities",
        "download",
        "full_definition",
        "memory",
        "bridges",
        "network",
    ];
    let is_reading = |call: &String| READING.iter().any(|begin| call.starts_with(begin));
    bench.host.calls().into_iter().filter(|call| !is_reading(call)).collect()
}

#[test]
fn what_create_made_differs_in_nothing() {
    for manifest in [WEB, SMALL] {
        let bench = Bench::new();
        bench.create(&plan(manifest)).unwrap();
        assert_eq!(paths(&diff(&bench, plan(manifest))), [] as [&str; 0]);
    }
}

#[test]
fn a_vm_that_is_not_there_is_created() {
    let bench = Bench::new();
    let wanted = WantedVm::of_manifest(plan(WEB));
    assert_eq!(diff_vm(&bench.context(), &wanted).unwrap(), None);
    let before = bench.host.fingerprint();
    assert_eq!(plan_apply(&bench.context(), &wanted, ApplyOptions::default()).unwrap(), None);
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    let applied = apply(&bench, plan(WEB));
    assert_eq!(applied.outcome, ApplyOutcome::Created);
    assert!(applied.created.is_some());
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
}

#[test]
fn what_an_interrupted_creation_left_is_replaced() {
    let mut bench = Bench::new();
    bench.host.forget_calls();
    bench.host.fail_at(15, foundry::host::memory::Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.next_run("web");
    assert_eq!(apply(&bench, plan(WEB)).outcome, ApplyOutcome::Created);
    assert_eq!(paths(&diff(&bench, plan(WEB))), [] as [&str; 0]);
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let bench = Bench::with_web();
    let applied = apply(&bench, plan(WEB));
    assert_eq!((applied.outcome, applied.pending.len()), (ApplyOutcome::Unchanged, 0));
    assert_eq!(changing_calls(&bench), [] as [&str; 0]);
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
    // What was told once is told no more.
    apply(&bench, plan_with(WEB, &[("vcpus: 2", "vcpus: 3")]));
    let after = bench.host.fingerprint();
    let applied = apply(&bench, plan_with(WEB, &[("vcpus: 2", "vcpus: 3")]));
    assert_eq!((applied.outcome, applied.pending), (ApplyOutcome::Unchanged, vec!["vcpus".to_owned()]));
    assert_eq!(bench.host.changes_since(&after), [] as [&str; 0]);
}

/// Five kinds of change at once: those that a running VM takes are there, the others when it starts next.
#[test]
fn a_running_vm_takes_what_it_can_and_the_rest_waits() {
    let bench = Bench::with_web();
    let wanted = || {
        plan_with(
            WEB,
            &[
                ("vcpus: 2", "vcpus: 3"),
                ("memoryGiB: 4", "memoryGiB: 2"),
                ("bridge: br0", "bridge: br1"),
                ("{device: vdc, sizeGB: 30}", "{device: vdc, sizeGB: 31}, {device: vdd, sizeGB: 5}"),
                ("{role: web}", "{role: db, tier: back}"),
            ],
        )
    };
    let applied = apply(&bench, wanted());
    assert_eq!(
        (applied.outcome, applied.pending),
        (ApplyOutcome::Configured, vec!["vcpus".into(), "memory".into()])
    );
    let (live, next) = (described(&bench, "web", View::Current), described(&bench, "web", View::Config));
    assert_eq!((live.vcpus, next.vcpus), (2, 3));
    assert_eq!((live.memory, live.current_memory), (Bytes(4 << 30), Bytes(2 << 30)), "the balloon was asked");
    assert_eq!((next.memory, next.current_memory), (Bytes(2 << 30), Bytes(2 << 30)));
    for side in [&live, &next] {
        assert_eq!(side.interfaces[0].source.as_deref(), Some("br1"));
        assert!(side.disk("vdd").is_some());
    }
    let record = bench.record("web");
    assert_eq!(record.manifest.metadata.labels["tier"], "back");
    assert!(record.generation > 1 && record.revisions().len() > 1);
    let left = diff(&bench, wanted());
    assert_eq!(paths(&left), ["spec.vcpus", "spec.memoryGiB"]);
    assert!(left.iter().all(|field| field.pending && !field.drift && field.verdict == Verdict::NextStart));
    restart(&bench, "web");
    assert_eq!(paths(&diff(&bench, wanted())), [] as [&str; 0]);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), [] as [&str; 0]);
}

#[test]
fn room_to_grow_is_used_at_once() {
    let room = ("memoryGiB: 4", "memoryGiB: 4\n  resources: {maxVcpus: 4, maxMemoryGiB: 8}");
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[room])).unwrap();
    assert_eq!(paths(&diff(&bench, plan_with(WEB, &[room]))), [] as [&str; 0]);
    let grown = || {
        plan_with(
            WEB,
            &[
                ("vcpus: 2", "vcpus: 4"),
                ("memoryGiB: 4", "memoryGiB: 7\n  resources: {maxVcpus: 4, maxMemoryGiB: 8}"),
            ],
        )
    };
    let applied = apply(&bench, grown());
    assert_eq!((applied.outcome, applied.pending), (ApplyOutcome::Configured, Vec::<String>::new()));
    let live = described(&bench, "web", View::Current);
    assert_eq!((live.vcpus, live.current_memory), (4, Bytes(7 << 30)));
    assert_eq!(paths(&diff(&bench, grown())), [] as [&str; 0]);
    // Fewer CPUs wait: not every guest lets one go.
    let fewer =
        plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 7\n  resources: {maxVcpus: 4, maxMemoryGiB: 8}")]);
    assert_eq!(apply(&bench, fewer).pending, ["vcpus"]);
}

#[test]
fn a_screen_comes_and_goes_with_a_start() {
    let bench = Bench::with_web();
    let with = |listen: &str| plan_with(WEB, &[("vcpus: 2", &format!("vcpus: 2\n  graphics: {listen}"))]);
    let shown = |view| described(&bench, "web", view).graphics.map(|screen| screen.to_string());
    let applied = apply(&bench, with("{}"));
    assert_eq!((applied.outcome, applied.pending), (ApplyOutcome::Configured, vec!["graphics".to_owned()]));
    assert_eq!((shown(View::Config).as_deref(), shown(View::Current)), (Some("vnc on socket"), None));
    restart(&bench, "web");
    assert_eq!(paths(&diff(&bench, with("{type: vnc, listen: socket}"))), [] as [&str; 0]);
    apply(&bench, with("{listen: 127.0.0.1}"));
    assert_eq!(shown(View::Config).as_deref(), Some("vnc on 127.0.0.1"));
    apply(&bench, plan(WEB));
    let next = described(&bench, "web", View::Config);
    assert_eq!((next.graphics, next.has_video), (None, false));
    // One that virsh adds is drift.
    edit_definition(&bench.host, "web", |xml| set_screen(xml, Some(VncListen::Loopback)).unwrap());
    let left = diff(&bench, plan(WEB));
    assert!(left.iter().any(|field| field.path == "spec.graphics" && field.drift), "{left:?}");
    // One that the patch adds is the patch's.
    let patched = "vcpus: 2\n  xmlPatch:\n  - {xpath: /domain/devices, add: <graphics type='spice'/>}";
    let bench = Bench::new();
    let patched = || plan_with(WEB, &[("vcpus: 2", patched)]);
    apply(&bench, patched());
    assert_eq!(paths(&diff(&bench, patched())), [] as [&str; 0]);
}

#[test]
fn what_would_lose_something_is_refused_with_its_reason() {
    for (old, new, path, verdict) in [
        ("image: debian-12", "image: web_boot", "spec.bootDisk.image", Verdict::Repave),
        ("{device: vdb, sizeGB: 10}, ", "", "spec.dataDisks[vdb]", Verdict::Refused),
        ("sizeGB: 30", "sizeGB: 29", "spec.dataDisks[vdc].sizeGiB", Verdict::Refused),
        ("sizeGB: 20", "sizeGB: 19", "spec.bootDisk.sizeGiB", Verdict::Repave),
        ("sizeGB: 10}", "sizeGB: 10, format: raw}", "spec.dataDisks[vdb].format", Verdict::Refused),
        ("ip: 10.0.0.1/24", "ip: 10.0.0.2/24", "spec.networkInterfaces[0].ip", Verdict::Repave),
        (
            "bridge: br0",
            "bridge: br0, macAddress: '52:54:00:00:00:01'",
            "spec.networkInterfaces[0].macAddress",
            Verdict::Refused,
        ),
        ("fqdn: web.example.com", "fqdn: web.example.org", "spec.cloudInit.fqdn", Verdict::Repave),
        ("echo token-of-the-user", "echo another", "spec.cloudInit.userData", Verdict::Repave),
        ("memoryGiB: 4", "memoryGiB: 4\n  firmware: {type: bios}", "spec.firmware.type", Verdict::Refused),
    ] {
        let bench = Bench::with_web();
        // Something possible beside it does not happen either.
        let wanted = plan_with(WEB, &[(old, new), ("{role: web}", "{role: db}")]);
        let fields = diff(&bench, wanted.clone());
        let field = fields.iter().find(|field| field.path == path);
        let field = field.unwrap_or_else(|| panic!("{path} is not in {fields:?}"));
        assert_eq!(field.verdict, verdict, "{field:?}");
        assert!(field.why.is_some() && !field.drift && !field.pending, "{field:?}");
        let error = apply_with(&bench, wanted, true).unwrap_err();
        assert_eq!(error.code(), Code::ChangeRefused, "{}", whole(&error));
        assert!(
            whole(&error).contains(path) && whole(&error).contains("nothing was changed"),
            "{}",
            whole(&error)
        );
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
    }
}

#[test]
fn a_manifest_without_its_secrets_keeps_them() {
    let bench = Bench::with_web();
    let kept = WEB.lines().filter(|line| !line.contains("passwordHash") && !line.contains("userData"));
    let without = plan(&kept.collect::<Vec<_>>().join("\n"));
    assert_eq!(paths(&diff(&bench, without)), [] as [&str; 0]);
}

#[test]
fn another_way_to_write_the_same_is_the_same() {
    let bench = Bench::with_web();
    for same in [
        plan_with(WEB, &[("image: debian-12", "image: 'foundry-images:debian-12'")]),
        plan_with(WEB, &[("sizeGB: 20", "sizeGiB: 20")]),
        plan_with(WEB, &[("sizeGB: 10}", "sizeGB: 10, serial: vdb, format: qcow2}")]),
        plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  autostart: true\n  cpuMode: host-model")]),
    ] {
        assert_eq!(paths(&diff(&bench, same)), [] as [&str; 0]);
    }
}

#[test]
fn what_virsh_changed_is_kept_unless_forced() {
    let bench = Bench::with_web();
    edit_definition(&bench.host, "web", |xml| {
        let more = edit::set_vcpus(xml, 6, 6).unwrap();
        edit::set_disk_serial(&more, "vdb", "odd").unwrap()
    });
    let left = diff(&bench, plan(WEB));
    assert_eq!(paths(&left), ["spec.vcpus", "spec.dataDisks[vdb].serial"]);
    assert!(left.iter().all(|field| field.drift), "{left:?}");
    let applied = apply(&bench, plan(WEB));
    assert_eq!((applied.outcome, applied.drift.len()), (ApplyOutcome::Unchanged, 2));
    // Another field changes, and these stay.
    apply(&bench, plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 3")]));
    let next = described(&bench, "web", View::Config);
    assert_eq!((next.vcpus, next.memory), (6, Bytes(3 << 30)));
    apply_with(&bench, plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 3")]), true).unwrap();
    let next = described(&bench, "web", View::Config);
    assert_eq!((next.vcpus, next.disk("vdb").unwrap().serial.as_deref()), (2, Some("vdb")));
    // What virsh changed and the manifest says by now is the manifest's.
    edit_definition(&bench.host, "web", |xml| edit::set_vcpus(xml, 6, 6).unwrap());
    let agreed = || plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 3"), ("vcpus: 2", "vcpus: 6")]);
    apply(&bench, agreed());
    assert!(diff(&bench, agreed()).iter().all(|field| field.pending));
}

#[test]
fn a_vm_that_is_off_is_changed_for_its_next_start() {
    let bench = Bench::with_web();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    let wanted = || {
        plan_with(
            WEB,
            &[
                ("vcpus: 2", "vcpus: 3\n  autostart: false"),
                ("bridge: br0", "bridge: br1, mtu: 1400"),
                ("sizeGB: 10}", "sizeGB: 10, serial: data}"),
            ],
        )
    };
    let applied = apply(&bench, wanted());
    assert_eq!((applied.outcome, applied.pending.len()), (ApplyOutcome::Configured, 0));
    assert_eq!(paths(&diff(&bench, wanted())), [] as [&str; 0]);
    assert!(!bench.host.domain("web").unwrap().unwrap().autostart);
    let next = described(&bench, "web", View::Config);
    assert_eq!(
        (next.interfaces[0].mtu, next.disk("vdb").unwrap().serial.as_deref()),
        (Some(1400), Some("data"))
    );
}

/// The definition keeps every element that is not the manifest's.
#[test]
fn what_foundry_does_not_know_stays() {
    let bench = Bench::with_web();
    let before = {
        edit_definition(&bench.host, "web", |xml| {
            xml.replace("</devices>", "<watchdog model='itco' action='reset'/></devices><title>mine</title>")
        });
        bench.host.full_definition(bench.host.uuid_of("web").unwrap()).unwrap().unwrap()
    };
    apply(&bench, plan_with(WEB, &[("vcpus: 2", "vcpus: 3")]));
    let after = bench.host.full_definition(bench.host.uuid_of("web").unwrap()).unwrap().unwrap();
    assert!(
        after.contains("<watchdog model='itco' action='reset'/>") && after.contains("<title>mine</title>")
    );
    let without_record = |xml: &str| {
        let end = "</metadata>";
        xml[xml.find(end).unwrap() + end.len()..].to_owned()
    };
    assert_eq!(
        without_record(&after),
        without_record(&before)
            .replace(">2</vcpu>", ">3</vcpu>")
            .replace("<vcpu placement=\"static\">", "<vcpu placement='static'>")
    );
}

#[test]
fn a_bridge_that_is_not_there_is_found_before_anything_changes() {
    let bench = Bench::with_web();
    let error = apply_with(
        &bench,
        plan_with(WEB, &[("bridge: br0", "bridge: br7"), ("sizeGB: 10}", "sizeGB: 11}")]),
        false,
    )
    .unwrap_err();
    assert_eq!(error.code(), Code::BridgeMissing, "{}", whole(&error));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
}

#[test]
fn foreign_and_half_made_vms_are_refused() {
    let bench = Bench::new();
    let error = apply_with(&bench, plan_with(SMALL, &[("name: small", "name: other")]), false).unwrap_err();
    assert_eq!(error.code(), Code::NotFoundrys, "{}", whole(&error));
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    assert_eq!(apply_with(&bench, plan(WEB), false).unwrap_err().code(), Code::HalfDestroyed);
}

/// A running VM that refuses a change has it when it starts next.
#[test]
fn a_refusal_of_the_running_vm_is_a_warning() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named("update_interface_now");
    let applied = apply(&bench, plan_with(WEB, &[("bridge: br0", "bridge: br1")]));
    assert_eq!(
        (applied.outcome, applied.pending),
        (ApplyOutcome::Configured, vec!["networkInterfaces[0].bridge".to_owned()])
    );
    assert!(
        bench.told.warnings().iter().any(|w| w.contains("at its next start")),
        "{:?}",
        bench.told.warnings()
    );
}

#[test]
fn a_guest_without_a_free_slot_gets_the_disk_when_it_starts() {
    let bench = Bench::with_web();
    let wanted = || {
        plan_with(
            WEB,
            &[("{device: vdc, sizeGB: 30}", "{device: vdc, sizeGB: 30}, {device: vdd, sizeGB: 5}")],
        )
    };
    // As libvirt shows it: each port is taken.
    let uuid = bench.host.uuid_of("web").unwrap();
    edit_definition(&bench.host, "web", |xml| {
        let ports = "<controller type='pci' index='1' model='pcie-root-port'/>\
                     <watchdog model='x'><address type='pci' bus='0x01'/></watchdog></devices>";
        let root = "<controller type=\"pci\" index=\"0\" model=\"pcie-root\"/>";
        let mut xml = xml.replace("<controller type=\"pci\" model=\"pcie-root-port\"/>", "");
        assert!(xml.contains(root), "{xml}");
        xml = xml.replace("</devices>", ports);
        xml
    });
    restart(&bench, "web");
    let applied = apply(&bench, wanted());
    assert_eq!(applied.outcome, ApplyOutcome::Configured);
    assert!(bench.host.describe(uuid, View::Current).unwrap().unwrap().disk("vdd").is_none());
    assert!(bench.host.describe(uuid, View::Config).unwrap().unwrap().disk("vdd").is_some());
}

/// Both apply at any moment of the other: the last one has its way, and nothing is lost.
#[test]
fn two_that_apply_at_once_end_with_one_of_both() {
    let one = || {
        plan_with(
            WEB,
            &[("vcpus: 2", "vcpus: 3"), ("{device: vdc, sizeGB: 30}", "{device: vdc, sizeGB: 31}")],
        )
    };
    let other = || plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 3"), ("{role: web}", "{role: db}")]);
    let calls = {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        apply(&bench, one());
        bench.host.call_count()
    };
    for n in 0..calls {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        bench.host.on_call(n, move |host| {
            // Once the disk is larger, the other manifest is refused.
            let rival =
                |context: &_| apply_vm(context, &WantedVm::of_manifest(other()), ApplyOptions::default());
            if let Err(error) = as_rival(host, rival) {
                assert_eq!(error.code(), Code::ChangeRefused, "{}", whole(&error));
            }
        });
        if let Err(error) = apply_with(&bench, one(), false) {
            assert_eq!(error.code(), Code::ChangedMeanwhile, "at {n}: {}", whole(&error));
        }
        apply_with(&bench, one(), false).unwrap_or_else(|e| panic!("at {n}: {}", whole(&e)));
        restart(&bench, "web");
        let left = diff(&bench, one());
        assert!(left.iter().all(|field| field.drift), "at {n}: {left:?}");
        bench.destroy("web", FORCE).unwrap();
        assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), [] as [&str; 0], "at {n}");
    }
}

#[test]
fn memory_is_compared_in_mib() {
    let bench = Bench::new();
    let odd = || plan_with(SMALL, &[("memoryGiB: 0.5", "memoryGiB: 0.3")]);
    bench.create(&odd()).unwrap();
    let live = described(&bench, "small", View::Current);
    assert_eq!(
        (live.memory.0 % MIB, described(&bench, "small", View::Config).memory.0.is_multiple_of(MIB)),
        (0, false)
    );
    assert_eq!(paths(&diff(&bench, odd())), [] as [&str; 0]);
}

#[test]
fn a_recorded_manifest_is_changed_and_set_back() {
    let bench = Bench::with_web();
    let context = bench.context();
    let change = |label: &str| {
        let recorded = recorded_manifest(&context, "web").unwrap();
        let mut manifest = recorded.manifest.clone();
        manifest.metadata.labels.insert("role".into(), label.into());
        recorded.with_manifest(&context, manifest).unwrap()
    };
    let applied = apply_vm(&context, &change("db"), ApplyOptions::default()).unwrap();
    assert_eq!((applied.outcome, applied.pending.len()), (ApplyOutcome::Configured, 0));
    let revisions = list_revisions(&context, "web").unwrap();
    assert_eq!(revisions.iter().map(|r| r.generation).collect::<Vec<_>>(), [1, 2]);
    let label = |n: usize| revisions[n].manifest.as_ref().unwrap().metadata.labels["role"].clone();
    assert_eq!((label(0), label(1)), ("web".into(), "db".into()));
    assert!(revisions[1].by.as_ref().unwrap().contains('@'));
    // Its secrets are still the seed's.
    assert_eq!(bench.record("web").secrets.len(), 2);
    assert_eq!(paths(&diff(&bench, plan_with(WEB, &[("{role: web}", "{role: db}")]))), [] as [&str; 0]);
    let first = recorded_manifest(&context, "web").unwrap().with_revision(&context, 1).unwrap();
    apply_vm(&context, &first, ApplyOptions::default()).unwrap();
    assert_eq!(
        (bench.record("web").generation, bench.record("web").manifest.metadata.labels["role"].as_str()),
        (3, "web")
    );
    let none = recorded_manifest(&context, "web").unwrap().with_revision(&context, 9).unwrap_err();
    assert!(whole(&none).contains("it has 1, 2, 3"), "{}", whole(&none));
    let mut other = recorded_manifest(&context, "web").unwrap().manifest;
    other.metadata.name = Some("other".into());
    let refused = recorded_manifest(&context, "web").unwrap().with_manifest(&context, other).unwrap_err();
    assert_eq!(refused.code(), Code::ChangeRefused);
}

/// Two edit the same manifest: the second one's is from an older one.
#[test]
fn an_edit_of_an_older_manifest_is_refused() {
    let bench = Bench::with_web();
    let context = bench.context();
    let [one, other] = ["db", "cache"].map(|label| {
        let recorded = recorded_manifest(&context, "web").unwrap();
        let mut manifest = recorded.manifest.clone();
        manifest.metadata.labels.insert("role".into(), label.into());
        recorded.with_manifest(&context, manifest).unwrap()
    });
    apply_vm(&context, &one, ApplyOptions::default()).unwrap();
    let before = bench.host.fingerprint();
    let error = apply_vm(&context, &other, ApplyOptions::default()).unwrap_err();
    assert_eq!(error.code(), Code::ChangedMeanwhile, "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    // Also if the first one comes in between.
    for n in 0..6 {
        let bench = Bench::with_web();
        bench.host.forget_calls();
        let (one, other) = (one.clone(), other.clone());
        bench.host.on_call(n, move |host| {
            as_rival(host, |context| apply_vm(context, &one, ApplyOptions::default()).unwrap());
        });
        let error = apply_vm(&bench.context(), &other, ApplyOptions::default()).unwrap_err();
        assert_eq!(error.code(), Code::ChangedMeanwhile, "at {n}: {}", whole(&error));
        assert_eq!(bench.record("web").manifest.metadata.labels["role"], "db");
    }
}

#[test]
fn a_vm_shows_what_waits_and_what_drifted() {
    let bench = Bench::with_web();
    let conditions = || {
        let mut seen = get_vm(&bench.context(), "web").unwrap();
        add_change_conditions(&bench.context(), &mut seen).unwrap();
        let status = seen.vm.status.unwrap();
        status.conditions.into_iter().map(|c| (c.kind, c.message)).skip(1).collect::<Vec<_>>()
    };
    assert_eq!(conditions(), []);
    apply(&bench, plan_with(WEB, &[("vcpus: 2", "vcpus: 3")]));
    let waits = ("RestartRequired".to_owned(), "restart required: vcpus".to_owned());
    assert_eq!(conditions(), std::slice::from_ref(&waits));
    edit_definition(&bench.host, "web", |xml| edit::set_disk_serial(xml, "vdb", "odd").unwrap());
    let drifted = "changed by another program: spec.dataDisks[vdb].serial".to_owned();
    assert_eq!(conditions(), [waits, ("Drifted".to_owned(), drifted.clone())]);
    restart(&bench, "web");
    assert_eq!(conditions(), [("Drifted".to_owned(), drifted)]);
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    assert_eq!(conditions(), []);
}
