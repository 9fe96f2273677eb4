//! A repave from a manifest: the VM becomes what the manifest says, as far as its data disks can stay; or it is as
//! before.

use super::faults::{assert_runs, assert_whole, bury, clean_up, destroy_all, faults_of};
use super::{BOTH, NEW, OLD, STOP, TRIAL, accept, described, disks, files, identity, repave, roll_back, web};
use crate::support::bench::{Bench, as_rival, whole};
use crate::support::manifests::{HASH, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::cloud_init::{SeedFiles, read_iso};
use foundry::host::{Domains, View};
use foundry::operations::change::{ApplyOptions, FieldDiff, WantedVm, apply_vm, diff_vm};
use foundry::operations::vm::create::create_vm;
use foundry::operations::vm::repave::{RepaveReport, RepaveRequest, RepaveSource, plan_repave, repave_vm};
use foundry::operations::vm::wait::Goal;
use foundry::plan::VmPlan;
use foundry::record::RepaveStage;
use foundry::{Code, Error, Kind};
use std::time::Duration;

type Wait = Option<(Goal, Duration)>;

/// A change of each kind: image, seed, address, definition, labels, and what is outside of the definition.
const CHANGED: [(&str, &str); 8] = [
    ("image: debian-12", "image: debian-13"),
    ("sizeGB: 20", "sizeGB: 15"),
    ("fqdn: web.example.com", "fqdn: www.example.org"),
    ("ip: 10.0.0.1/24", "ip: 10.0.0.2/24"),
    ("bridge: br0", "bridge: br1"),
    ("vcpus: 2", "vcpus: 3\n  autostart: false"),
    ("memoryGiB: 4", "memoryGiB: 2"),
    ("{role: web}", "{role: db}"),
];

fn changed() -> VmPlan {
    plan_with(WEB, &CHANGED)
}

fn request(plan: VmPlan, wait: Wait) -> RepaveRequest<'static> {
    let source = RepaveSource::Manifest(Box::new(WantedVm::of_manifest(plan)));
    RepaveRequest { vm: "web", source, stop: STOP, wait }
}

fn repave_from(bench: &Bench, plan: VmPlan, wait: Wait) -> Result<RepaveReport, Error> {
    repave_vm(&bench.context(), &request(plan, wait))
}

/// Without the two secrets of `WEB`, as `get` shows it.
fn without_secrets(replaced: &[(&str, &str)]) -> VmPlan {
    let kept = WEB.lines().filter(|line| !line.contains("passwordHash") && !line.contains("userData"));
    plan_with(&kept.collect::<Vec<_>>().join("\n"), replaced)
}

fn differing(bench: &Bench, plan: VmPlan) -> Vec<String> {
    let fields = diff_vm(&bench.context(), &WantedVm::of_manifest(plan)).unwrap().unwrap();
    fields.into_iter().map(|field: FieldDiff| field.path).collect()
}

fn seed(bench: &Bench, name: &str) -> SeedFiles {
    read_iso(&bench.host.content(&format!("/pool/vms/{name}")).unwrap()).unwrap()
}

/// Everything about the VM that a rollback brings back.
fn state(bench: &Bench) -> String {
    let record = bench.record("web");
    let now = described(bench, View::Config);
    let links: Vec<_> =
        now.interfaces.iter().map(|i| (i.mac.clone(), i.source.clone(), i.target.clone())).collect();
    let autostart = bench.host.domain("web").unwrap().unwrap().autostart;
    let of_record = (record.manifest, record.secrets, record.volumes, record.image);
    format!(
        "{of_record:?} {:?} {:?} {links:?} {autostart}",
        disks(bench, View::Config),
        (now.vcpus, now.memory)
    )
}

