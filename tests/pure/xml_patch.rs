//! `spec.xmlPatch`: in a rendering, a creation, the record, a comparison and an apply.

use crate::support::bench::{Bench, FORCE, neighbours_alone, whole};
use crate::support::faults::each_fault;
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::rendered::rendered;
use foundry::domain_xml::check_patch;
use foundry::host::{Domains, View};
use foundry::operations::change::{
    Applied, ApplyOptions, ApplyOutcome, FieldDiff, RESTART_REQUIRED, Verdict, WantedVm,
    add_change_conditions, apply_vm, diff_vm, list_revisions, plan_apply,
};
use foundry::operations::vm::inspect::get_vm;
use foundry::plan::VmPlan;
use foundry::{Code, Error};

const WATCHDOG: &str = "{xpath: /domain/devices, add: \"<watchdog model='i6300esb' action='reset'/>\"}";
const ARGUMENT: &str =
    "{xpath: /domain, add: \"<qemu:commandline><qemu:arg value='-msg'/></qemu:commandline>\"}";
const NO_RNG: &str = "{xpath: /domain/devices/rng, remove: true}";

/// `web` with these entries.
fn patched(entries: &[&str]) -> VmPlan {
    plan_with(WEB, &[("memoryGiB: 4", &format!("memoryGiB: 4\n  xmlPatch: [{}]", entries.join(", ")))])
}

fn wanted(entries: &[&str]) -> WantedVm {
    WantedVm::of_manifest(patched(entries))
}

fn apply(bench: &Bench, entries: &[&str]) -> Result<Applied, Error> {
    apply_vm(&bench.context(), &wanted(entries), ApplyOptions::default())
}

fn diff(bench: &Bench, entries: &[&str]) -> Vec<FieldDiff> {
    diff_vm(&bench.context(), &wanted(entries)).unwrap().unwrap()
}

fn xml(bench: &Bench, view: View) -> String {
    bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), view).unwrap().unwrap()
}

fn restart(bench: &Bench) {
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.force_off(uuid).unwrap();
    bench.host.start(uuid).unwrap();
}

#[test]
fn a_rendering_has_the_patch() {
    let domain = rendered(&patched(&[WATCHDOG, ARGUMENT, NO_RNG])).domain;
    for part in ["<watchdog model='i6300esb'", "<qemu:arg value='-msg'/>", "xmlns:qemu="] {
        assert!(domain.contains(part), "{part}: {domain}");
    }
    assert!(!domain.contains("<rng"), "{domain}");
}

#[test]
fn a_created_vm_has_the_patch_and_the_record_keeps_it() {
    let bench = Bench::new();
    bench.create(&patched(&[WATCHDOG, ARGUMENT])).unwrap();
    assert!(xml(&bench, View::Current).contains("<watchdog model='i6300esb'"));
    let record = bench.record("web");
    assert_eq!(record.manifest.spec.xml_patch.len(), 2);
    assert_eq!(diff(&bench, &[WATCHDOG, ARGUMENT]), []);
    assert_eq!(get_vm(&bench.context(), "web").unwrap().vm.spec.xml_patch, record.manifest.spec.xml_patch);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(neighbours_alone()), [] as [&str; 0]);
}

/// Before a VM of several files is made, so nothing is half done.
#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let cases = [
        ("{xpath: /domain/devices/tpm, remove: true}", "spec.xmlPatch[0].xpath: matches nothing"),
        ("{xpath: /domain/devices/disk, remove: true}", "spec.xmlPatch[0].xpath: matches 4 elements"),
        (
            "{xpath: /domain/name/text(), replace: x}",
            "spec.xmlPatch[0].xpath: may not change the domain's name",
        ),
        ("{xpath: \"/domain/devices/disk[target/@dev='sda']\", remove: true}", "may not change the disk sda"),
        ("{xpath: \"/domain/devices/disk[3]/source/@volume\", replace: x}", "may not change the disk vdc"),
    ];
    for (entry, wanted) in cases {
        let problems = check_patch(&patched(&[entry])).unwrap_err();
        assert!(problems.to_string().contains(wanted), "{entry}: {problems}");
        assert_eq!(problems.code(), Code::XmlPatchUnfit);
        let bench = Bench::new();
        let before = bench.host.fingerprint();
        // By path, the disks have other sources than in a rendering.
        let error = bench.create(&patched(&[&entry.replace("@volume", "@file")])).unwrap_err();
        assert_eq!(error.code(), Code::XmlPatchUnfit, "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), [] as [&str; 0], "{entry}");
    }
    // What fits one of the architectures that the host may have is tried there.
    check_patch(&patched(&["{xpath: /domain/features/apic, remove: true}"])).unwrap();
    let arm = "memoryGiB: 4\n  arch: aarch64\n  xmlPatch: [{xpath: /domain/features/apic, remove: true}]";
    check_patch(&plan_with(WEB, &[("memoryGiB: 4", arm)])).unwrap_err();
}

