//! `foundry doctor` on a real libvirtd: a host that is well, and things that were broken on purpose.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::live::{Bed, Ran, files_in, program};
use serde_json::Value;

/// Name, object, state, and all words of each check.
fn checks(ran: &Ran) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let title =
        |check: &Value| format!("{} {}", text(check, "name"), text(check, "object")).trim().to_owned();
    let words = |check: &Value| format!("{}\n{}", text(check, "found"), check["todo"]);
    let list = report["checks"].as_array().unwrap();
    list.iter().map(|check| (title(check), text(check, "state"), words(check))).collect()
}

/// The state of a check and its words.
#[track_caller]
fn check(ran: &Ran, title: &str) -> (String, String) {
    let all = checks(ran);
    let found = all.iter().find(|(name, _, _)| name == title);
    let (_, state, words) = found.unwrap_or_else(|| panic!("{title} is not in {all:#?}"));
    (state.clone(), words.clone())
}

#[track_caller]
fn assert_check(ran: &Ran, title: &str, state: &str, words: &[&str]) {
    let (found, text) = check(ran, title);
    assert_eq!(found, state, "{title}: {text}");
    for word in words {
        assert!(text.contains(word), "{title}: {word} is not in {text}");
    }
}

fn doctor(bed: &Bed) -> Ran {
    bed.foundry(&["doctor", "-o", "json"]).run()
}

/// Beside a /dev/kvm that QEMU's user may not open, each of these answers takes seconds.
#[test]
fn libvirt_is_asked_once_for_what_the_host_can_do() {
    let Some(bed) = Bed::new("doctoronce") else { return };
    let ran = bed.foundry(&["doctor", "-vv"]).run();
    for call in [
        "virConnectGetCapabilities",
        "virConnectGetVersion",
        "virConnectGetDomainCapabilities",
        "virConnectGetLibVersion",
    ] {
        assert_eq!(ran.count(call), 1, "{call}");
    }
}

/// Its files are others than those that foundry sees: bridges, locks and logs of this machine say nothing of it.
#[test]
fn a_libvirt_in_another_mount_namespace_is_another_machine() {
    let Some(bed) = Bed::new("doctorelsewhere") else { return };
    let doctor = [env!("CARGO_BIN_EXE_foundry"), "-c", &bed.uri(), "doctor", "-o", "json"];
    let left_out = |ran: &Ran| {
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        report["leftOut"].as_array().unwrap().len()
    };
    assert_eq!(left_out(&program(doctor[0], &doctor[1..])), 0);
    let elsewhere: Vec<&str> = std::iter::once("--mount").chain(doctor).collect();
    assert!(left_out(&program("unshare", &elsewhere)) > 0);
}

/// What libvirt writes of a trial guest, gone with the test.
struct TrialLog;

impl Drop for TrialLog {
    fn drop(&mut self) {
        program("rm", &["-f", "/var/log/libvirt/qemu/foundry-doctor.log"]);
    }
}

