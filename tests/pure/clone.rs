//! Copying a VM: what the copy has of its own and what it has of the original, refusals, and a fault at every call.

mod linked;

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, host_with_neighbours, whole};
use crate::support::faults::{assert_named, each_due_fault, shape};
use crate::support::manifests::{HASH, SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::cloud_init::{SeedFiles, read_iso};
use foundry::host::{DomainState, Domains, Pools, Transfers, View, Zeros};
use foundry::operations::vm::clone::{CloneDisks, CloneRequest, clone_vm};
use foundry::operations::vm::create::CreatedVm;
use foundry::operations::vm::seed::{eject_seed, plan_eject};
use foundry::plan::CloneIdentity;
use foundry::record::{RecordState, VolumeRef};
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];
/// The disks of `web`, and where each has a word of its guest's: on the first one, behind what is copied first.
const DISKS: [(&str, u64); 3] = [("web_boot", 257 << 10), ("web_data-vdb", 5000), ("web_data-vdc", 3)];

fn request(name: &str, addresses: &[&str]) -> CloneRequest {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    let identity = CloneIdentity { name: name.parse().unwrap(), addresses };
    CloneRequest { identity, network_config: None, disks: CloneDisks::Copied }
}

fn clone(bench: &Bench) -> Result<CreatedVm, Error> {
    clone_vm(&bench.context(), "web", &request("www", &["10.0.0.2"]))
}

/// With `web`, which is off; one of its data disks is raw.
fn off() -> Bench {
    let mut bench = Bench::on(host_with_neighbours().with_events());
    let raw = plan_with(WEB, &[("{device: vdc, sizeGB: 30}", "{device: vdc, sizeGB: 3, format: raw}")]);
    bench.create(&raw).unwrap();
    bench.host.force_off(bench.host.uuid_of("web").unwrap()).unwrap();
    for (disk, at) in DISKS {
        let volume = VolumeRef::new("foundry-vms", disk);
        bench.host.upload(&volume, &mut disk.as_bytes(), at, disk.len() as u64, Zeros::Written).unwrap();
    }
    bench.host.refresh_pool("foundry-vms").unwrap();
    bench.next_operation();
    bench.start = Some(bench.host.fingerprint());
    bench.told.forget();
    bench.host.forget_calls();
    bench
}

/// Each disk of the VM has the words that the guest of `web` wrote.
#[track_caller]
fn assert_has_words(bench: &Bench, vm: &str, label: &str) {
    for (disk, at) in DISKS {
        let path = format!("/pool/vms/{}", disk.replace("web_", &format!("{vm}_")));
        let content = bench.host.content(&path).unwrap_or_else(|| panic!("{label}: {path} is missing"));
        let at = usize::try_from(at).unwrap();
        let word = content.get(at..at + disk.len()).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(word), disk, "{label}: {path}");
    }
}

#[track_caller]
fn assert_copied(bench: &Bench, label: &str) {
    assert_has_words(bench, "web", label);
    assert_has_words(bench, "www", label);
}

fn seed_of(bench: &Bench, vm: &str) -> SeedFiles {
    read_iso(&bench.host.content(&format!("/pool/vms/{vm}_cloudinit")).unwrap()).unwrap()
}

#[test]
fn a_copy_has_the_content_and_an_identity_of_its_own() {
    let bench = off();
    let created = clone(&bench).unwrap();
    assert_copied(&bench, "");
    let (old, new) = (bench.record("web"), bench.record("www"));
    assert_eq!((new.domain, new.state, new.generation), (created.uuid, RecordState::Created, 1));
    assert_eq!(new.manifest.metadata.labels, old.manifest.metadata.labels);
    let spec = &new.manifest.spec;
    assert_eq!(spec.network_interfaces[0].ip.as_deref(), Some("10.0.0.2/24"));
    assert_eq!(spec.cloud_init.as_ref().unwrap().fqdn.as_deref(), Some("www.example.com"));
    assert_eq!(spec.storage_pool, old.manifest.spec.storage_pool);
    assert_eq!((&new.image, &new.image_origin), (&old.image, &old.image_origin));
    assert_ne!(new.instance_id, old.instance_id);
    assert_ne!(new.ssh.as_ref().unwrap().host_keys, old.ssh.as_ref().unwrap().host_keys);
    assert_ne!(new.console_log, old.console_log);
    let volume = |record: &foundry::record::Record, n: usize| {
        let volume = record.volumes[n].clone();
        (volume.role, volume.format, volume.capacity, volume.backing)
    };
    for n in 0..3 {
        assert_eq!(volume(&new, n), volume(&bench.record("web"), n));
    }
    let described = |vm| bench.host.describe(bench.host.uuid_of(vm).unwrap(), View::Config).unwrap().unwrap();
    let (old, new) = (described("web"), described("www"));
    assert_ne!(old.interfaces[0].mac, new.interfaces[0].mac);
    assert_ne!(old.interfaces[0].target, new.interfaces[0].target);
    assert_eq!(new.disks[0].backing_chain, ["/pool/images/debian-12"]);
    assert_eq!(new.disks[0].backing_format, old.disks[0].backing_format);
    assert_eq!(bench.host.domain("www").unwrap().unwrap().state, DomainState::Running);
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::ShutOff);
    assert_eq!(bench.told.warnings(), NOTHING);
    // What was made goes with each.
    bench.destroy("www", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
}

