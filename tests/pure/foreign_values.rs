//! Values of others, each with all that could deceive whoever reads it: names from libvirt, fields of records, answers of
//! guests. None makes a line of its own, and all of each is seen.

use foundry::record::VolumeRef;
use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, KEEP, bridge, foreign, host_with_neighbours};
use crate::support::command::run;
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use crate::support::stray::{FORGED, HOSTILE, HOSTILE_NAME, assert_lines, is_stray};
use base64::Engine;
use foundry::error::Outcome;
use foundry::host::memory::Guest;
use foundry::host::{DomainState, Domains};
use foundry::operations::doctor::examine_host;
use foundry::operations::preflight::preflight;
use foundry::operations::storage::{pools, status};
use foundry::operations::vm::wait::{Goal, wait_for_vm};
use foundry::operations::vm::{inspect, seed};
use foundry::operations::{disk, gc, image};
use foundry::text::{escape_unseen, is_unseen, quote_for_shell};
use foundry::units::{Bytes, SizeRequest};
use foundry::words;
use foundry::{Error, Kind};
use serde_json::{Value, json};

/// A name of two lines that XML can carry.
const TWO_LINES: &str = "x\nerror[FND-0000]: forged\u{9b}\u{202e}\u{200b}.";

/// The exit code of what was typed wrong.
const USAGE: i32 = 64;

/// All that an error says is lines for people.
fn assert_error(error: &Error, of: &str) {
    let (text, hint) = (error.text(), error.hint_text());
    let parts = [Some(text.as_str()), error.cause(), error.detail_text(), hint.as_deref()];
    for part in parts.into_iter().flatten().chain(error.outcome_texts().iter().map(String::as_str)) {
        assert_lines(part, of);
    }
}

fn look<T>(result: Result<T, Error>, of: &str) {
    if let Err(error) = result {
        assert_error(&error, of);
    }
}

/// Everything that reads VMs, or refuses to change one.
fn look_at_all(bench: &Bench, name: &str, of: &str) {
    let context = bench.context();
    look(inspect::list_vms(&context, true), of);
    look(inspect::get_vm(&context, name), of);
    look(disk::list_disks(&context, Some(name)), of);
    for options in [GENTLE, KEEP, FORCE] {
        look(bench.survey(name, options), of);
    }
    look(seed::plan_eject(&context, name, false), of);
    look(seed::plan_eject(&context, name, true), of);
    for disk in ["vda", "vdb", HOSTILE] {
        look(disk::plan_detach(&context, name, disk, false), of);
        look(disk::resize(&context, name, disk, SizeRequest::To(Bytes(GIB))), of);
    }
    look(gc::find_leftovers(&context, None), of);
    look(status::storage_status(&context), of);
    look(preflight(&context, &plan(WEB)), of);
    look(examine_host(&context, false), of);
    for pool in context.host.pools().unwrap() {
        look(pools::pool_info(&context, &pool.name), of);
        look(pools::delete_pool(&context, &pool.name, false), of);
        look(pools::start_pool(&context, &pool.name, false), of);
        look(image::list_images(&context, &pool.name), of);
        for volume in context.host.volumes(&pool.name).unwrap_or_default() {
            look(image::image_info(&context, &VolumeRef::new(&pool.name, &volume.name)), of);
        }
    }
    look(inspect::get_vm(&context, HOSTILE), of);
    look(image::image_info(&context, &VolumeRef::new(HOSTILE, HOSTILE)), of);
    look(image::delete_image(&context, &VolumeRef::new("foundry-images", HOSTILE)), of);
}

/// Pointers to all texts in a value.
fn leaves(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::String(_) => vec![at.to_owned()],
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(i, item)| leaves(item, &format!("{at}/{i}"))).collect()
        }
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, v)| leaves(v, &format!("{at}/{key}"))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_tests_list_and_foundrys_are_one() {
    for c in '\0'..=char::MAX {
        assert_eq!(is_stray(c), is_unseen(c), "U+{:04X}", u32::from(c));
    }
    assert!(HOSTILE.contains(FORGED));
    let shown = escape_unseen(HOSTILE);
    assert_lines(&shown, "the value");
    assert_eq!(escape_unseen(&shown), shown);
    for value in [HOSTILE, HOSTILE_NAME, "web\u{200b}", "\u{1b}"] {
        let word = quote_for_shell(value);
        assert_lines(&word, "the word");
        assert!(word.starts_with("$'"), "{word}");
    }
}