#[test]
fn new_entries_wait_for_the_next_start() {
    let bench = Bench::with_web();
    let fields = diff(&bench, &[WATCHDOG, ARGUMENT]);
    let told: Vec<_> = fields.iter().map(|f| (f.path.as_str(), f.verdict)).collect();
    assert_eq!(told, [("spec.xmlPatch[0]", Verdict::NextStart), ("spec.xmlPatch[1]", Verdict::NextStart)]);
    let applied = apply(&bench, &[WATCHDOG]).unwrap();
    assert_eq!(
        (applied.outcome, applied.pending),
        (ApplyOutcome::Configured, vec!["xmlPatch[0]".to_owned()])
    );
    let applied = apply(&bench, &[WATCHDOG, ARGUMENT]).unwrap();
    assert_eq!(applied.pending, ["xmlPatch[0]", "xmlPatch[1]"]);
    let next = xml(&bench, View::Config);
    assert_eq!((next.matches("<watchdog").count(), next.matches("<qemu:arg").count()), (1, 1), "{next}");
    assert!(!xml(&bench, View::Current).contains("<watchdog"));
    let mut seen = get_vm(&bench.context(), "web").unwrap();
    add_change_conditions(&bench.context(), &mut seen).unwrap();
    let conditions = seen.vm.status.unwrap().conditions;
    let required = conditions.iter().find(|c| c.kind == RESTART_REQUIRED).unwrap();
    assert!(required.message.contains("xmlPatch[0], xmlPatch[1]"), "{}", required.message);
    // Nothing more to do, and nothing is added twice.
    let before = bench.host.fingerprint();
    assert_eq!(apply(&bench, &[WATCHDOG, ARGUMENT]).unwrap().outcome, ApplyOutcome::Unchanged);
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    restart(&bench);
    assert_eq!(diff(&bench, &[WATCHDOG, ARGUMENT]), []);
    assert!(xml(&bench, View::Current).contains("<watchdog"));
    let generations: Vec<u64> =
        list_revisions(&bench.context(), "web").unwrap().iter().map(|r| r.generation).collect();
    assert_eq!(generations, [1, 2, 3]);
}

#[test]
fn what_an_earlier_patch_did_is_not_taken_back() {
    for entries in [&[] as &[&str], &[ARGUMENT], &[WATCHDOG, ARGUMENT, NO_RNG], &[ARGUMENT, WATCHDOG]] {
        let bench = Bench::new();
        bench.create(&patched(&[WATCHDOG, NO_RNG])).unwrap();
        let before = bench.host.fingerprint();
        let error = apply(&bench, entries).unwrap_err();
        assert_eq!(error.code(), Code::ChangeRefused, "{}", whole(&error));
        assert!(whole(&error).contains("only new entries at the end"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    }
}

/// The definition of a VM has more than a rendering, and what does not fit it is refused before any change.
#[test]
fn an_entry_that_does_not_fit_the_definition_changes_nothing() {
    let bench = Bench::with_web();
    for entry in ["{xpath: /domain/devices/tpm, remove: true}", "{xpath: /domain/vcpu/text(), replace: 9}"] {
        let options = ApplyOptions::default();
        let planned = plan_apply(&bench.context(), &wanted(&[entry]), options).unwrap_err();
        let error = apply(&bench, &[entry]).unwrap_err();
        assert_eq!((planned.code(), error.code()), (Code::XmlPatchUnfit, Code::XmlPatchUnfit));
        assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
    }
}

#[test]
fn a_patched_cpu_and_added_interfaces_are_no_drift() {
    let cpu = "{xpath: /domain/cpu/@mode, replace: custom}, {xpath: /domain/cpu, add: <model>qemu64</model>}";
    let nic = "{xpath: /domain/devices, add: \"<interface type='user'><mac address='52:54:00:00:00:09'/>\
               <source network='x'/></interface>\"}";
    let bench = Bench::new();
    bench.create(&patched(&[cpu, nic])).unwrap();
    assert_eq!(diff(&bench, &[cpu, nic]), []);
    let other = plan_with(
        WEB,
        &[(
            "memoryGiB: 4",
            &format!("memoryGiB: 4\n  cpuMode: host-passthrough\n  xmlPatch: [{cpu}, {nic}]"),
        )],
    );
    let fields = diff_vm(&bench.context(), &WantedVm::of_manifest(other)).unwrap().unwrap();
    assert_eq!((fields.len(), fields[0].verdict), (1, Verdict::Refused), "{fields:?}");
}

/// A small VM with these entries.
fn small(entries: &[&str]) -> WantedVm {
    let patch = format!("memoryGiB: 0.5\n  xmlPatch: [{}]", entries.join(", "));
    WantedVm::of_manifest(plan_with(SMALL, &[("memoryGiB: 0.5", &patch)]))
}

fn with_small() -> Bench {
    let mut bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    bench.next_operation();
    bench
}

/// A patch is applied once, whichever call fails; then the VM is what the manifest says.
#[test]
fn an_apply_that_fails_at_any_call_is_finished_by_the_same_again() {
    let off = || {
        let bench = with_small();
        bench.host.force_off(bench.host.uuid_of("small").unwrap()).unwrap();
        bench
    };
    for fresh in [off as fn() -> Bench, with_small] {
        let apply = |bench: &Bench| {
            apply_vm(&bench.context(), &small(&[WATCHDOG, ARGUMENT]), ApplyOptions::default())
        };
        let faults = each_fault(fresh, apply, |bench, _, _, label| {
            bench.next_operation();
            apply(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            let uuid = bench.host.uuid_of("small").unwrap();
            bench.host.force_off(uuid).unwrap();
            bench.host.start(uuid).unwrap();
            let left = diff_vm(&bench.context(), &small(&[WATCHDOG, ARGUMENT])).unwrap().unwrap();
            assert_eq!(left, [], "{label}");
            let next = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
            let count = |part| next.matches(part).count();
            assert_eq!((count("<watchdog"), count("<qemu:arg"), count("xmlns:qemu")), (1, 1, 1), "{label}");
            bench.destroy("small", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(bench.host.changes_since(neighbours_alone()), [] as [&str; 0], "{label}");
        });
        assert!(faults > 30, "{faults}");
    }
}

#[test]
fn an_unpatched_manifest_has_no_word_of_it() {
    assert!(!serde_json::to_string(&plan(WEB).manifest).unwrap().contains("xmlPatch"));
}