/// The seed of the copy has the secrets, another instance id, and the copy's own names.
#[test]
fn a_copy_keeps_the_secrets_and_has_its_own_names() {
    let bench = off();
    clone(&bench).unwrap();
    let (old, new) = (seed_of(&bench, "web"), seed_of(&bench, "www"));
    for said in [HASH, "token-of-the-user", "hostname: www\n", "fqdn: www.example.com"] {
        assert!(new.user_data.contains(said), "{said} is not in\n{}", new.user_data);
    }
    assert!(!new.user_data.contains("web"), "{}", new.user_data);
    assert_ne!(new.meta_data, old.meta_data);
    assert!(new.meta_data.contains("www-"), "{}", new.meta_data);
    assert!(new.network_config.contains("10.0.0.2/24") && !new.network_config.contains("10.0.0.1/24"));
    assert_ne!(new.vendor_data, old.vendor_data);
    let record = serde_json::to_string(&bench.record("www")).unwrap();
    assert!(!record.contains(HASH) && !record.contains("token-of-the-user"));
    // A copy of the copy is one, too.
    bench.host.force_off(bench.host.uuid_of("www").unwrap()).unwrap();
    clone_vm(&bench.context(), "www", &request("third", &["10.0.0.3"])).unwrap();
    assert!(seed_of(&bench, "third").user_data.contains("hostname: third\n"));
    assert!(seed_of(&bench, "third").user_data.contains(HASH));
}

#[test]
fn a_vm_with_dhcp_and_without_a_seed_is_copied() {
    let mut bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    bench.host.force_off(bench.host.uuid_of("small").unwrap()).unwrap();
    bench.next_operation();
    clone_vm(&bench.context(), "small", &request("tiny", &[])).unwrap();
    let mac = |vm| {
        let described = bench.host.describe(bench.host.uuid_of(vm).unwrap(), View::Config).unwrap().unwrap();
        described.interfaces[0].mac.clone()
    };
    assert_ne!(mac("small"), mac("tiny"));
    assert!(!bench.host.domain("tiny").unwrap().unwrap().autostart);
}

/// A disk that grew after the creation has its present size in the copy, and an attached one is copied.
#[test]
fn a_copy_has_the_disks_that_the_vm_has_now() {
    use crate::support::bench::disk_request;
    use foundry::operations::disk::{attach, resize};
    use foundry::units::{Bytes, SizeRequest};
    let mut bench = off();
    resize(&bench.context(), "web", "vdb", SizeRequest::To(Bytes(11 * GIB))).unwrap();
    attach(&bench.context(), &disk_request("web", 5)).unwrap();
    bench.next_operation();
    clone(&bench).unwrap();
    let record = bench.record("www");
    let sizes: Vec<u64> = record.volumes[..4].iter().map(|volume| volume.capacity.0 / GIB).collect();
    assert_eq!(sizes, [20, 11, 3, 5]);
    let wanted = foundry::operations::change::recorded_manifest(&bench.context(), "www").unwrap();
    let manifest = wanted.manifest.clone();
    let wanted = wanted.with_manifest(&bench.context(), manifest).unwrap();
    assert_eq!(foundry::operations::change::diff_vm(&bench.context(), &wanted).unwrap(), Some(Vec::new()));
}

