//! The manifest that `get` prints: it can be created again, and its secrets come from the seed.

use super::{addresses, see, status};
use crate::support::bench::{Bench, foreign, host_with_neighbours, whole};
use crate::support::manifests::{HASH, KEY, SMALL, WEB, plan, plan_with};
use foundry::host::{Transfers, Volumes};
use foundry::manifest::{self};
use foundry::operations::Settings;
use foundry::operations::vm::inspect::list_vms;
use foundry::operations::vm::seed_content::add_secrets;
use foundry::plan::VmPlan;
use foundry::record::{METADATA_NAMESPACE, VolumeRef};
use foundry::{Kind, cloud_init, yaml};

/// What `get -o yaml --with-secrets` prints, `create` takes: the same VM comes of it, secrets included.
#[test]
fn what_get_prints_can_be_created_again() {
    let raw = "rawUserData: \"#cloud-config\\nruncmd: [\\\"echo token-of-the-user\\\"]\\n\"";
    // What a carriage return, a tab, a form feed and an escape are in YAML: all but one must be written as escapes.
    let odd = r##"rawUserData: "#!/bin/sh\r\n\techo token-of-the-user\f\e[0m\x08\x7f \n""##;
    let network = "networkConfig: {network: {version: 2, wifis: {w: {access-points: {home: {password: token-of-the-user}}}}}}";
    let text = r##"networkConfig: "# mine\r\nversion:   1\r\nconfig: [{type: loopback, name: 'token-of-the-user'}]\n""##;
    for vm in [plan(WEB), raw_plan(raw), raw_plan(odd), raw_plan(network), raw_plan(text), plan(SMALL)] {
        let bench = Bench::new();
        bench.create(&vm).unwrap();
        let mut seen = see(&bench, vm.name.as_str());
        let shown = yaml::write(&seen.vm).unwrap();
        assert!(!shown.contains(HASH) && !shown.contains("token-of-the-user"), "{shown}");
        assert_eq!(shown.contains("secretsLeftOut"), vm.name.as_str() == "web");
        add_secrets(&bench.context(), &mut seen).unwrap();
        let text = yaml::write(&seen.vm).unwrap();
        let again = &manifest::load_text(&text, "get.yaml").unwrap()[0];
        let again = VmPlan::from_manifest(again, &Settings::default().defaults(None)).unwrap();
        let documents =
            |plan: &VmPlan| plan.seed.as_ref().map(|s| cloud_init::build_seed_files(plan, s, "id").unwrap());
        assert_eq!(documents(&again), documents(&vm), "{text}");
        assert!(status(&seen).secrets_left_out.is_empty(), "{text}");
        let hardware = |plan: &VmPlan| {
            let VmPlan { vcpus, memory, boot_disk, data_disks, interfaces, .. } = plan.clone();
            (vcpus, memory, boot_disk, data_disks, interfaces)
        };
        assert_eq!(hardware(&again), hardware(&vm));
    }
}

fn raw_plan(raw: &str) -> VmPlan {
    let old = "sshAuthorizedKeys: [KEY]\n    passwordHash: HASH\n    userData: {runcmd: [\"echo token-of-the-user\"]}";
    let text = WEB.replace(old, raw);
    assert_ne!(text, WEB);
    plan_with(&text, &[])
}

#[test]
fn secrets_that_cannot_be_read_are_an_error_and_not_left_out() {
    type Spoil = fn(&Bench);
    let cases: [(&str, Spoil); 3] = [
        ("is gone", |bench| {
            bench.host.delete_volume(&VolumeRef::new("foundry-vms", "web_cloudinit")).unwrap()
        }),
        ("", |bench| {
            let mut junk: &[u8] = &[b'x'; 40_000];
            bench
                .host
                .upload_all(&VolumeRef::new("foundry-vms", "web_cloudinit"), &mut junk, 40_000)
                .unwrap();
        }),
        ("more than a seed can have", |bench| {
            bench
                .host
                .resize_volume(
                    &VolumeRef::new("foundry-vms", "web_cloudinit"),
                    foundry::units::Bytes(1 << 30),
                )
                .unwrap();
        }),
    ];
    for (cause, spoil) in cases {
        let bench = Bench::with_web();
        spoil(&bench);
        let error = add_secrets(&bench.context(), &mut see(&bench, "web")).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Storage, "the seed of VM 'web' cannot be read"));
        assert!(error.cause().unwrap().contains(cause), "{}", whole(&error));
    }
}