/// A bridge of the test's, gone with it.
struct Bridge(&'static str);

impl Bridge {
    fn new(name: &'static str) -> Self {
        program("ip", &["link", "delete", name]);
        program("ip", &["link", "add", name, "type", "bridge"]).exits(0);
        Self(name)
    }

    fn up(&self) {
        program("ip", &["link", "set", self.0, "up"]).exits(0);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        program("ip", &["link", "delete", self.0]);
    }
}

#[test]
fn a_host_that_runs_guests_is_well_and_stays_as_it_is() {
    let Some(bed) = Bed::with_tiny("doctor") else { return };
    let _log = TrialLog;
    let pools = bed.virsh().does(&["pool-list", "--all"]);
    let ran = bed.foundry(&["doctor", "--probe", "-o", "json"]).run().exits(0);
    for title in ["connection", "virtlogd", "machine-type", "firmware", "secure-boot", "memory"] {
        assert_check(&ran, title, "ok", &[]);
    }
    // The way that the tests' guests run was found by another program.
    let how =
        if bed.variables().contains(&("FOUNDRY_VIRT_TYPE", "qemu".into())) { "emulated" } else { "KVM" };
    assert_check(&ran, "guest", "ok", &[how]);
    assert_check(&ran, &format!("bridge {}", bed.bridge()), "ok", &["up", "with an address"]);
    assert_check(&ran, &format!("pool {}", bed.image_pool()), "ok", &[]);
    assert_check(&ran, &format!("pool-path {}", bed.image_pool()), "ok", &[]);
    assert_check(&ran, &format!("pool {}", bed.vm_pool()), "ok", &["first use"]);
    assert_eq!(bed.virsh().does(&["pool-list", "--all"]), pools);
    assert_eq!(bed.virsh().names("list", "foundry-doctor"), Vec::<String>::new());
    assert_eq!(files_in("/var/lib/libvirt/qemu/nvram", "foundry-doctor"), Vec::<String>::new());
    // Nothing but the trial wrote: without it, only questions are asked.
    let ran = bed.foundry(&["doctor", "-vv"]).run().exits(0);
    for wrote in ["virDomainCreateXML", "virDomainDestroy", "virStoragePoolCreate", "virStoragePoolDefineXML"]
    {
        assert_eq!(ran.count(wrote), 0);
    }
}

/// What another program finds is what the trial finds.
#[test]
fn a_trial_tells_whether_kvm_works() {
    let Some(bed) = Bed::new("doctorkvm") else { return };
    let _log = TrialLog;
    let ran = bed.foundry(&["--virt-type=kvm", "doctor", "--probe", "-o", "json"]).run();
    let expected =
        if bed.variables().contains(&("FOUNDRY_VIRT_TYPE", "qemu".into())) { "problem" } else { "ok" };
    assert_eq!((check(&ran, "guest").0.as_str(), ran.code), (expected, if expected == "ok" { 0 } else { 4 }));
    assert_eq!(bed.virsh().names("list", "foundry-doctor"), Vec::<String>::new());
}

#[test]
fn pools_that_are_stopped_or_out_of_reach_are_found() {
    let Some(bed) = Bed::with_tiny("doctorpool") else { return };
    let pool = bed.image_pool();
    let path = bed.storage();
    set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    // The way to the pool that is not made yet is the same.
    let told = format!("error: 2 problems on this host: pool-path {pool}, pool-path {}\n", bed.vm_pool());
    let ran = doctor(&bed).exits(4).tells(&told);
    let step = path.display().to_string();
    assert_check(
        &ran,
        &format!("pool-path {pool}"),
        "problem",
        &[&step, "mode 700", &format!("setfacl -m u:libvirt-qemu:x {step}")],
    );
    // What it says to do, done; wider, since the package acl may not be there.
    program("chmod", &["o+x", &step]).exits(0);
    assert_check(&doctor(&bed).exits(0), &format!("pool-path {pool}"), "ok", &[&step]);

    bed.virsh().does(&["pool-destroy", &pool]);
    bed.virsh().does(&["pool-autostart", "--disable", &pool]);
    let todo = format!("foundry pool start {pool} --autostart");
    assert_check(&doctor(&bed).exits(0), &format!("pool {pool}"), "warning", &["not started", &todo]);
    let todo: Vec<&str> = todo.split(' ').skip(1).collect();
    bed.foundry(&todo).run().exits(0);
    assert_check(&doctor(&bed).exits(0), &format!("pool {pool}"), "ok", &[]);
}

#[test]
fn bridges_that_pass_nothing_are_found() {
    let Some(bed) = Bed::with_tiny("doctorbr") else { return };
    let bridge = Bridge::new("fdtdoc0");
    assert_check(&doctor(&bed).exits(0), "bridge fdtdoc0", "warning", &["is down", "ip link set fdtdoc0 up"]);
    bridge.up();
    assert_check(&doctor(&bed).exits(0), "bridge fdtdoc0", "warning", &["neither an address nor an uplink"]);
    program("ip", &["address", "add", "192.0.2.129/28", "dev", "fdtdoc0"]).exits(0);
    assert_check(&doctor(&bed).exits(0), "bridge fdtdoc0", "ok", &["with an address"]);

    // The same with a VM on it is no warning any more.
    let vm = bed.manifest("a", 98).interfaces(&["{ip: 10.77.0.98/24, bridge: fdtdoc0, defaultRoute: false}"]);
    bed.creates(&vm);
    let name = bed.name("a");
    bed.virsh().does(&["destroy", &name]);
    program("ip", &["link", "set", "fdtdoc0", "down"]).exits(0);
    assert_check(
        &doctor(&bed).exits(4),
        "bridge fdtdoc0",
        "problem",
        &["is down", &format!("VM '{name}' is attached to it")],
    );
    drop(bridge);
    let ran = doctor(&bed).exits(4);
    assert_check(&ran, "bridge fdtdoc0", "problem", &["no such bridge", "ip link add fdtdoc0 type bridge"]);
}

#[test]
fn a_manifest_is_looked_at_as_create_does() {
    let Some(bed) = Bed::with_tiny("doctorvm") else { return };
    let good = bed.manifest("a", 97);
    let ran = bed.foundry(&["doctor", "-"]).reads(&good).run().exits(0).tells("");
    let (table, verdict) = ran.stdout.trim_end().rsplit_once('\n').unwrap();
    assert!(table.lines().skip(1).all(|line| line.contains(" ok ")), "{}", ran.stdout);
    assert!(verdict.starts_with("Ready: ") && verdict.ends_with(" can be created here"), "{verdict}");
    let bad = bed.manifest("b", 96).boot_disk("{sizeGB: 1, image: tinny.qcow2}");
    let bad = bad.interfaces(&["{ip: 10.77.0.96/24, bridge: fdtnone, defaultRoute: false}"]);
    let ran = bed.foundry(&["doctor", "-", "-o", "json"]).reads(&bad).run();
    let create = bed.foundry(&["create", "-", "--dry-run"]).reads(&bad).run().exits(5);
    assert_eq!(ran.code, create.code);
    assert_check(&ran, &format!("image {}", bad.name), "problem", &["did you mean 'tiny.qcow2'?"]);
    assert_check(
        &ran,
        &format!("spec.networkInterfaces[0] {}", bad.name),
        "problem",
        &["there is no bridge 'fdtnone'"],
    );
    assert_check(&ran, &format!("name {}", bad.name), "ok", &[]);
    assert_eq!(bed.traces(), []);
}