#[test]
fn each_field_of_a_record_is_seen_and_stays_in_its_line() {
    let made = Bench::with_web();
    let record: Value =
        serde_json::from_str(&made.host.domain("web").unwrap().unwrap().record.unwrap()).unwrap();
    let leaves = leaves(&record, "");
    assert!(leaves.len() > 30, "{leaves:?}");
    for (number, leaf) in leaves.into_iter().enumerate() {
        let states = ["created", ["creating", "destroying"][number / 4 % 2]];
        for state in &states[..1 + usize::from(number % 4 == 0)] {
            let bench = Bench::with_web();
            bench.edit_record("web", |record| {
                record["state"] = (*state).into();
                *record.pointer_mut(&leaf).unwrap() = HOSTILE.into();
            });
            bench.told.forget();
            if number % 3 == 0 {
                bench.host.set_state("web", DomainState::ShutOff);
            }
            look_at_all(&bench, "web", &leaf);
            look(bench.destroy("web", FORCE), &leaf);
            for told in bench.told.warnings() {
                assert_lines(&escape_unseen(&told), &leaf);
            }
        }
    }
}

#[test]
fn names_of_domains_pools_volumes_and_networks_are_seen_and_stay_in_their_lines() {
    let mut bench = Bench::on(
        host_with_neighbours()
            .with_pool(HOSTILE, "/pool/x\ny")
            .with_inactive_pool(&format!("{HOSTILE}2"), "/pool/\u{202e}z")
            .with_image(HOSTILE, HOSTILE, "qcow2", GIB)
            .with_image("foundry-vms", HOSTILE, "qcow2", GIB)
            .with_image("foundry-images", HOSTILE, "qcow2", GIB)
            .with_overlay("foundry-vms", &format!("{HOSTILE}3"), GIB, "/pool/images/debian-12")
            .with_network(HOSTILE, false)
            .with_bridges(&[bridge("br0", false), bridge(HOSTILE, false)])
            .with_foreign_domain(&foreign("y\u{202e}", "/pool/vms/other\nerror[FND-0000]: x")),
    );
    for (manifest, name, hostile) in [(SMALL, "small", HOSTILE_NAME), (WEB, "web", TWO_LINES)] {
        bench.create(&plan(manifest)).unwrap();
        bench.next_run(name);
        bench.host.set_state(name, DomainState::ShutOff);
        bench.host.rename(name, hostile);
    }
    assert!([TWO_LINES, HOSTILE_NAME].iter().all(|name| bench.host.domain(name).unwrap().is_some()));
    for name in ["small", TWO_LINES, HOSTILE_NAME] {
        look_at_all(&bench, name, name);
    }
    // What one wants is not there: all that is there is named.
    let context = bench.context();
    for change in [("bridge: br0", "bridge: br9"), ("image: debian-12", "image: debian-99")] {
        look(preflight(&context, &plan_with(WEB, &[change])), change.1);
    }
}

/// Whoever copies a name that looks like another's means the other.
#[test]
fn a_command_has_the_uuid_of_a_vm_whose_name_is_not_seen() {
    let mut bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    bench.next_run("small");
    bench.host.set_state("small", DomainState::ShutOff);
    let name = "web\u{202e}";
    bench.host.rename("small", name);
    bench.edit_record(name, |record| record["state"] = "creating".into());
    let uuid = bench.host.domain(name).unwrap().unwrap().uuid.to_string();
    let seen = inspect::get_vm(&bench.context(), name).unwrap();
    let said = seen.advice.as_ref().map(words::render_advice).unwrap_or_default();
    assert!(said.contains(&format!("foundry destroy {uuid} removes it")), "{said}");
    let error = disk::resize(&bench.context(), name, "vda", SizeRequest::To(Bytes(99 * GIB))).unwrap_err();
    let hint = error.hint_text().unwrap();
    assert!(hint.contains(&format!("foundry destroy {uuid} removes it")), "{hint}");
    assert!(error.message().contains(r"'web\u{202e}'"), "{error}");
    // The UUID is taken for the name.
    assert_eq!(inspect::get_vm(&bench.context(), &uuid).unwrap().domain.name, name);
    bench.destroy(&uuid, FORCE).unwrap();
    assert_eq!(bench.host.domain(name).unwrap(), None);
}

