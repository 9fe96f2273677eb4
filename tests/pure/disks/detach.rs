//! How a disk goes.

use std::time::Duration;

use foundry::Kind;
use foundry::host::memory::{Guest, MemoryHost, OnUnplug};
use foundry::host::{Affect, Disks, DomainState, Domains, Volumes};
use foundry::operations::disk::{detach, plan_detach};
use foundry::record::VolumeRef;
use foundry::units::Bytes;

use super::{NOTHING, assert_refused, data_disks, detach_one, off, pairs, recorded, targets};
use crate::support::bench::{Bench, GENTLE, GIB, foreign, whole};

#[test]
fn a_detached_disk_is_gone_with_its_volume() {
    let bench = Bench::with_web();
    let found = plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    let goes = found.volume.clone().unwrap();
    assert_eq!((goes.name.as_str(), goes.capacity), ("web_data-vdb", Bytes(10 * GIB)));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    detach(&bench.context(), &found, Duration::from_secs(1)).unwrap();
    for targets in targets(&bench) {
        assert!(!targets.contains(&"vdb".to_owned()), "{targets:?}");
    }
    assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert_eq!(recorded(&bench), ["web_boot", "web_data-vdc", "web_cloudinit"]);
    assert_eq!(data_disks(&bench), pairs(&[("vdc", "30")]));
    assert!(detach_one(&bench, "vdb", false).unwrap_err().to_string().contains("no disk 'vdb'"));
}

#[test]
fn a_kept_volume_is_nobodys_any_more() {
    let bench = Bench::with_web();
    detach_one(&bench, "vdb", true).unwrap();
    assert_eq!(data_disks(&bench), pairs(&[("vdc", "30")]));
    bench.destroy("web", GENTLE).unwrap();
    let left = bench.host.changes_since(&Bench::new().host.fingerprint());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("/pool/vms/web_data-vdb:"), "{left:?}");
}

#[test]
fn a_slow_guest_is_waited_for() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_unplug(OnUnplug::AfterLooks(20)));
    detach_one(&bench, "vdb", false).unwrap();
    assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
}

#[test]
fn a_volume_that_is_gone_is_not_said_to_be_kept() {
    let bench = Bench::with_web();
    off(&bench);
    let kept = plan_detach(&bench.context(), "web", "vdb", true).unwrap();
    assert_eq!(
        (kept.released_volume(), kept.missing_volume()),
        (Some(("foundry-vms", "web_data-vdb")), None)
    );
    bench.host.delete_volume(&VolumeRef::new("foundry-vms", "web_data-vdb")).unwrap();
    let gone = plan_detach(&bench.context(), "web", "vdb", true).unwrap();
    assert_eq!(
        (gone.released_volume(), gone.missing_volume()),
        (None, Some(("foundry-vms", "web_data-vdb")))
    );
    detach(&bench.context(), &gone, Duration::from_secs(1)).unwrap();
    assert!(!recorded(&bench).contains(&"web_data-vdb".to_owned()));
}

#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk() {
    for keep in [false, true] {
        let bench = Bench::with_web();
        bench.host.set_guest("web", Guest::new().on_unplug(OnUnplug::Never));
        let error = detach_one(&bench, "vdb", keep).unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(whole(&error).contains("did not release disk 'vdb' in 30 s"), "{}", whole(&error));
        assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
        assert!(recorded(&bench).contains(&"web_data-vdb".to_owned()), "{keep}");
        assert_eq!(data_disks(&bench).len(), 2);
        assert!(targets(&bench)[1].contains(&"vdb".to_owned()), "it is there at the next start");
        off(&bench);
        detach_one(&bench, "vdb", keep).unwrap();
        assert_eq!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()), keep);
    }
}

#[test]
fn what_is_not_detached() {
    let refuse = |prepare: &dyn Fn(&Bench), disk: &str, told: &str| {
        let mut bench = Bench::with_web();
        prepare(&bench);
        bench.start = Some(bench.host.fingerprint());
        let outcome = detach_one(&bench, disk, false);
        assert_refused(&bench, outcome, Kind::Vm, told);
    };
    refuse(&|_| {}, "boot", "is its boot disk");
    refuse(&|_| {}, "vda", "is its boot disk");
    refuse(&|_| {}, "sda", "is its cloud-init seed");
    refuse(&|b| b.host.set_state("web", DomainState::Paused), "vdb", "foundry resume web");
    refuse(&|b| b.host.set_block_job("web", "vdb"), "vdb", "a block job works on");
    refuse(&|b| b.host.set_snapshots("web", &["s"]), "vdb", "--keep");
    let mounted = r#"{"return": [{"mountpoint": "/data", "disk": [{"serial": "vdb"}]}]}"#;
    let mount = |b: &Bench| b.host.set_guest("web", Guest::new().agent_answer("guest-get-fsinfo", mounted));
    refuse(&mount, "vdb", "is mounted in the guest at /data");
}

#[test]
fn a_volume_that_others_need_stays() {
    let bench = Bench::with_web();
    bench.host.define_domain(&foreign("thief", "/pool/vms/web_data-vdb")).unwrap();
    let found = plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    assert_eq!(found.volume, None);
    assert!(found.kept_back.unwrap().1.contains("'thief' uses it too"));
    detach_one(&bench, "vdb", false).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
    assert!(bench.told.warnings().iter().any(|w| w.contains("web_data-vdb")), "{:?}", bench.told.warnings());
    assert!(!recorded(&bench).contains(&"web_data-vdb".to_owned()));
}

/// Somebody takes the volume into use while the guest is waited for.
#[test]
fn a_volume_that_others_need_by_now_stays() {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    let found = plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    let rival = |host: &MemoryHost| {
        host.define_domain(&foreign("thief", "/pool/vms/web_data-vdb")).unwrap();
    };
    bench.host.on_call(1, rival);
    detach(&bench.context(), &found, Duration::from_secs(1)).unwrap();
    assert!(bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()));
}

#[test]
fn a_disk_that_foundry_did_not_make_is_detached_and_its_file_stays() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.put_file("/srv/precious", b"data");
    let xml = "<disk type='file' device='disk'><source file='/srv/precious'/><target dev='vdx' bus='virtio'/></disk>";
    bench.host.attach_disk(uuid, xml, Affect::Both).unwrap();
    detach_one(&bench, "vdx", false).unwrap();
    assert!(bench.host.files().contains(&"/srv/precious".to_owned()));
    assert!(!targets(&bench)[0].contains(&"vdx".to_owned()));
    assert_eq!(bench.record("web").volumes.len(), 4);
}
