//! Warm images: made once, and VMs that start from their memory; refusals, faults at every call, and what a kill leaves.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Guest, MemoryHost};
use foundry::host::{AgentAnswer, DomainState, Domains, HostInfo, Machine, View, Volumes};
use foundry::operations::gc::{LeftoverAction, execute_cleanup, find_leftovers};
use foundry::operations::image::{delete_image, list_images};
use foundry::operations::vm::clone::{CloneDisks, CloneRequest, clone_vm};
use foundry::operations::vm::create::create_vm;
use foundry::operations::vm::power::StopOptions;
use foundry::operations::vm::repave::{RepaveRequest, RepaveSource, plan_repave};
use foundry::operations::warm::{WarmRequest, warm_image, warm_view};
use foundry::plan::{CloneIdentity, VmPlan};
use foundry::record::{RecordState, VolumeRef};
use foundry::{Code, Error, Kind, manifest};
use serde_json::{Value, json};

use crate::support::bench::{Bench, FORCE, host_with_neighbours, whole};
use crate::support::faults::{each_due_fault, each_fault};

const BASE: &str = "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
spec:
  vcpus: 2
  memoryGiB: 1
  bootDisk: {sizeGiB: 4, image: debian-12}
  networkInterfaces: [{network: default}]
";
/// The files of a warm image.
const PARTS: [&str; 3] = ["ci.qcow2", "ci.qcow2.memory", "ci.qcow2.warm.json"];

fn request(changes: &[(&str, &str)]) -> WarmRequest {
    let text = changes.iter().fold(BASE.to_owned(), |text, (old, new)| text.replace(old, new));
    WarmRequest {
        image: VolumeRef::new("foundry-images", "ci.qcow2"),
        manifest: Some(manifest::load_text(&text, "test").unwrap().remove(0)),
        timeout: Duration::from_secs(300),
    }
}

fn again() -> WarmRequest {
    WarmRequest { manifest: None, ..request(&[]) }
}

/// A VM from the warm image.
fn warm_plan(name: &str, changes: &[(&str, &str)]) -> VmPlan {
    let text = BASE.replace("image: debian-12", "warm: ci");
    let text = text.replace("spec:", &format!("metadata: {{name: {name}}}\nspec:"));
    let text = changes.iter().fold(text, |text, (old, new)| text.replace(old, new));
    let manifest = manifest::load_text(&text, "test").unwrap().remove(0);
    VmPlan::from_manifest(&manifest, &Bench::new().settings.defaults(None)).unwrap()
}

/// An agent of a guest in which cloud-init is done, and whose scripts succeed.
fn answer(command: &str) -> AgentAnswer {
    let asked: Value = serde_json::from_str(command).unwrap();
    let returned = match asked["execute"].as_str().unwrap() {
        "guest-file-open" => json!(1),
        "guest-file-read" => {
            let result = r#"{"v1": {"errors": []}}"#;
            json!({"count": result.len(), "buf-b64": STANDARD.encode(result), "eof": true})
        }
        "guest-file-write" => {
            json!({"count": STANDARD.decode(asked["arguments"]["buf-b64"].as_str().unwrap()).unwrap().len()})
        }
        "guest-exec" => {
            let script = asked["arguments"]["arg"][1].as_str().unwrap();
            json!({"pid": if script.contains("mktemp") { 1 } else if script.contains("renewed") { 2 } else { 3 }})
        }
        "guest-exec-status" => {
            let said = ["", "/run/foundry-warm.abc\n", "renewed\n", "settled\n"];
            let said = said[asked["arguments"]["pid"].as_u64().unwrap() as usize];
            json!({"exited": true, "exitcode": 0, "out-data": STANDARD.encode(said)})
        }
        _ => json!({}),
    };
    AgentAnswer::Returned(json!({ "return": returned }).to_string())
}

fn guests(host: MemoryHost) -> MemoryHost {
    let named = ["ci-warming", "one", "two"];
    named.into_iter().fold(host, |host, name| host.with_guest(name, Guest::new().agent(answer)))
}

fn fresh() -> Bench {
    Bench::on(guests(host_with_neighbours()))
}

/// A bench with a warm image.
fn with_warm() -> Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    let made = BENCH.get_or_init(|| {
        let bench = fresh();
        warm_image(&bench.context(), &request(&[])).unwrap_or_else(|e| panic!("{}", whole(&e)));
        bench
    });
    made.fork()
}

fn files_of(bench: &Bench) -> Vec<String> {
    bench.host.files().into_iter().filter(|path| path.contains("/ci") || path.contains("warming")).collect()
}

fn live(bench: &Bench, name: &str) -> DomainDescription {
    let uuid = bench.host.uuid_of(name).unwrap();
    DomainDescription::read(&bench.host.domain_xml(uuid, View::Current).unwrap().unwrap()).unwrap()
}