#[test]
fn what_a_guest_says_of_its_file_systems_makes_no_line() {
    let bench = Bench::with_web();
    let disk = inspect_serial(&bench);
    let system = json!({
        "name": HOSTILE, "mountpoint": format!("/data{HOSTILE}"), "type": HOSTILE,
        "disk": [{"serial": disk, "bus-type": HOSTILE, "dev": HOSTILE}],
    });
    let answer = json!({"return": [system]}).to_string();
    bench.host.set_guest("web", Guest::new().agent_answer("guest-get-fsinfo", &answer));
    let error = disk::plan_detach(&bench.context(), "web", "vdb", false)
        .and_then(|detachment| disk::detach(&bench.context(), &detachment, Duration::from_secs(1)))
        .unwrap_err();
    assert!(error.message().contains("is mounted in the guest at"), "{error}");
    assert_error(&error, "a mount point");
    let hint = error.hint_text().unwrap();
    assert!(hint.starts_with(r"in the guest: umount $'/datax\x0aerror"), "{hint}");
}

fn inspect_serial(bench: &Bench) -> String {
    let uuid = bench.host.uuid_of("web").unwrap();
    let described = bench.host.describe(uuid, foundry::host::View::Current).unwrap().unwrap();
    described.disk("vdb").unwrap().serial.clone().unwrap_or_else(|| "vdb".into())
}