#[test]
fn what_cannot_be_copied_is_refused_before_anything() {
    type Prepare = fn(&Bench);
    let copy: CloneRequest = request("www", &["10.0.0.2"]);
    let cases: [(Prepare, CloneRequest, Code, &str); 11] = [
        (|b| b.host.set_state("web", DomainState::Running), copy.clone(), Code::VmRuns, "foundry stop web"),
        (|b| b.host.save("web"), copy.clone(), Code::SavedMemoryInTheWay, "foundry start web"),
        (|_| {}, request("www", &[]), Code::AddressTaken, "foundry clone web www --ip ADDRESS/24"),
        (|_| {}, request("www", &["10.0.0.2", "10.0.0.3"]), Code::Contradiction, "has 1 fixed ones"),
        (|_| {}, request("www", &["10.0.0.1"]), Code::AddressTaken, "VM 'web' already has the address"),
        (|_| {}, request("www", &["10.0.0.256"]), Code::AddressUnfit, "10.0.0.256"),
        (|_| {}, request("other", &["10.0.0.2"]), Code::NameTaken, "a domain 'other' exists"),
        (|_| {}, request("web", &["10.0.0.2"]), Code::NameTaken, "VM 'web' exists"),
        (|b| b.host.set_snapshots("web", &["one"]), copy.clone(), Code::SnapshotInTheWay, "has snapshots"),
        (
            |b| {
                let seed = plan_eject(&b.context(), "web", true).unwrap().unwrap();
                eject_seed(&b.context(), &seed).unwrap();
            },
            copy.clone(),
            Code::SeedUnreadable,
            "the copy needs spec.cloudInit.passwordHash, spec.cloudInit.userData",
        ),
        (
            |b| b.host.take_space(b.host.pool("foundry-vms").unwrap().unwrap().available.0 - (2 << 20)),
            copy.clone(),
            Code::OutOfSpace,
            "has 2 MiB left",
        ),
    ];
    for (prepare, request, code, said) in cases {
        let bench = off();
        prepare(&bench);
        let before = bench.host.fingerprint();
        let error = clone_vm(&bench.context(), "web", &request).unwrap_err();
        assert_eq!(error.code(), code, "{}", whole(&error));
        for said in [said, "nothing was changed"] {
            assert!(whole(&error).contains(said), "{said}: {}", whole(&error));
        }
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{said}");
    }
}

/// A start that foundry's lock does not hold off: the copy may be torn, and goes.
#[test]
fn a_vm_that_is_started_meanwhile_is_not_copied() {
    let bench = off();
    clone(&bench).unwrap();
    let calls = bench.host.calls();
    let copied = calls.iter().position(|call| call.starts_with("upload")).unwrap();
    for stops_again in [false, true] {
        let bench = off();
        let uuid = bench.host.uuid_of("web").unwrap();
        bench.host.on_call(copied, move |host| {
            host.start(uuid).unwrap();
            if stops_again {
                host.force_off(uuid).unwrap();
            }
        });
        let error = clone(&bench).unwrap_err();
        assert_eq!(error.code(), Code::ChangedMeanwhile, "{}", whole(&error));
        bench.host.force_off(uuid).unwrap();
        assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    }
}

/// `destroy` of the original leaves the copy alone, and the other way round.
#[test]
fn a_copy_does_not_depend_on_the_original() {
    let bench = off();
    clone(&bench).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    let uuid = bench.host.uuid_of("www").unwrap();
    bench.host.force_off(uuid).unwrap();
    bench.host.start(uuid).unwrap();
    assert_has_words(&bench, "www", "");
}

fn before_and_now(bench: &Bench) -> Vec<String> {
    bench.host.changes_since(bench.start.as_ref().unwrap())
}

/// Whatever goes wrong at whichever call: nothing is left, or exactly what the error names, and `destroy` removes that;
/// the original is as it was, and the same again makes the copy. After a kill, it replaces what is left.
#[test]
fn a_copy_that_fails_at_any_call_leaves_nothing_or_says_what() {
    let wanted = {
        let bench = off();
        clone(&bench).unwrap();
        shape(&bench.host)
    };
    let faults = each_due_fault(off, clone, |bench, outcome, effect, label| {
        let Err(error) = outcome else {
            assert_eq!(shape(&bench.host), wanted, "{label}: it says that all went well");
            return;
        };
        let left = before_and_now(bench);
        assert_named(&left, &error, label);
        if !left.is_empty() {
            bench.next_run("www");
        }
        bench.next_operation();
        if effect.breaks_connection() {
            if let Err(e) = clone(bench) {
                // From the mark on it is whole, started or not.
                assert_eq!(bench.record("www").state, RecordState::Created, "{label}: {}", whole(&e));
                assert!(e.text().contains("VM 'www' exists"), "{label}: {}", whole(&e));
            }
            return assert_copied(bench, label);
        }
        if !left.is_empty() {
            bench.destroy("www", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        }
        assert_eq!(before_and_now(bench), NOTHING, "{label}");
        clone(bench).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert_eq!(shape(&bench.host), wanted, "{label}");
        assert_copied(bench, label);
    });
    assert!(faults > 40, "{faults}");
}

#[test]
fn ctrl_c_at_every_call_leaves_nothing_unless_the_copy_runs() {
    let clean = off();
    clone(&clean).unwrap();
    let calls = clean.host.calls();
    for (n, call) in calls.iter().enumerate() {
        let bench = off();
        let cancel = bench.cancel.clone();
        bench.host.on_call(n, move |_| cancel.request());
        let outcome = clone(&bench);
        if calls[..=n].iter().any(|call| call.starts_with("start ")) {
            outcome.unwrap();
            continue;
        }
        let error = outcome.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "at {call}: {}", whole(&error));
        assert_eq!(before_and_now(&bench), NOTHING, "at {call}");
    }
}
