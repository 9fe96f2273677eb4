//! Logging in to a guest: what ssh is called with, by an ssh that only notes its arguments and by the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::bench::Bench;
use crate::support::command::{Ran, foundry};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _, within};
use foundry::Code;
use foundry::host::{DomainState, Domains};
use foundry::operations::vm::guest_login::{find_guest_login, list_guest_logins};
use serde_json::{Value, json};
use tempfile::TempDir;

const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD";

/// libvirt's test driver with one running domain that has foundry's record, and an ssh that notes what it gets.
struct Desk {
    home: TempDir,
    uuid: String,
}

impl Desk {
    fn new(name: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let bench = Bench::with_web();
        let domain = bench.host.domain("web").unwrap().unwrap();
        let mut record: Value = serde_json::from_str(&domain.record.unwrap()).unwrap();
        edit(&mut record);
        let desk = Self { home: tempfile::tempdir().unwrap(), uuid: domain.uuid.to_string() };
        let text = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let (name, record, uuid) = (text(name), text(&record.to_string()), &desk.uuid);
        let node = format!(
            "<node><domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>8192</memory><vcpu>1</vcpu>\
             <os><type>hvm</type></os><metadata><foundry:vm xmlns:foundry='http://foundry.cofront.xyz/v1alpha1'>\
             {record}</foundry:vm></metadata></domain></node>"
        );
        fs::write(desk.at("node.xml"), node).unwrap();
        fs::create_dir(desk.at("bin")).unwrap();
        desk.program("ssh", "printf '%s\\n' \"$@\" >\"$HOME/arguments\"; exit 7");
        desk
    }

    fn at(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.at(&format!("bin/{name}"));
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        let uri = format!("test://{}", self.at("node.xml"));
        let mut command = foundry(&[&["-c", &uri], args].concat());
        command.env("HOME", self.home.path()).env("PATH", self.at("bin"));
        Ran::from(command.stdin(Stdio::null()).output_in_time().unwrap())
    }

    fn arguments(&self) -> Vec<String> {
        fs::read_to_string(self.at("arguments")).unwrap().lines().map(str::to_owned).collect()
    }

    fn known_hosts(&self) -> String {
        self.at(&format!(".local/state/foundry/known_hosts.d/{}", self.uuid))
    }
}

fn unchanged(_: &mut Value) {}

#[test]
fn ssh_gets_what_the_record_says_and_its_exit_code_is_passed_on() {
    let mut key = String::new();
    let desk = Desk::new("web", |record| key = record["ssh"]["hostKeys"][0].as_str().unwrap().to_owned());
    let ran = desk.run(&["ssh", "web", "-i", "/k y", "--", "-n", "a b", "$HOME"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "", ""));
    let known_hosts = desk.known_hosts();
    let options = [
        "HostName=10.0.0.1",
        "User=root",
        "HostKeyAlias=web",
        &format!("UserKnownHostsFile={known_hosts}"),
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
    ];
    let mut expected: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    expected.extend(["-i", "/k y", "--", "web", "-n", "a b", "$HOME"]);
    assert_eq!(desk.arguments(), expected);
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), format!("web {key}\n"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(Path::new(&known_hosts)), 0o600);
    assert_eq!(mode(Path::new(&known_hosts).parent().unwrap()), 0o700);
    // A file that says something else is replaced: the record counts.
    fs::write(&known_hosts, format!("web {OTHER_KEY}\n")).unwrap();
    desk.run(&["ssh", "web", "-l", "admin"]);
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), format!("web {key}\n"));
    let arguments = desk.arguments();
    assert!(
        arguments.contains(&"User=admin".to_owned()) && arguments.last().unwrap() == "web",
        "{arguments:?}"
    );
}