#[test]
fn what_cloud_init_in_a_guest_says_makes_no_line() {
    let result = json!({"v1": {"datasource": HOSTILE, "errors": [HOSTILE, "plain"]}}).to_string();
    let encoded = base64::engine::general_purpose::STANDARD.encode(result);
    let read = json!({"return": {"count": 1, "eof": true, "buf-b64": encoded}}).to_string();
    let guest = Guest::new()
        .agent_answer("guest-ping", r#"{"return":{}}"#)
        .agent_answer("guest-file-open", r#"{"return":1000}"#)
        .agent_answer("guest-file-read", &read)
        .agent_answer("guest-file-close", r#"{"return":{}}"#);
    let bench = Bench::new();
    bench.host.set_guest("small", guest);
    let vm = bench.create(&plan(SMALL)).unwrap();
    let error = wait_for_vm(&bench.context(), &vm, Goal::CloudInit, Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("forged"), "{error}");
    assert_error(&error, "cloud-init's errors");
}

/// Lines of others below a sentence are marked as such.
#[test]
fn lines_of_a_console_are_marked() {
    let lines = ["one".to_owned(), HOSTILE.to_owned()];
    let error = Error::new(Kind::Vm, "x").outcome(Outcome::from_lines("the console's last lines:", &lines));
    let said = &error.outcome_texts()[0];
    assert_lines(said, "the console");
    assert!(said.lines().skip(1).all(|line| line.starts_with("  | ")), "{said}");
}

/// A host of libvirt's test driver on which every name is hostile.
fn hostile_driver(file: &std::path::Path) -> String {
    let record = serde_json::to_string(&record_of_web()).unwrap().replace('&', "&amp;").replace('<', "&lt;");
    let name = HOSTILE_NAME;
    let xml = format!(
        "<node><domain type='test'><name>{name}</name><uuid>00000000-0000-4000-8000-000000000001</uuid>\
         <title>{name}</title><metadata>\
         <foundry:vm xmlns:foundry='http://foundry.cofront.xyz/v1alpha1'>{record}</foundry:vm></metadata>\
         <memory>8192</memory><os><type>hvm</type></os></domain>\
         <network><name>{name}</name><bridge name='v0'/><ip address='192.0.2.1' netmask='255.255.255.0'/></network>\
         <pool type='dir'><name>{name}</name><target><path>/{name}</path></target>\
         <volume><name>{name}</name><capacity>1</capacity><target><path>/{name}/{name}</path></target></volume>\
         </pool></node>"
    );
    std::fs::write(file, xml).unwrap();
    format!("test://{}", file.display())
}

/// Of a VM whose texts are all hostile, but for what makes it a record.
fn record_of_web() -> Value {
    let bench = Bench::with_web();
    let mut record: Value =
        serde_json::from_str(&bench.host.domain("web").unwrap().unwrap().record.unwrap()).unwrap();
    record["domain"] = "00000000-0000-4000-8000-000000000001".into();
    record["image"] = HOSTILE.into();
    record["consoleLog"] = HOSTILE.into();
    for volume in record["volumes"].as_array_mut().unwrap() {
        for key in ["pool", "name", "path", "format"] {
            volume[key] = HOSTILE.into();
        }
    }
    record
}

#[test]
fn every_form_of_every_command_shows_them_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let uri = hostile_driver(file.path());
    let forms = [
        "table",
        "wide",
        "name",
        "json",
        "yaml",
        "custom-columns=A:.metadata.name,B:.name,C:.spec",
        "jsonpath={..*}",
    ];
    let lists: [&[&str]; 12] = [
        &["list", "--all"],
        &["get", HOSTILE_NAME],
        &["get", "00000000-0000-4000-8000-000000000001"],
        &["disk", "list"],
        &["disk", "list", HOSTILE_NAME],
        &["pool", "list"],
        &["pool", "info", HOSTILE_NAME],
        &["storage", "status"],
        &["image", "list", "--pool", HOSTILE_NAME],
        &["image", "info", HOSTILE_NAME, "--pool", HOSTILE_NAME],
        &["gc", "--dry-run"],
        &["doctor"],
    ];
    let mut worked = 0;
    for command in lists {
        for form in forms {
            let args = [&["-c", &uri, "-vv"], command, &["-o", form]].concat();
            let ran = run(&args);
            assert!((0..=6).contains(&ran.code) || ran.code == USAGE, "{args:?}: {}", ran.stderr);
            assert_lines(&ran.stdout, &format!("{args:?}"));
            assert_lines(&ran.said, &format!("{args:?}"));
            worked += usize::from(ran.code == 0);
        }
    }
    assert!(worked > forms.len() * 8, "{worked}");
    let others: [&[&str]; 12] = [
        &["destroy", HOSTILE_NAME],
        &["destroy", HOSTILE],
        &["seed", "eject", HOSTILE_NAME],
        &["disk", "detach", HOSTILE_NAME, "vdb"],
        &["disk", "resize", HOSTILE_NAME, HOSTILE, "99"],
        &["disk", "attach", HOSTILE_NAME, "1"],
        &["pool", "delete", HOSTILE],
        &["pool", "stop", HOSTILE],
        &["image", "delete", HOSTILE, "--pool", HOSTILE_NAME],
        &["image", "export", HOSTILE_NAME, "/nonexistent/\nerror[FND-0000]: x", "--pool", HOSTILE_NAME],
        &["image", "import", "/nonexistent/\nerror[FND-0000]: x", HOSTILE],
        &["create", "/nonexistent/\nerror[FND-0000]: \u{202e}.yaml"],
    ];
    for command in others {
        for progress in ["plain", "json"] {
            let args = [&["-c", &uri, "--progress", progress], command].concat();
            let ran = run(&args);
            assert!(
                (0..=6).contains(&ran.code) || ran.code == USAGE,
                "{args:?}: {} {}",
                ran.code,
                ran.stderr
            );
            assert_lines(&ran.stdout, &format!("{args:?}"));
            assert_lines(&ran.said, &format!("{args:?}"));
        }
    }
}

/// A program reads the values as they are.
#[test]
fn json_and_yaml_hold_the_very_values() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let uri = hostile_driver(file.path());
    let says = |args: &[&str]| {
        let ran = run(&[&["-c", &uri], args].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    };
    let read: Vec<Value> = serde_json::from_str(&says(&["list", "--all", "-o", "json"])).unwrap();
    assert_eq!(read[0]["metadata"]["name"], HOSTILE_NAME);
    let vm: Value = serde_json::from_str(&says(&["get", HOSTILE_NAME, "-o", "json"])).unwrap();
    assert_eq!(vm["metadata"]["name"], HOSTILE_NAME);
    let yaml: Value = serde_saphyr::from_str(&says(&["get", HOSTILE_NAME, "-o", "yaml"])).unwrap();
    assert_eq!(yaml, vm);
    let pools: Vec<Value> = serde_json::from_str(&says(&["pool", "list", "-o", "json"])).unwrap();
    assert_eq!(pools[0]["name"], HOSTILE_NAME);
    let disks: Vec<Value> = serde_json::from_str(&says(&["disk", "list", "-o", "json"])).unwrap();
    assert!(disks.iter().any(|disk| disk.to_string().contains("forged")), "{disks:?}");
}
