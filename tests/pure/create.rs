//! Creating a VM on the host in memory: the order of the steps, the record, what is refused.
//! Creations that fail are tested in `create_faults`.

use crate::support::bench::{Bench, GENTLE, GIB, bridge, host_with_neighbours, whole};
use crate::support::faults::shape;
use crate::support::manifests::{HASH, SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::memory::MemoryHost;
use foundry::host::{DomainState, Domains, Pools, Volumes};
use foundry::operations::vm::create::dry_run;
use foundry::record::VolumeRef;
use foundry::record::{RecordState, VolumeRole};

/// The calls that change something, in the order of ARCHITECTURE.md.
#[test]
fn it_defines_first_and_starts_last() {
    let bench = Bench::new();
    bench.create(&plan(WEB)).unwrap();
    let changing =
        ["define", "create", "clone", "resize", "upload", "set_", "start", "delete", "undefine", "force"];
    let calls = bench.host.calls();
    let steps: Vec<&str> = calls
        .iter()
        .map(String::as_str)
        .filter(|c| changing.iter().any(|verb| c.starts_with(verb)))
        .collect();
    assert_eq!(
        steps,
        [
            "define_domain web",
            "create_volume foundry-vms/web_boot",
            "create_volume foundry-vms/web_data-vdb",
            "create_volume foundry-vms/web_data-vdc",
            "create_volume foundry-vms/web_cloudinit",
            "upload foundry-vms/web_cloudinit",
            "set_autostart web",
            "set_record web",
            "start web",
        ]
    );
}

#[test]
fn what_is_there_afterwards_is_what_was_asked_for() {
    let bench = Bench::new();
    let before = shape(&bench.host);
    bench.create(&plan(WEB)).unwrap();
    let after = shape(&bench.host);
    let mut new: Vec<&String> = after.difference(&before).collect();
    assert_eq!(before.difference(&after).count(), 0, "something that was there is gone");
    assert_eq!(new.remove(0), "domain web: running, autostart true, nvram true");
    let (boot, rest) = new.split_first().unwrap();
    assert!(boot.starts_with(&format!("file /pool/vms/web_boot: qcow2, capacity {}", 20 * GIB)), "{boot}");
    assert!(boot.contains("backing /pool/images/debian-12"), "{boot}");
    assert!(rest[0].starts_with("file /pool/vms/web_cloudinit: iso"), "{rest:?}");
    assert!(rest[0].contains("mode 600"), "{rest:?}");
    assert!(
        rest[1].starts_with(&format!("file /pool/vms/web_data-vdb: qcow2, capacity {}", 10 * GIB)),
        "{rest:?}"
    );
    assert!(
        rest[2].starts_with(&format!("file /pool/vms/web_data-vdc: qcow2, capacity {}", 30 * GIB)),
        "{rest:?}"
    );
    assert_eq!(rest.len(), 3);
}

#[test]
fn progress_reads_as_in_the_design_document() {
    let bench = Bench::new();
    bench.create(&plan(WEB)).unwrap();
    assert_eq!(
        bench.told.done(),
        [
            "Configuration validated",
            "Domain defined",
            "Storage created (20 GiB boot + 40 GiB data)",
            "Cloud-init ISO generated",
            "VM started",
        ]
    );
}

/// What a reader of the record would find if foundry were killed right after the definition.
#[test]
fn the_record_is_whole_as_soon_as_there_is_a_domain() {
    let mut bench = Bench::new();
    bench
        .host
        .fail_at(first_call(&Bench::new(), "create_volume"), foundry::host::memory::Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    let record = bench.record("web");
    assert_eq!(record.state, RecordState::Creating);
    let planned: Vec<_> = record.volumes.iter().map(|v| (v.role, v.name.as_str(), v.path.as_str())).collect();
    assert_eq!(
        planned,
        [
            (VolumeRole::Boot, "web_boot", "/pool/vms/web_boot"),
            (VolumeRole::Data, "web_data-vdb", "/pool/vms/web_data-vdb"),
            (VolumeRole::Data, "web_data-vdc", "/pool/vms/web_data-vdc"),
            (VolumeRole::Seed, "web_cloudinit", "/pool/vms/web_cloudinit"),
        ]
    );
    assert_eq!(record.volumes[0].backing.as_deref(), Some("/pool/images/debian-12"));
    assert!(record.volumes[3].capacity.0 > 0, "the seed's size is known before it is made");
    assert_eq!(record.maker.pid, std::process::id());
    bench.next_run("web");
    bench.destroy("web", GENTLE).unwrap();
}

#[test]
fn the_record_holds_no_secret_and_says_which_there_are() {
    let bench = Bench::with_web();
    let record = bench.record("web");
    let text = record.to_text().unwrap();
    assert!(!text.contains(HASH) && !text.contains("token-of-the-user"), "{text}");
    let secrets: Vec<&str> = record.secrets.keys().map(String::as_str).collect();
    assert_eq!(secrets, ["spec.cloudInit.passwordHash", "spec.cloudInit.userData"]);
    let xml = bench
        .host
        .domain_xml(bench.host.uuid_of("web").unwrap(), foundry::host::View::Current)
        .unwrap()
        .unwrap();
    assert!(!xml.contains(HASH) && !xml.contains("token-of-the-user"));
}

/// FACTS 3: a record that is written to the running domain only is gone at its first power-off.
#[test]
fn the_record_says_created_in_the_definition_too() {
    let bench = Bench::with_web();
    assert_eq!(bench.record("web").state, RecordState::Created);
    bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(bench.record("web").state, RecordState::Created);
}

/// FACTS 2: a manifest with `&`, `<` and `]]>` in it reaches the record as it is.
#[test]
fn a_manifest_with_markup_in_it_is_created_and_remembered() {
    let bench = Bench::new();
    let vm =
        plan_with(WEB, &[("labels: {role: web}", "annotations: {note: 'a && b <replace-me> ]]> \"q\"'}")]);
    bench.create(&vm).unwrap();
    let kept = bench.record("web").manifest.metadata.annotations["note"].clone();
    assert_eq!(kept, "a && b <replace-me> ]]> \"q\"");
}

/// FACTS 42: another creation is another instance to cloud-init.
#[test]
fn the_instance_id_is_new_each_time() {
    let bench = Bench::with_web();
    let (first, uuid) = (bench.record("web").instance_id.unwrap(), bench.host.uuid_of("web"));
    bench.destroy("web", GENTLE).unwrap();
    bench.create(&plan(WEB)).unwrap();
    assert_ne!(bench.record("web").instance_id.unwrap(), first);
    assert_ne!(bench.host.uuid_of("web"), uuid, "a known UUID would replace a domain silently");
}

#[test]
fn a_small_vm_has_one_volume_and_no_seed() {
    let bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    let record = bench.record("small");
    assert_eq!(record.volumes.len(), 1);
    assert_eq!((record.instance_id, record.image), (None, None));
    assert!(!bench.host.domain("small").unwrap().unwrap().autostart);
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("upload") || c.starts_with("set_autostart")));
}