#[test]
fn a_guest_without_recorded_keys_is_trusted_once() {
    let desk = Desk::new("web", |record| record["ssh"] = Value::Null);
    assert_eq!(desk.run(&["ssh", "web"]).code, 7);
    let arguments = desk.arguments();
    assert!(arguments.contains(&"StrictHostKeyChecking=accept-new".to_owned()), "{arguments:?}");
    assert!(!Path::new(&desk.known_hosts()).exists(), "ssh writes it");
}

#[test]
fn values_of_others_never_become_options() {
    let desk = Desk::new("-oProxyCommand=reboot", unchanged);
    assert_eq!(desk.run(&["ssh", &desk.uuid]).code, 7);
    assert_eq!(desk.arguments().last(), Some(&desk.uuid), "a name that is no host name");
    let refused = |edit: fn(&mut Value), args: &[&str], code: i32| {
        let desk = Desk::new("web", edit);
        let ran = desk.run(args);
        assert_eq!(ran.code, code, "{}", ran.said);
        assert!(!Path::new(&desk.at("arguments")).exists(), "ssh was run");
    };
    refused(unchanged, &["ssh", "web", "--user=-oProxyCommand=reboot"], 2);
    refused(unchanged, &["ssh", "web", "-l", "a;reboot"], 2);
    refused(|record| record["ssh"]["user"] = json!("-v"), &["ssh", "web"], 2);
    for key in ["", "junk", "x\n* ssh-ed25519 AAAA", "@cert-authority * ssh-ed25519 AAAA"] {
        let desk = Desk::new("web", |record| record["ssh"]["hostKeys"] = json!([key]));
        for args in [&["ssh", "web"][..], &["ssh-config", "web"]] {
            let ran = desk.run(args);
            assert_eq!(ran.code_of_error.as_deref(), Some("FND-4009"), "{key:?}: {}", ran.said);
        }
        assert!(!Path::new(&desk.known_hosts()).exists(), "{key:?}");
    }
    // An address that is none is no address.
    refused(
        |record| record["manifest"]["spec"]["networkInterfaces"][0]["ip"] = json!("-v"),
        &["ssh", "web"],
        4,
    );
}

