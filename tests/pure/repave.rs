//! A VM gets a new boot disk and a new seed, and keeps everything else; or it gets the old ones again.

mod faults;
mod manifest;
mod refusals;

use std::time::Duration;

use crate::support::bench::{Bench, FORCE, as_rival, whole};
use crate::support::manifests::{HASH, WEB, plan};
use crate::support::shown::Shown;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Guest, OnShutdown};
use foundry::host::{DomainState, Domains, View};
use foundry::operations::disk::{Presence, list_disks};
use foundry::operations::vm::inspect::{REPAVING, get_vm};
use foundry::operations::vm::power::StopOptions;
use foundry::operations::vm::repave::{
    RepaveChange, RepaveReport, RepaveRequest, RepaveSource, accept_repave, repave_vm, roll_back_repave,
};
use foundry::operations::vm::seed_content::add_secrets;
use foundry::operations::vm::wait::Goal;
use foundry::record::{RepaveStage, VolumeRole};
use foundry::{Code, Error, Kind};

const STOP: StopOptions = StopOptions { force: false, timeout: Duration::from_secs(60) };

/// What the new boot disk has to reach.
const TRIAL: Option<(Goal, Duration)> = Some((Goal::Agent, Duration::from_secs(60)));

fn request(image: Option<&str>, wait: Option<(Goal, Duration)>) -> RepaveRequest<'static> {
    let source = image.map_or(RepaveSource::Recorded, |image| RepaveSource::Image(image.into()));
    RepaveRequest { vm: "web", source, stop: STOP, wait }
}

fn repave(bench: &Bench, image: Option<&str>, wait: Option<(Goal, Duration)>) -> Result<RepaveReport, Error> {
    repave_vm(&bench.context(), &request(image, wait))
}

fn roll_back(bench: &Bench) -> Result<RepaveReport, Error> {
    roll_back_repave(&bench.context(), "web", STOP)
}

fn accept(bench: &Bench) -> Result<RepaveReport, Error> {
    accept_repave(&bench.context(), "web")
}