#[test]
fn a_raw_boot_disk_is_a_grown_copy_of_the_image() {
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[("image: debian-12}", "image: debian-12, format: raw}")])).unwrap();
    let boot = bench.host.volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap().unwrap();
    assert_eq!((boot.format.as_str(), boot.capacity.0, boot.backing), ("raw", 20 * GIB, None));
}

/// FACTS 13: what libvirt's listing or a name says of an image is not what its header says.
#[test]
fn the_overlay_names_the_images_real_format() {
    let host = host_with_neighbours().with_image("foundry-images", "ubuntu.img", "qcow2", GIB);
    let bench = Bench::on(host);
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: ubuntu.img")])).unwrap();
    assert_eq!(bench.record("web").volumes[0].backing.as_deref(), Some("/pool/images/ubuntu.img"));
}

#[test]
fn the_pool_is_made_on_first_use_and_started_where_it_is_stopped() {
    let images = || {
        MemoryHost::new()
            .with_image("foundry-images", "debian-12", "qcow2", GIB)
            .with_network("default", true)
    };
    for host in [images(), images().with_inactive_pool("foundry-vms", "/srv/vms")] {
        let bench = Bench::on(host.with_bridges(&[bridge("br0", false)]));
        bench.create(&plan(WEB)).unwrap();
        let pool = bench.host.pool("foundry-vms").unwrap().unwrap();
        assert!(pool.active);
        bench.destroy("web", GENTLE).unwrap();
        assert!(bench.host.pool("foundry-vms").unwrap().unwrap().active, "the pool stays");
    }
}