#[test]
fn failures_of_ssh_itself_are_explained() {
    let desk = Desk::new("web", unchanged);
    desk.program("ssh", "echo 'Connection refused' >&2; exit 255");
    let ran = desk.run(&["ssh", "web", "--", "true"]);
    assert_eq!(ran.code, 255);
    assert!(ran.stderr.starts_with("Connection refused\nssh ended with 255, "), "{}", ran.stderr);
    desk.program("ssh", "kill -TERM $$");
    assert_eq!(desk.run(&["ssh", "web"]).code, 143);
    fs::remove_file(desk.at("bin/ssh")).unwrap();
    let ran = desk.run(&["ssh", "web"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("cannot run ssh: it is not installed"), "{}", ran.stderr);
}

#[test]
fn a_signal_is_passed_on_to_ssh() {
    let desk = Desk::new("web", unchanged);
    desk.program("ssh", "trap 'exit 9' TERM; echo >\"$HOME/ready\"; while :; do /bin/sleep 0.1; done");
    let uri = format!("test://{}", desk.at("node.xml"));
    let mut command = foundry(&["-c", &uri, "ssh", "web"]);
    command.env("HOME", desk.home.path()).env("PATH", desk.at("bin")).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    within("the start of ssh", || {
        while !Path::new(&desk.at("ready")).exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status_in_time().unwrap();
    assert_eq!(child.wait_in_time().unwrap().code(), Some(9));
}

#[test]
fn without_ssh_and_agent_both_are_named() {
    let desk = Desk::new("web", unchanged);
    for args in [&["exec", "web", "--", "true"][..], &["cp", "web:/etc/motd", "motd"]] {
        let ran = desk.run(args);
        assert_eq!(ran.code_of_error.as_deref(), Some("FND-4322"), "{}", ran.said);
        assert!(ran.stderr.contains("an SSH server does not answer either"), "{}", ran.stderr);
    }
    assert!(!desk.run(&["exec", "web", "--agent", "--", "true"]).stderr.contains("SSH server"));
    for (from, to) in [("a", "b"), ("web:/a", "web:/b")] {
        let ran = desk.run(&["cp", from, to]);
        assert_eq!(ran.code, 2, "{}", ran.said);
    }
}

/// What ssh itself makes of a configuration: its options in small letters.
fn read_by_ssh(file: &str, host: &str) -> Option<Vec<String>> {
    let read = Command::new("ssh").args(["-G", "-F", file, host]).output();
    let Ok(read) = read else {
        println!("skipped: there is no ssh");
        return None;
    };
    assert!(read.status.success(), "{read:?}");
    Some(String::from_utf8(read.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn config_is_read_by_ssh() {
    let desk = Desk::new("web", unchanged);
    for args in [&["ssh-config"][..], &["ssh-config", "web"]] {
        let ran = desk.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        fs::write(desk.at("config"), &ran.stdout).unwrap();
        let Some(read) = read_by_ssh(&desk.at("config"), "web") else { return };
        for line in [
            "hostname 10.0.0.1",
            "user root",
            "hostkeyalias web",
            "stricthostkeychecking true",
            "globalknownhostsfile /dev/null",
            &format!("userknownhostsfile {}", desk.known_hosts()),
        ] {
            assert!(read.iter().any(|known| known == line), "{line}\n{}", ran.stdout);
        }
    }
    assert!(Path::new(&desk.known_hosts()).exists());
    let read = read_by_ssh(&desk.at("config"), "other").unwrap();
    assert!(read.contains(&"hostname other".to_owned()), "other hosts are left alone");
}

#[test]
fn a_guest_that_is_off_or_has_no_address_cannot_be_reached() {
    let bench = Bench::with_web();
    let context = bench.context();
    let code = || find_guest_login(&context, "web", None).unwrap_err().code();
    assert_eq!(find_guest_login(&context, "nobody", None).unwrap_err().code(), Code::VmMissing);
    bench.edit_record("web", |record| record["manifest"]["spec"]["networkInterfaces"] = json!([]));
    assert_eq!(code(), Code::AddressUnknown);
    let (found, left_out) = list_guest_logins(&context, &[]).unwrap();
    assert_eq!((found.len(), left_out.len()), (0, 1));
    bench.host.set_state("web", DomainState::Paused);
    assert_eq!(code(), Code::GuestPaused);
    bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(code(), Code::GuestOff);
}

#[test]
fn a_configuration_has_guests_that_are_off() {
    let bench = Bench::with_web();
    bench.host.set_state("web", DomainState::ShutOff);
    let (found, left_out) = list_guest_logins(&bench.context(), &[]).unwrap();
    assert_eq!((found[0].vm.as_str(), found.len(), left_out.len()), ("web", 1, 0));
    assert_eq!(found[0].ssh.host_keys[0].to_string(), bench.record("web").ssh.unwrap().host_keys[0]);
}

#[test]
fn the_private_key_is_in_the_seed_and_the_public_one_in_the_record() {
    let bench = Bench::with_web();
    let record = bench.record("web");
    let text = serde_json::to_string(&record).unwrap();
    assert!(!text.contains("PRIVATE"), "{text}");
    let seed = record.volumes.iter().find(|v| v.name.contains("cloudinit")).unwrap();
    let mut bytes = Vec::new();
    foundry::host::Transfers::download(&bench.host, &seed.reference(), &mut bytes, u64::MAX).unwrap();
    let vendor_data = foundry::cloud_init::read_iso(&bytes).unwrap().vendor_data.unwrap();
    assert!(vendor_data.contains("BEGIN OPENSSH PRIVATE KEY"), "{vendor_data}");
    assert!(vendor_data.contains(&record.ssh.unwrap().host_keys[0]), "{vendor_data}");
}