#[test]
fn a_vm_of_the_first_foundry_is_managed_and_its_secrets_are_shown_on_demand_only() {
    let yaml = WEB.replace("KEY", KEY).replace("HASH", HASH).replace("name: web,", "name: old,");
    let yaml = yaml.replace('&', "&amp;").replace('<', "&lt;");
    let record =
        format!("<metadata><f:metadata xmlns:f='{METADATA_NAMESPACE}'>{yaml}</f:metadata></metadata><memory");
    let xml = foreign("old", "/pool/vms/old_boot.qcow2").replace("<memory", &record);
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&xml));
    let mut seen = see(&bench, "old");
    assert!(status(&seen).managed);
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash", "spec.cloudInit.userData"]);
    assert!(!yaml::write(&seen.vm).unwrap().contains(HASH));
    assert_eq!(addresses(&seen), [("10.0.0.1", "manifest")]);
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().password_hash.as_deref(), Some(HASH));
    assert!(status(&seen).secrets_left_out.is_empty());
}

#[test]
fn a_record_that_cannot_be_read_is_managed_all_the_same() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["version"] = 99.into());
    let seen = see(&bench, "web");
    assert!(status(&seen).managed, "it is foundry's, of whichever version");
    assert_eq!(seen.domain.vcpus, 2);
    assert_eq!((seen.record(), seen.managed_word()), (None, "unreadable"));
    let listed =
        list_vms(&bench.context(), true).unwrap().into_iter().find(|s| s.domain.name == "web").unwrap();
    for seen in [&seen, &listed] {
        let condition = &status(seen).conditions[1];
        assert_eq!((condition.kind.as_str(), condition.status.as_str()), ("Recorded", "False"));
        assert_eq!(condition.reason, "RecordUnreadable");
        assert!(condition.message.contains("newer foundry"), "{}", condition.message);
    }
}

/// A hash beside raw user-data reaches no seed: it cannot come back, and that is said.
#[test]
fn a_secret_that_does_not_come_back_stays_left_out() {
    let raw = "passwordHash: HASH\n    rawUserData: \"#cloud-config\\nruncmd: [\\\"echo token\\\"]\\n\"";
    let bench = Bench::new();
    bench.create(&raw_plan(raw)).unwrap();
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash"]);
    let cloud_init = seen.vm.spec.cloud_init.as_ref().unwrap();
    assert!(cloud_init.raw_user_data.as_ref().unwrap().contains("echo token"));
    assert_eq!(cloud_init.password_hash, None);
}

/// It is known in the seed by its digest, which is of what the seed has: without the `network` around it.
#[test]
fn a_network_config_comes_back_as_the_seed_has_it_or_not_at_all() {
    let own = "networkConfig: {network: {version: 2, ethernets: {a: {dhcp4: on}}}}";
    let bench = Bench::new();
    bench.create(&raw_plan(own)).unwrap();
    let mut seen = see(&bench, "web");
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.networkConfig"]);
    assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().network_config, None);
    add_secrets(&bench.context(), &mut seen).unwrap();
    let found = seen.vm.spec.cloud_init.as_ref().unwrap().network_config.clone();
    assert_eq!(found.as_deref(), Some("version: 2\nethernets:\n  a:\n    dhcp4: on\n"));
    bench.edit_record("web", |record| record["secrets"]["spec.cloudInit.networkConfig"] = "sha256:0".into());
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.networkConfig"]);
}

/// Somebody wrote another seed meanwhile: what is in it is not what was given.
#[test]
fn another_secret_than_the_recorded_is_left_out() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["secrets"]["spec.cloudInit.passwordHash"] = "sha256:0".into());
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash"]);
}

/// The metadata is for everybody who may look: of two equal VMs the digests differ, and neither is one that could be made of
/// a guess. What is in the seed is still known by them, and by an older record's without a salt.
#[test]
fn digests_of_the_record_do_not_let_a_reader_try_guesses() {
    let pin = "#cloud-config\npassword: 1234\n";
    let raw = "rawUserData: \"#cloud-config\\npassword: 1234\\n\"";
    let recorded =
        |bench: &Bench| see(bench, "web").record().unwrap().secrets["spec.cloudInit.rawUserData"].clone();
    let benches = [Bench::new(), Bench::new()];
    for bench in &benches {
        bench.create(&raw_plan(raw)).unwrap();
        let mut seen = see(bench, "web");
        let text = format!("{:?} {}", seen.record(), seen.domain.record.as_ref().unwrap());
        assert!(!text.contains(&foundry::record::digest_of(pin)) && !text.contains("salt: "), "{text}");
        add_secrets(&bench.context(), &mut seen).unwrap();
        assert!(status(&seen).secrets_left_out.is_empty());
        assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().raw_user_data.as_deref(), Some(pin));
    }
    let [one, two] = benches;
    assert_ne!(recorded(&one), recorded(&two));
    let old = foundry::record::digest_of(pin);
    one.edit_record("web", |record| record["secrets"]["spec.cloudInit.rawUserData"] = old.clone().into());
    let mut seen = see(&one, "web");
    add_secrets(&one.context(), &mut seen).unwrap();
    assert!(status(&seen).secrets_left_out.is_empty(), "as an older foundry recorded it");
}