/// FACTS 24: building an existing directory changes its owner and mode.
#[test]
fn a_directory_that_exists_is_not_built() {
    let bench = Bench::on(host_with_neighbours().with_inactive_pool("foundry-vms", "/pool/vms"));
    bench.create(&plan(WEB)).unwrap();
    let calls = bench.host.calls();
    assert!(calls.contains(&"start_pool foundry-vms".to_owned()), "{calls:?}");
    assert!(!calls.iter().any(|c| c.starts_with("build_pool")), "{calls:?}");
}

#[test]
fn a_dry_run_shows_the_definition_and_changes_nothing() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    let xml = dry_run(&bench.context(), &plan(WEB)).unwrap().domain_xml;
    assert!(xml.contains("<name>web</name>") && xml.contains("/pool/vms/web_boot"), "{xml}");
    assert_eq!(bench.host.changes_since(&before), [] as [String; 0]);
}

/// FACTS 4: what exists under a planned name is somebody's, before, during and after.
#[test]
fn a_volume_of_a_planned_name_is_refused_and_untouched() {
    for name in ["web_boot", "web_data-vdc", "web_cloudinit"] {
        let bench = Bench::on(host_with_neighbours().with_image("foundry-vms", name, "qcow2", GIB));
        let before = bench.host.fingerprint();
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage, "{error}");
        assert!(error.text().contains(&format!("volume '{name}' exists in pool 'foundry-vms'")), "{error}");
        assert_eq!(bench.host.changes_since(&before), [] as [String; 0]);
    }
}

/// libvirt shows the volumes of a stopped pool only once it is started: then they are looked for again.
#[test]
fn a_volume_in_a_stopped_pool_is_found_before_the_domain_is_defined() {
    let host = host_with_neighbours().with_image("foundry-vms", "web_data-vdc", "qcow2", GIB);
    host.stop_pool("foundry-vms").unwrap();
    let bench = Bench::on(host);
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    assert!(error.text().contains("volume 'web_data-vdc' exists in pool 'foundry-vms'"), "{error}");
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("define_domain")));
}

/// A file that libvirt has not seen is found by the look before the creation; one that comes after that look
/// is in the creation's way.
#[test]
fn a_file_that_libvirt_does_not_know_is_in_the_way_and_stays() {
    let bench = Bench::on(host_with_neighbours().with_file("/pool/vms/web_data-vdc", b"precious"));
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(error.text().contains("volume 'web_data-vdc' exists in pool 'foundry-vms'"), "{error}");
    assert_eq!(bench.host.changes_since(&before), [] as [String; 0]);
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);

    let at = first_call(&Bench::new(), "define_domain");
    let bench = Bench::new();
    bench.host.on_call(at, |host| host.put_file("/pool/vms/web_data-vdc", b"precious"));
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage, "{}", whole(&error));
    assert_eq!(bench.host.content("/pool/vms/web_data-vdc").unwrap(), b"precious");
    assert_eq!(error.outcome_texts(), ["everything that was made is removed again"]);
    bench.host.remove_file("/pool/vms/web_data-vdc");
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), [] as [String; 0]);
}

/// The number of the first call of a clean creation whose name begins so.
fn first_call(bench: &Bench, verb: &str) -> usize {
    bench.create(&plan(WEB)).unwrap();
    bench.host.calls().iter().position(|c| c.starts_with(verb)).unwrap()
}