fn refusal(outcome: Result<impl std::fmt::Debug, Error>, code: Code) -> String {
    let error = outcome.unwrap_err();
    let text = whole(&error);
    assert!(error.code() == code || error.issues().iter().any(|issue| issue.code == code), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    text
}

#[test]
fn image_has_disk_memory_and_note_and_the_vm_is_gone() {
    let bench = with_warm();
    assert_eq!(files_of(&bench), PARTS.map(|part| format!("/pool/images/{part}")));
    assert_eq!(bench.host.domain("ci-warming").unwrap(), None);
    let context = bench.context();
    let shown = list_images(&context, "foundry-images").unwrap();
    let image = shown.iter().find(|image| image.name.starts_with("ci")).unwrap();
    assert_eq!((image.name.as_str(), &image.backing), ("ci.qcow2", &None));
    let view = warm_view(&context, image).unwrap().unwrap();
    assert_eq!(view.problem, None);
    assert_eq!(view.note.base.reference, "foundry-images:debian-12");
    assert_eq!(view.note.machine.qemu, 10_000_002);
}

#[test]
fn vms_from_one_image_differ_in_all_that_identifies_them() {
    let bench = with_warm();
    for name in ["one", "two"] {
        create_vm(&bench.context(), &warm_plan(name, &[])).unwrap_or_else(|e| panic!("{}", whole(&e)));
        let record = bench.record(name);
        assert_eq!((record.state, record.has_memory()), (RecordState::Created, false));
        assert_eq!(record.ssh.unwrap().host_keys.len(), 1);
        let now = live(&bench, name);
        assert_eq!((now.name.as_str(), now.uuid), (name, bench.host.uuid_of(name)));
        assert_eq!(now.disk("vda").unwrap().backing_chain, ["/pool/images/ci.qcow2"]);
        let uuid = bench.host.uuid_of(name).unwrap();
        let xml = bench.host.domain_xml(uuid, View::Current).unwrap().unwrap();
        assert!(xml.contains("<link state='up'/>") && !xml.contains("warming"), "{xml}");
        assert!(bench.host.domain(name).unwrap().unwrap().autostart);
    }
    let mac = |name| live(&bench, name).interfaces[0].mac.clone();
    assert_ne!(mac("one"), mac("two"));
    assert_ne!(bench.record("one").ssh, bench.record("two").ssh);
    assert!(!bench.host.files().iter().any(|path| path.ends_with("_memory")));
    refusal(delete_image(&bench.context(), &again().image), Code::ImageInUse);
    refusal(warm_image(&bench.context(), &again()), Code::ImageInUse);
    for name in ["one", "two"] {
        bench.destroy(name, FORCE).unwrap();
    }
    warm_image(&bench.context(), &again()).unwrap();
    delete_image(&bench.context(), &again().image).unwrap();
    assert_eq!(files_of(&bench), Vec::<String>::new());
}

/// Nothing would make a copy, or a new boot disk, another machine.
#[test]
fn vms_without_a_seed_are_neither_copied_nor_repaved() {
    let bench = with_warm();
    create_vm(&bench.context(), &warm_plan("one", &[])).unwrap();
    let stop = StopOptions { force: true, timeout: Duration::ZERO };
    let source = RepaveSource::Recorded;
    let repaved = plan_repave(&bench.context(), &RepaveRequest { vm: "one", source, stop, wait: None });
    assert!(refusal(repaved, Code::SeedMissing).contains("has no seed for a new boot disk"));
    bench.host.force_off(bench.host.uuid_of("one").unwrap()).unwrap();
    let identity = CloneIdentity { name: "two".parse().unwrap(), addresses: Vec::new() };
    let request = CloneRequest { identity, network_config: None, disks: CloneDisks::Copied };
    let copied = clone_vm(&bench.context(), "one", &request);
    assert!(refusal(copied, Code::SeedMissing).contains("cannot be copied"));
}

/// The link stays down until the guest is itself.
#[test]
fn a_guest_that_does_not_take_its_identity_has_no_link_and_is_deleted() {
    let bench = with_warm();
    let before = bench.host.fingerprint();
    bench.host.set_guest(
        "one",
        Guest::new().agent(|command| match answer(command) {
            AgentAnswer::Returned(_) if command.contains("guest-exec\"") => {
                AgentAnswer::Refused("disabled".into())
            }
            other => other,
        }),
    );
    let error = create_vm(&bench.context(), &warm_plan("one", &[])).unwrap_err();
    assert_eq!(error.code(), Code::WarmStartFailed, "{}", whole(&error));
    assert!(!bench.host.calls().iter().any(|call| call.starts_with("update_interface_now")));
    assert_eq!(bench.host.changes_since(&before), Vec::<String>::new());
}

#[test]
fn other_machines_and_other_sizes_are_refused() {
    let upgraded = Machine { hypervisor_version: 10_001_000, ..with_warm().host.machine().unwrap() };
    let mut bench = with_warm();
    bench.host = bench.host.with_machine(upgraded);
    let text = refusal(create_vm(&bench.context(), &warm_plan("one", &[])), Code::WarmImageUnfit);
    assert!(text.contains("its QEMU was 10.0.2, and here it is 10.1.0"), "{text}");
    assert!(text.contains("foundry image warm ci.qcow2"), "{text}");
    let bench = with_warm();
    let other = warm_plan("one", &[("vcpus: 2", "vcpus: 4"), ("memoryGiB: 1", "memoryGiB: 2")]);
    let text = refusal(create_vm(&bench.context(), &other), Code::WarmImageUnfit);
    assert!(text.contains("spec.vcpus is 4, but warm image 'ci.qcow2' was made with 2"), "{text}");
    assert!(text.contains("set spec.memoryGiB to 1 GiB"), "{text}");
    let plain = warm_plan("one", &[("warm: ci", "warm: debian-12")]);
    let text = refusal(create_vm(&bench.context(), &plain), Code::WarmImageUnfit);
    assert!(text.contains("is no warm image"), "{text}");
}

#[test]
fn damaged_memory_is_refused_before_any_change() {
    let path = "/pool/images/ci.qcow2.memory";
    for (damage, said) in [
        (&b"QFI\xfb"[..], "does not begin as libvirt's files"),
        (&b"LibvirtQemudPart"[..], "is not complete"),
        (&b"LibvirtQemudSave\x02\0\0\0\xff\xff\xff\xff"[..], "is damaged"),
        (&b"LibvirtQemudSave\x02\0\0\0\x10\0\0\0\x01\0\0\0\x01\0\0\0"[..], "compressed"),
    ] {
        let bench = with_warm();
        let mut bytes = bench.host.content(path).unwrap();
        bytes[..damage.len()].copy_from_slice(damage);
        bench.host.put_file(path, &bytes);
        let text = refusal(create_vm(&bench.context(), &warm_plan("one", &[])), Code::WarmImageUnfit);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn manifests_that_no_memory_can_honour_are_refused() {
    let judged = |changes: &[(&str, &str)]| {
        let text =
            BASE.replace("image: debian-12", "warm: ci").replace("spec:", "metadata: {name: one}\nspec:");
        let text = changes.iter().fold(text, |text, (old, new)| text.replace(old, new));
        let manifest = manifest::load_text(&text, "test").unwrap().remove(0);
        VmPlan::from_manifest(&manifest, &Bench::new().settings.defaults(None))
    };
    let network = "[{network: default}]";
    for (change, path) in [
        (
            (network, "[{network: default}]\n  cloudInit: {userData: {runcmd: [x]}}"),
            "spec.cloudInit.userData",
        ),
        ((network, "[{network: default}]\n  dataDisks: [{device: vdb, sizeGiB: 1}]"), "spec.dataDisks"),
        ((network, "[{network: default}]\n  graphics: {}"), "spec.graphics"),
        ((network, "[{network: default, ip: 10.0.0.1/24}]"), "spec.networkInterfaces[0].ip"),
        (("warm: ci", "warm: ci, image: debian-12"), "spec.bootDisk.warm"),
        (("warm: ci", "warm: ci, format: raw"), "spec.bootDisk.format"),
        (("warm: ci", "warm: /srv/ci.qcow2"), "spec.bootDisk.warm"),
    ] {
        let problems = judged(&[change]).unwrap_err();
        assert!(problems.to_string().contains(path), "{path}: {problems}");
    }
    let fine = judged(&[(network, "[{network: default}]\n  cloudInit: {fqdn: one.example.com}")]).unwrap();
    assert_eq!(fine.warm.unwrap().hostname, "one");
    assert_eq!(fine.seed, None);
    let refused = |changes: &[(&str, &str)]| {
        let bench = fresh();
        refusal(warm_image(&bench.context(), &request(changes)), Code::Contradiction)
    };
    refused(&[("image: debian-12", "empty: true")]);
    refused(&[(network, "[{network: default, ip: 10.0.0.1/24}]")]);
}

#[test]
fn image_is_made_anew_from_its_note_unless_secrets_are_missing() {
    let secret =
        [("networkInterfaces", "cloudInit: {userData: {runcmd: [secret-word]}}\n  networkInterfaces")];
    let bench = fresh();
    warm_image(&bench.context(), &request(&secret)).unwrap();
    let note = bench.host.content("/pool/images/ci.qcow2.warm.json").unwrap();
    assert!(!String::from_utf8_lossy(&note).contains("secret-word"));
    let text = refusal(warm_image(&bench.context(), &again()), Code::WarmImageUnfit);
    assert!(text.contains("spec.cloudInit.userData") && text.contains("--from FILE"), "{text}");
    warm_image(&bench.context(), &request(&secret)).unwrap();
    refusal(warm_image(&fresh().context(), &again()), Code::ImageMissing);
    let taken = WarmRequest { image: VolumeRef::new("foundry-images", "debian-12"), ..request(&[]) };
    refusal(warm_image(&fresh().context(), &taken), Code::ImageTaken);
}

#[test]
fn changed_base_makes_the_image_outdated() {
    let bench = with_warm();
    let context = bench.context();
    let image = bench.host.volume(&again().image).unwrap().unwrap();
    let mut bytes = bench.host.content("/pool/images/debian-12").unwrap();
    bytes.resize(4096, 7);
    bench.host.put_file("/pool/images/debian-12", &bytes);
    let problem = warm_view(&context, &image).unwrap().unwrap().problem.unwrap();
    assert_eq!(problem, "its base 'foundry-images:debian-12' has changed");
}

#[test]
fn every_fault_of_a_warm_start_is_undone_or_named() {
    let before = with_warm().host.fingerprint();
    let faults = each_due_fault(
        with_warm,
        |bench| create_vm(&bench.context(), &warm_plan("one", &[])),
        |bench, outcome, effect, label| {
            let Err(error) = outcome else { return };
            let left = bench.host.changes_since(&before);
            if !left.is_empty() {
                assert!(whole(&error).contains("left"), "{label}: {}\n{left:?}", whole(&error));
                assert!(effect.breaks_connection() || error.kind() != Kind::Connection, "{label}");
                bench.next_run("one");
                bench.destroy("one", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            }
            assert_eq!(bench.host.changes_since(&before), Vec::<String>::new(), "{label}");
        },
    );
    assert!(faults > 40, "{faults}");
}

/// What a fault leaves, `gc` deletes; and the same command again makes the image.
#[test]
fn every_fault_of_making_an_image_is_undone_or_cleaned_up() {
    let before = fresh().host.fingerprint();
    let faults = each_fault(
        fresh,
        |bench| warm_image(&bench.context(), &request(&[])),
        |bench, outcome, _, label| {
            let Err(error) = outcome else { return };
            let left = bench.host.changes_since(&before);
            if left.is_empty() {
                return;
            }
            assert!(
                whole(&error).contains("left") || whole(&error).contains("may exist"),
                "{label}: {}\n{left:?}",
                whole(&error)
            );
            end_makers(bench);
            let twin = bench.fork();
            clean_up(bench, label);
            // Of a call whose answer was lost, nobody knows whether the image is complete.
            let image = bench.host.volume(&again().image).unwrap();
            if let Some(image) = image {
                let view = warm_view(&bench.context(), &image).unwrap().unwrap();
                assert!(view.note.complete && view.problem.is_none(), "{label}: {view:?}");
                delete_image(&bench.context(), &again().image).unwrap();
            }
            assert_eq!(bench.host.changes_since(&before), Vec::<String>::new(), "{label}");
            warm_image(&twin.context(), &request(&[])).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
            assert_eq!(files_of(&twin), PARTS.map(|part| format!("/pool/images/{part}")), "{label}");
            assert_eq!(twin.host.domain("ci-warming").unwrap(), None, "{label}");
        },
    );
    assert!(faults > 100, "{faults}");
}

/// The process that was killed is gone: in the record of the VM, and in the note on the image.
fn end_makers(bench: &mut Bench) {
    bench.next_run("ci-warming");
    let path = "/pool/images/ci.qcow2.warm.json";
    let Some(bytes) = bench.host.content(path) else { return };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let Ok(mut note) = serde_json::from_slice::<Value>(&bytes[..end]) else { return };
    note["maker"]["pid"] = json!(1);
    note["maker"]["started"] = json!(1);
    let mut new = serde_json::to_vec(&note).unwrap();
    new.resize(bytes.len(), 0);
    bench.host.put_file(path, &new);
}

fn clean_up(bench: &Bench, label: &str) {
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let all: Vec<_> = found.found.iter().filter(|one| one.fate == LeftoverAction::CleanUp).collect();
    execute_cleanup(&context, None, &all, |_| {})
        .unwrap_or_else(|errors| panic!("{label}: {}", errors.iter().map(whole).collect::<String>()));
}

#[test]
fn an_interrupted_guest_runs_and_is_cleaned_up_all_the_same() {
    let mut bench = fresh();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named_with("save_memory", foundry::host::memory::Effect::ALL[4]);
    let _ = warm_image(&bench.context(), &request(&[]));
    end_makers(&mut bench);
    if let Some(domain) = bench.host.domain("ci-warming").unwrap() {
        assert_eq!(domain.state, DomainState::Running);
    }
    clean_up(&bench, "gc");
    assert_eq!(bench.host.changes_since(&before), Vec::<String>::new());
}