#[test]
fn manifest_brings_everything_but_identity_and_data_disks() {
    let bench = web(true);
    let (before, kept) = (bench.record("web"), identity(&bench));
    let preview = plan_repave(&bench.context(), &request(changed(), TRIAL)).unwrap();
    let paths: Vec<&str> = preview.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.labels.role",
            "spec.vcpus",
            "spec.memoryGiB",
            "spec.autostart",
            "spec.bootDisk.sizeGiB",
            "spec.bootDisk.image",
            "spec.networkInterfaces[0].ip",
            "spec.networkInterfaces[0].bridge",
            "spec.cloudInit.fqdn"
        ]
    );
    assert_eq!(preview.volumes.len(), 2);
    repave_from(&bench, changed(), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!((identity(&bench), files(&bench)), (kept, NEW.map(String::from).to_vec()));
    assert_eq!(differing(&bench, changed()), [] as [&str; 0]);
    let (now, after) = (described(&bench, View::Current), bench.record("web"));
    assert_eq!((now.vcpus, now.memory.0 >> 30), (3, 2));
    assert!(!bench.host.domain("web").unwrap().unwrap().autostart);
    let interface = &now.interfaces[0];
    assert_eq!(interface.source.as_deref(), Some("br1"));
    // Its name follows from the address.
    assert_eq!(interface.target.as_deref(), changed().interfaces[0].tap.as_deref());
    assert_eq!(now.disk("vda").unwrap().backing_chain, ["/pool/images/debian-13"]);
    let boot = after.volumes.iter().find(|v| v.name == "web_boot.2").unwrap();
    assert_eq!(boot.capacity.0 >> 30, 15);
    // The seed is for the MAC address that the VM has.
    let (old, new) = (before.manifest.clone(), seed(&bench, "web_cloudinit.2"));
    assert!(new.network_config.contains("10.0.0.2/24"), "{}", new.network_config);
    assert!(new.network_config.contains(interface.mac.as_deref().unwrap()), "{}", new.network_config);
    for part in ["www.example.org", "token-of-the-user", HASH] {
        assert!(new.user_data.contains(part), "{part}: {}", new.user_data);
    }
    assert_eq!((&after.ssh, after.secrets == before.secrets), (&before.ssh, true));
    assert!(new.vendor_data.is_some());
    assert_eq!((after.generation, after.history.len()), (before.generation + 1, 2));
    assert_eq!(after.manifest_of(before.generation), Some(&old));
    assert_eq!(after.manifest.spec.boot_disk.as_ref().unwrap().image.as_deref(), Some("debian-13"));
    // A VM with the old address has nothing in common with it but the MAC address that follows.
    let pinned = after.manifest.spec.network_interfaces[0].mac_address.clone();
    assert_eq!(pinned.as_deref(), interface.mac.as_deref());
    // The same once more changes nothing but the boot disk.
    repave_from(&bench, changed(), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(bench.record("web").generation, after.generation);
    assert_eq!(disks(&bench, View::Config)[0].1, "/pool/vms/web_boot.3");
}

#[test]
fn rollback_brings_the_manifest_back() {
    let bench = web(false);
    let before = state(&bench);
    repave_from(&bench, changed(), None).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(files(&bench), BOTH);
    roll_back(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(state(&bench), before);
    assert_eq!(differing(&bench, plan(WEB)), [] as [&str; 0]);
    // So does a wait that fails.
    let error = repave_from(&bench, changed(), TRIAL).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{}", whole(&error));
    assert_eq!(error.outcome_texts(), ["VM 'web' has its previous boot disk again"]);
    assert_eq!((state(&bench), files(&bench)), (before, OLD.map(String::from).to_vec()));
}

#[test]
fn disk_that_is_attached_before_the_rollback_stays() {
    let bench = web(false);
    repave_from(&bench, changed(), None).unwrap();
    let request = crate::support::bench::disk_request("web", 5);
    foundry::operations::disk::attach(&bench.context(), &request).unwrap();
    roll_back(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    let now = bench.record("web").manifest;
    assert_eq!((now.spec.data_disks.len(), now.metadata.labels["role"].as_str()), (3, "web"));
    assert_eq!(described(&bench, View::Config).vcpus, 2);
}

#[test]
fn secrets_that_the_manifest_leaves_out_are_kept() {
    let bench = web(true);
    let before = bench.record("web");
    let wanted = || without_secrets(&[("ip: 10.0.0.1/24", "ip: 10.0.0.9/24")]);
    repave_from(&bench, wanted(), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    let new = seed(&bench, "web_cloudinit.2");
    assert!(new.user_data.contains(HASH) && new.user_data.contains("token-of-the-user"));
    assert_eq!(bench.record("web").secrets, before.secrets);
    // The manifest with all of them is still the same.
    let all = plan_with(WEB, &[("ip: 10.0.0.1/24", "ip: 10.0.0.9/24")]);
    assert_eq!(differing(&bench, all), [] as [&str; 0]);
    // The user's part of the user-data cannot be told from what foundry generated for another name.
    let start = bench.host.fingerprint();
    let named = without_secrets(&[
        ("fqdn: web.example.com", "fqdn: www.example.org"),
        ("ip: 10.0.0.1/24", "ip: 10.0.0.9/24"),
    ]);
    let error = repave_from(&bench, named, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::SeedUnreadable, "{}", whole(&error));
    assert!(whole(&error).contains("leaves out spec.cloudInit.userData"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&start), [] as [&str; 0]);
    // Other secrets replace the old ones.
    let other = plan_with(WEB, &[("echo token-of-the-user", "echo another"), ("10.0.0.1/24", "10.0.0.9/24")]);
    repave_from(&bench, other.clone(), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert!(!seed(&bench, "web_cloudinit.3").user_data.contains("token-of-the-user"));
    assert_eq!(differing(&bench, other), [] as [&str; 0]);
}

#[test]
fn ejected_seed_is_made_from_the_manifest() {
    let bench = web(true);
    let plan_of = foundry::operations::vm::seed::plan_eject(&bench.context(), "web", true).unwrap().unwrap();
    foundry::operations::vm::seed::eject_seed(&bench.context(), &plan_of).unwrap();
    let error = repave_from(&bench, without_secrets(&[]), TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::SeedUnreadable, "{}", whole(&error));
    assert_eq!(error.hint_text().as_deref(), Some("write it into the manifest"));
    repave_from(&bench, plan(WEB), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert!(seed(&bench, "web_cloudinit.2").user_data.contains("token-of-the-user"));
}

#[test]
fn what_a_repave_cannot_change_is_refused_with_its_fields() {
    let nic = "bridge: br0}";
    for (old, new, path, advice) in [
        ("{device: vdb, sizeGB: 10}, ", "", "spec.dataDisks[vdb]", "foundry disk detach web vdb --keep"),
        ("sizeGB: 30", "sizeGB: 31", "spec.dataDisks[vdc].sizeGiB", "foundry disk resize web vdc 31GiB"),
        (
            "sizeGB: 30}",
            "sizeGB: 30}, {device: vdd, sizeGB: 2, format: raw}",
            "spec.dataDisks[vdd]",
            "foundry disk attach web 2GiB --device vdd --format raw",
        ),
        (nic, "bridge: br0}\n    - {network: default}", "spec.networkInterfaces[1]", "set these fields back"),
        (
            nic,
            "bridge: br0, macAddress: '52:54:00:00:00:01'}",
            "spec.networkInterfaces[0].macAddress",
            "set these fields back",
        ),
        ("memoryGiB: 4", "memoryGiB: 4\n  firmware: {type: bios}", "spec.firmware.type", "set these"),
        ("memoryGiB: 4", "memoryGiB: 4\n  storagePool: other", "spec.storagePool", "set these fields back"),
        (
            "memoryGiB: 4",
            "memoryGiB: 4\n  xmlPatch: [{xpath: /domain/devices, add: <input type='tablet' bus='usb'/>}]",
            "spec.xmlPatch[0]",
            "apply it alone before",
        ),
    ] {
        let bench = web(true);
        let wanted = plan_with(WEB, &[(old, new), ("image: debian-12", "image: debian-13")]);
        let before = bench.host.fingerprint();
        for error in [
            repave_from(&bench, wanted.clone(), TRIAL).unwrap_err(),
            plan_repave(&bench.context(), &request(wanted, TRIAL)).unwrap_err(),
        ] {
            let told = whole(&error);
            assert_eq!(error.code(), Code::ChangeRefused, "{told}");
            assert!(told.contains(path) && told.contains(advice), "{told}");
            assert!(!told.contains("spec.bootDisk.image") && told.contains("nothing was changed"), "{told}");
        }
        assert_eq!(bench.host.changes_since(&before), [] as [&str; 0], "{path}");
    }
}

/// Neither command refuses what the other one advises.
#[test]
fn apply_advises_a_repave_from_the_file() {
    let bench = web(true);
    let apply =
        |plan| apply_vm(&bench.context(), &WantedVm::of_manifest(plan), ApplyOptions::default()).unwrap_err();
    let error = apply(changed());
    let hint = error.hint_text().unwrap();
    assert!(hint.starts_with("foundry repave -f FILE --wait gives it a new boot disk"), "{hint}");
    let error = apply(plan_with(WEB, &[("fqdn: web", "fqdn: www"), ("sizeGB: 30", "sizeGB: 29")]));
    assert!(error.hint_text().unwrap().starts_with("set these fields back"), "{}", whole(&error));
}

#[test]
fn address_of_another_vm_is_refused_and_one_that_comes_meanwhile_wins() {
    let other = || {
        let text = WEB.replace("name: web", "name: db").replace("10.0.0.1/24", "10.0.0.2/24");
        plan_with(&text, &[])
    };
    let bench = web(true);
    bench.create(&other()).unwrap();
    let before = bench.host.fingerprint();
    let error = repave_from(&bench, changed(), TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::AddressTaken, "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    let all = {
        let clean = web(true);
        repave_from(&clean, changed(), TRIAL).unwrap();
        clean.host.calls()
    };
    let at =
        all.iter().position(|call| call.starts_with("request_shutdown")).unwrap_or_else(|| panic!("{all:?}"));
    let bench = web(true);
    let before = state(&bench);
    bench.host.on_call(at, move |host| {
        as_rival(host, |context| create_vm(context, &other()).map(drop)).unwrap();
    });
    let error = repave_from(&bench, changed(), TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::AddressTaken, "{}", whole(&error));
    assert_eq!(error.outcome_texts(), ["VM 'web' has its previous boot disk again"]);
    assert_eq!(state(&bench), before);
}

#[test]
fn undecided_repave_refuses_another_manifest() {
    let bench = web(true);
    repave_from(&bench, changed(), None).unwrap();
    for wanted in [changed(), plan(WEB)] {
        let error = repave_from(&bench, wanted, TRIAL).unwrap_err();
        assert_eq!(error.code(), Code::RepaveUnsettled, "{}", whole(&error));
    }
    accept(&bench).unwrap();
    assert_eq!((files(&bench), differing(&bench, changed())), (NEW.map(String::from).to_vec(), Vec::new()));
}

/// Killed on trial: the same file finishes it, also without the file; another one, and another image, is refused.
#[test]
fn killed_on_trial_is_finished_by_the_same_manifest_only() {
    let mut bench = web(true);
    let calls = {
        let clean = bench.fork();
        repave_from(&clean, changed(), TRIAL).unwrap();
        clean.host.calls()
    };
    let start = calls.iter().position(|call| call.starts_with("start")).unwrap();
    bench.host.fail_at(start, foundry::host::memory::Effect::BrokenBefore);
    let error = repave_from(&bench, changed(), TRIAL).unwrap_err();
    assert!(whole(&error).contains("foundry repave -f FILE finishes it"), "{}", whole(&error));
    bury(&mut bench);
    assert_eq!(bench.record("web").repave.unwrap().stage, RepaveStage::OnTrial);
    let before = bench.host.fingerprint();
    let other = plan_with(WEB, &[("image: debian-12", "image: debian-13")]);
    for error in [
        repave_from(&bench, other, TRIAL).unwrap_err(),
        repave(&bench, Some("debian-12"), TRIAL).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::RepaveUnsettled, "{}", whole(&error));
    }
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
    repave_from(&bench, changed(), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_whole(&bench, "finished");
    assert_eq!(differing(&bench, changed()), [] as [&str; 0]);
}

/// No volume is leaked or lost; the same command, a rollback, gc or destroy ends it; and manifest and definition agree.
#[test]
fn repave_from_a_manifest_that_fails_at_any_call_is_ended_by_another_run() {
    let agrees = |bench: &Bench, label: &str| {
        assert_whole(bench, label);
        let wanted = if files(bench) == OLD { plan(WEB) } else { changed() };
        assert_eq!(differing(bench, wanted), [] as [&str; 0], "{label}");
        let autostart = bench.host.domain("web").unwrap().unwrap().autostart;
        assert_eq!(autostart, files(bench) == OLD, "{label}");
    };
    let faults = faults_of(
        || web(true),
        |bench| repave_from(bench, changed(), TRIAL).map(drop),
        |bench, outcome, number, label| {
            let told = outcome.err().map(|error| error.outcome_texts().join("\n")).unwrap_or_default();
            let is_back =
                ["is removed again", "has its previous boot disk again"].iter().any(|end| told.contains(end));
            if is_back {
                assert_eq!(files(bench), OLD, "{label}");
                agrees(bench, label);
            }
            bury(bench);
            match (number % 4, bench.record("web").repave.is_some()) {
                (0, is_left) if is_back || is_left => {
                    repave_from(bench, changed(), TRIAL).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                    assert_eq!(differing(bench, changed()), [] as [&str; 0], "{label}");
                    assert_runs(bench, label);
                }
                (1, true) => {
                    super::faults::back(bench, label);
                    assert_runs(bench, label);
                }
                (2, true) => clean_up(bench, label),
                (3, true) => return destroy_all(bench, label),
                _ => {}
            }
            agrees(bench, label);
            destroy_all(bench, label);
        },
    );
    assert!(faults > 60, "{faults}");
}

/// A rollback that fails at any call is finished by another, with the manifest from before.
#[test]
fn rollback_of_a_manifest_is_finished_by_another() {
    let kept = || {
        let bench = web(true);
        repave_from(&bench, changed(), None).unwrap();
        bench.host.forget_calls();
        bench
    };
    faults_of(
        kept,
        |bench| roll_back(bench).map(drop),
        |bench, _, _, label| {
            bury(bench);
            if bench.record("web").repave.is_some() {
                roll_back(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_whole(bench, label);
            assert_eq!(files(bench), OLD, "{label}");
            assert_eq!(differing(bench, plan(WEB)), [] as [&str; 0], "{label}");
            assert!(bench.host.domain("web").unwrap().unwrap().autostart, "{label}");
            assert_runs(bench, label);
            destroy_all(bench, label);
        },
    );
}
