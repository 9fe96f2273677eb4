//! What stands in the way of a repave is found before anything is changed.

use super::{STOP, TRIAL, files, repave, request, roll_back, web};
use crate::support::bench::{Bench, FORCE, whole};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::Domains;
use foundry::host::memory::Guest;
use foundry::operations::snapshot::{SnapshotRequest, create_snapshot};
use foundry::operations::vm::power::StopOptions;
use foundry::operations::vm::repave::{RepaveRequest, RepaveSource, plan_repave, repave_vm};
use foundry::operations::vm::seed::{eject_seed, plan_eject};
use foundry::{Code, Error};

#[track_caller]
fn unchanged(bench: &Bench, before: &foundry::host::memory::Fingerprint, error: &Error) {
    assert_eq!(bench.host.changes_since(before), [] as [&str; 0], "{}", whole(error));
    assert_eq!(
        error.outcome_texts().last().map(String::as_str),
        Some("nothing was changed"),
        "{}",
        whole(error)
    );
}

#[test]
fn missing_image_is_found_before_the_guest_is_stopped() {
    let bench = web(true);
    let before = bench.host.fingerprint();
    let error = repave(&bench, Some("debian-99"), TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::ImageMissing);
    unchanged(&bench, &before, &error);
    let error = repave(&bench, Some("a b://c"), TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::ImageReference, "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), [] as [&str; 0]);
}

#[test]
fn snapshots_and_saved_memory_stand_in_the_way() {
    let bench = web(true);
    bench.host.set_snapshots("web", &["s1"]);
    let before = bench.host.fingerprint();
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::SnapshotInTheWay);
    unchanged(&bench, &before, &error);
    let bench = web(true);
    bench.host.save("web");
    let before = bench.host.fingerprint();
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::SavedMemoryInTheWay);
    unchanged(&bench, &before, &error);
}

/// A rollback would take the boot disk away from below its overlay.
#[test]
fn undecided_repave_stands_in_the_way_of_a_snapshot() {
    let bench = web(true);
    repave(&bench, None, None).unwrap();
    let before = bench.host.fingerprint();
    let wish = SnapshotRequest { vm: "web", name: None, description: None, freeze: false };
    let error = create_snapshot(&bench.context(), &wish).unwrap_err();
    assert_eq!(error.code(), Code::RepaveUnsettled);
    unchanged(&bench, &before, &error);
    roll_back(&bench).unwrap();
    create_snapshot(&bench.context(), &wish).unwrap();
}

#[test]
fn paused_guest_is_not_stopped_without_force() {
    let bench = web(true);
    bench.host.pause(bench.host.uuid_of("web").unwrap()).unwrap();
    let before = bench.host.fingerprint();
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::GuestPaused);
    unchanged(&bench, &before, &error);
    let force = RepaveRequest { stop: StopOptions { force: true, ..STOP }, ..request(None, TRIAL) };
    repave_vm(&bench.context(), &force).unwrap();
}

#[test]
fn empty_boot_disk_needs_an_image() {
    let bench = web(true);
    bench.create(&plan(SMALL)).unwrap();
    let source = RepaveSource::Recorded;
    let request = RepaveRequest { vm: "small", source, stop: STOP, wait: None };
    let before = bench.host.fingerprint();
    let error = repave_vm(&bench.context(), &request).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("name an image with --image"));
    unchanged(&bench, &before, &error);
    let error = plan_repave(&bench.context(), &request).unwrap_err();
    assert_eq!(error.code(), Code::ChangeRefused);
}

#[test]
fn ejected_seed_is_made_anew_if_it_had_no_secrets() {
    let eject = |bench: &Bench| {
        let plan = plan_eject(&bench.context(), "web", true).unwrap().unwrap();
        eject_seed(&bench.context(), &plan).unwrap();
    };
    let bench = web(true);
    eject(&bench);
    let before = bench.host.fingerprint();
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::SeedUnreadable);
    unchanged(&bench, &before, &error);
    let bench = Bench::new();
    bench.host.set_guest("web", Guest::new());
    let plain =
        [("    passwordHash: HASH\n", ""), ("    userData: {runcmd: [\"echo token-of-the-user\"]}\n", "")];
    // The hash is in the text by then.
    let text = plain.iter().fold(WEB.to_owned(), |text, (old, new)| text.replace(old, new));
    bench.create(&plan_with(&text, &[])).unwrap();
    eject(&bench);
    let drive = |bench: &Bench| {
        super::disks(bench, foundry::host::View::Config).into_iter().find(|(target, _)| target == "sda")
    };
    assert_eq!(drive(&bench), None);
    repave(&bench, None, None).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(drive(&bench).unwrap().1, "/pool/vms/web_cloudinit.2");
    roll_back(&bench).unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert_eq!(drive(&bench), None);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(files(&bench), [] as [&str; 0]);
}

#[test]
fn rollback_needs_the_previous_boot_disk() {
    let bench = web(true);
    repave(&bench, None, None).unwrap();
    let gone = foundry::record::VolumeRef::new("foundry-vms", "web_boot");
    foundry::host::Volumes::delete_volume(&bench.host, &gone).unwrap();
    let before = bench.host.fingerprint();
    let error = roll_back(&bench).unwrap_err();
    assert_eq!(error.code(), Code::VolumeMissing);
    unchanged(&bench, &before, &error);
}

#[test]
fn volume_of_another_is_never_deleted() {
    let mut bench = web(true);
    bench.host = bench.host.with_image("foundry-vms", "web_boot.2", "qcow2", 1 << 30);
    let before = bench.host.fingerprint();
    let error = repave(&bench, None, TRIAL).unwrap_err();
    assert_eq!(error.code(), Code::VolumeTaken);
    unchanged(&bench, &before, &error);
}