/// `web`, whose guest has an agent or none, on a host with a second image.
fn web(has_agent: bool) -> Bench {
    let mut bench = Bench::new();
    bench.host = bench.host.with_image("foundry-images", "debian-13", "raw", 2 << 30);
    let guest = Guest::new();
    let guest = if has_agent { guest.agent_answer("guest-ping", r#"{"return":{}}"#) } else { guest };
    bench.host.set_guest("web", guest);
    bench.create(&plan(WEB)).unwrap();
    bench.host.forget_calls();
    bench.told.forget();
    bench.start = Some(bench.host.fingerprint());
    bench
}

fn described(bench: &Bench, view: View) -> DomainDescription {
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.describe(uuid, view).unwrap().unwrap()
}

/// The files of `web`'s disks, by device.
fn disks(bench: &Bench, view: View) -> Vec<(String, String)> {
    let of = described(bench, view).disks.into_iter();
    of.map(|disk| (disk.target.clone(), disk.source.path().unwrap_or_default().to_owned())).collect()
}

/// The names of the files in the VM pool that begin as `web`'s do.
fn files(bench: &Bench) -> Vec<String> {
    let lines = bench.host.fingerprint();
    let of = lines.lines().filter_map(|line| line.strip_prefix("file /pool/vms/")?.split_once(':'));
    let strangers = ["web_1_boot", "web_data-vdx", "web_boot.qcow2"];
    let mut names: Vec<String> =
        of.map(|(name, _)| name.to_owned()).filter(|name| !strangers.contains(&name.as_str())).collect();
    names.sort();
    names
}

fn generation_id(bench: &Bench) -> String {
    let xml = bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
    let at = xml.find("<genid").unwrap();
    xml[at..].split("</genid>").next().unwrap().to_owned()
}

const OLD: [&str; 4] = ["web_boot", "web_cloudinit", "web_data-vdb", "web_data-vdc"];
const NEW: [&str; 4] = ["web_boot.2", "web_cloudinit.2", "web_data-vdb", "web_data-vdc"];
const BOTH: [&str; 6] =
    ["web_boot", "web_boot.2", "web_cloudinit", "web_cloudinit.2", "web_data-vdb", "web_data-vdc"];

/// Whether all calls are to be tried, and not a sample of them.
fn is_full() -> bool {
    std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1")
}

/// What a repave must not change: UUID and MAC addresses, and the data disks with their files.
fn identity(bench: &Bench) -> (Vec<String>, Vec<(String, String)>) {
    let now = described(bench, View::Config);
    let data = disks(bench, View::Config).into_iter().filter(|(target, _)| target.starts_with("vd"));
    let data = data.filter(|(target, _)| target != "vda").collect();
    let macs = now.interfaces.into_iter().filter_map(|interface| interface.mac);
    (macs.chain(now.uuid.map(|uuid| uuid.to_string())).collect(), data)
}

#[test]
fn repave_with_wait_replaces_boot_disk_and_seed_only() {
    let bench = web(true);
    let (before, kept, old_id) = (bench.record("web"), identity(&bench), generation_id(&bench));
    let report = repave(&bench, None, TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(report.change, RepaveChange::Repaved);
    assert_eq!(identity(&bench), kept);
    assert_ne!(generation_id(&bench), old_id);
    assert_eq!(files(&bench), NEW);
    let now = disks(&bench, View::Current);
    assert_eq!(now[0], ("vda".into(), "/pool/vms/web_boot.2".into()));
    assert!(now.contains(&("sda".into(), "/pool/vms/web_cloudinit.2".into())), "{now:?}");
    assert_eq!(
        described(&bench, View::Config).disk("vda").unwrap().backing_chain,
        ["/pool/images/debian-12"]
    );
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
    let after = bench.record("web");
    assert_eq!((after.repave, after.generation), (None, before.generation));
    assert_eq!((after.manifest, after.ssh, after.secrets), (before.manifest, before.ssh, before.secrets));
    assert_ne!(after.instance_id, before.instance_id);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(files(&bench), [] as [&str; 0]);
}

#[test]
fn secrets_and_host_key_stay() {
    let bench = web(true);
    let seed = |bench: &Bench| bench.host.fingerprint();
    let before = seed(&bench);
    repave(&bench, None, TRIAL).unwrap();
    assert_ne!(seed(&bench), before);
    let mut seen = get_vm(&bench.context(), "web").unwrap();
    add_secrets(&bench.context(), &mut seen).unwrap();
    let cloud_init = seen.vm.spec.cloud_init.unwrap();
    assert_eq!(cloud_init.password_hash.as_deref(), Some(HASH));
    assert!(cloud_init.user_data.unwrap().contains("token-of-the-user"));
    assert_eq!(bench.record("web").ssh.unwrap().host_keys.len(), 1);
}

#[test]
fn efi_variables_are_new_after_a_repave_and_after_a_rollback() {
    let bench = web(true);
    let starts = |bench: &Bench| {
        let is_start = |call: &&String| call.starts_with("start");
        bench.host.calls().iter().filter(is_start).map(|c| c.split(' ').next().unwrap().into()).collect()
    };
    repave(&bench, None, None).unwrap();
    roll_back(&bench).unwrap();
    let calls: Vec<String> = starts(&bench);
    assert_eq!(calls, ["start_with_new_variables", "start_with_new_variables"]);
}

#[test]
fn without_wait_both_are_kept_until_the_user_decides() {
    let bench = web(false);
    let report = repave(&bench, None, None).unwrap();
    assert_eq!(report.change, RepaveChange::RepavedOnTrial);
    assert_eq!(files(&bench), BOTH);
    assert_eq!(bench.record("web").repave.unwrap().stage, RepaveStage::Kept);
    let seen = get_vm(&bench.context(), "web").unwrap();
    let conditions = &seen.vm.status.as_ref().unwrap().conditions;
    let condition = conditions.iter().find(|c| c.kind == REPAVING).unwrap();
    assert_eq!(condition.reason, "PreviousBootDiskKept");
    let advice = foundry::words::render_advice(&seen.repave_advice.unwrap());
    assert_eq!(
        advice,
        "foundry repave web --accept deletes it; foundry repave web --rollback brings it back"
    );
    let listed = list_disks(&bench.context(), Some("web")).unwrap();
    let spare: Vec<_> = listed.iter().filter(|d| d.presence == Presence::Spare).collect();
    let named: Vec<_> = spare.iter().map(|d| d.volume.as_deref().unwrap()).collect();
    assert_eq!(named, ["web_cloudinit", "web_boot"]);
    assert!(spare.iter().all(|d| d.allocated.is_some()));
    // Another repave could lose the one that works.
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::RepaveUnsettled, "{}", whole(&error));
    assert_eq!(files(&bench), BOTH);
    assert_eq!(accept(&bench).unwrap().change, RepaveChange::Accepted);
    assert_eq!(files(&bench), NEW);
    assert_eq!(accept(&bench).unwrap().change, RepaveChange::NothingKept);
    let error = roll_back(&bench).unwrap_err();
    assert_eq!(
        (error.code(), error.outcome_texts()),
        (Code::NothingToRollBack, vec!["nothing was changed".into()])
    );
    // From here on the next revision.
    repave(&bench, None, None).unwrap();
    assert_eq!(disks(&bench, View::Config)[0].1, "/pool/vms/web_boot.3");
}

#[test]
fn rollback_brings_everything_back() {
    let bench = web(false);
    let (before, kept) = (bench.record("web"), identity(&bench));
    let old = disks(&bench, View::Config);
    let chain = described(&bench, View::Config).disk("vda").unwrap().backing_chain.clone();
    repave(&bench, Some("debian-13"), None).unwrap();
    assert_eq!(roll_back(&bench).unwrap().change, RepaveChange::RolledBack);
    assert_eq!((identity(&bench), files(&bench)), (kept, OLD.map(String::from).to_vec()));
    assert_eq!(disks(&bench, View::Config), old);
    assert_eq!(described(&bench, View::Config).disk("vda").unwrap().backing_chain, chain);
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
    let after = bench.record("web");
    assert_eq!((after.manifest, after.volumes), (before.manifest, before.volumes));
    assert_eq!((after.instance_id, after.image, after.repave), (before.instance_id, before.image, None));
}

#[test]
fn another_image_is_another_generation() {
    let bench = web(true);
    let before = bench.record("web");
    repave(&bench, Some("debian-13"), TRIAL).unwrap_or_else(|e| panic!("{}", whole(&e)));
    let after = bench.record("web");
    assert_eq!(after.manifest.spec.boot_disk.as_ref().unwrap().image.as_deref(), Some("debian-13"));
    assert_eq!(after.image.as_deref(), Some("foundry-images:debian-13"));
    assert_eq!((after.generation, after.history.len()), (before.generation + 1, 2));
    assert_eq!(after.manifest_of(before.generation), Some(&before.manifest));
    let boot = described(&bench, View::Config).disk("vda").unwrap().clone();
    assert_eq!(boot.backing_chain, ["/pool/images/debian-13"]);
    let xml = bench.host.domain_xml(bench.host.uuid_of("web").unwrap(), View::Config).unwrap().unwrap();
    let format = foundry::host::libvirt_xml::edit_boot::backing_format(&xml, "vda").unwrap();
    assert_eq!(format.as_deref(), Some("raw"));
    assert_eq!(after.volumes[0].backing.as_deref(), Some("/pool/images/debian-13"));
}

#[test]
fn what_changes_between_repave_and_rollback_stays() {
    let bench = web(false);
    repave(&bench, Some("debian-13"), None).unwrap();
    let request = crate::support::bench::disk_request("web", 5);
    foundry::operations::disk::attach(&bench.context(), &request).unwrap();
    roll_back(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    let now = bench.record("web");
    assert_eq!(now.manifest.spec.data_disks.len(), 3);
    assert_eq!(now.volumes.iter().filter(|v| v.role == VolumeRole::Data).count(), 3);
    assert_eq!(now.manifest.spec.boot_disk.unwrap().image.as_deref(), Some("debian-12"));
    assert!(disks(&bench, View::Config).iter().any(|(_, path)| path == "/pool/vms/web_data-vdd"));
}

#[test]
fn failed_wait_brings_the_old_boot_disk_back() {
    let bench = web(false);
    let (before, old) = (bench.record("web"), disks(&bench, View::Config));
    let error = repave(&bench, Some("debian-13"), TRIAL).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{}", whole(&error));
    assert_eq!(error.outcome_texts(), ["VM 'web' has its previous boot disk again"]);
    assert_eq!((files(&bench), disks(&bench, View::Config)), (OLD.map(String::from).to_vec(), old));
    let after = bench.record("web");
    assert_eq!((after.manifest, after.repave), (before.manifest, None));
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
}

#[test]
fn vm_that_is_off_stays_off_unless_it_is_waited_for() {
    for (wait, state) in [(None, DomainState::ShutOff), (TRIAL, DomainState::Running)] {
        let bench = web(true);
        bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
        repave(&bench, None, wait).unwrap();
        assert_eq!(bench.host.domain("web").unwrap().unwrap().state, state);
    }
    let bench = web(false);
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::ShutOff);
    assert_eq!(files(&bench), OLD);
}

#[test]
fn guest_that_ignores_the_button_is_left_alone() {
    let bench = web(true);
    bench.host.set_guest("web", Guest::new().on_shutdown(OnShutdown::Never));
    let error = repave(&bench, None, None).unwrap_err();
    assert_eq!(error.code(), Code::ShutdownIgnored);
    let told = error.outcome_texts();
    assert_eq!(
        told,
        [
            "everything that was made is removed again",
            "the guest of VM 'web' was asked to shut down and may still do so"
        ]
    );
    assert_eq!((files(&bench), bench.record("web").repave), (OLD.map(String::from).to_vec(), None));
    let forced = RepaveRequest { stop: StopOptions { force: true, ..STOP }, ..request(None, None) };
    repave_vm(&bench.context(), &forced).unwrap();
    assert_eq!(files(&bench), BOTH);
}

#[test]
fn destroy_deletes_both_boot_disks() {
    let bench = web(false);
    repave(&bench, None, None).unwrap();
    let plan = bench.survey("web", FORCE).unwrap();
    assert_eq!(plan.volumes.len(), 6, "{:?}", plan.named_volumes());
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(files(&bench), [] as [&str; 0]);
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()).len(), 1, "the second image");
}

#[test]
fn destroy_of_a_rival_wins_over_a_repave() {
    let all = {
        let clean = web(true);
        repave(&clean, None, TRIAL).unwrap();
        clean.host.calls()
    };
    let mut told = 0;
    for n in (0..all.len()).step_by(if is_full() { 1 } else { 5 }) {
        let bench = web(true);
        bench.host.on_call(n, |host| {
            as_rival(host, |context| {
                let plan = foundry::operations::vm::destroy::plan_destroy(context, "web", FORCE);
                let _ = plan.and_then(|p| foundry::operations::vm::destroy::execute_destroy(context, &p));
            });
        });
        let outcome = repave(&bench, None, TRIAL);
        let is_there = bench.host.domain("web").unwrap().is_some();
        let left = files(&bench);
        match (is_there, outcome) {
            // It came after the end.
            (true, Ok(_)) => assert_eq!(left, NEW, "at {}", all[n]),
            (true, Err(error)) => panic!("at {}: {}", all[n], whole(&error)),
            (false, _) => {
                told += 1;
                assert_eq!(left, [] as [&str; 0], "at {}", all[n]);
            }
        }
    }
    assert!(told >= 3, "{told}");
}
