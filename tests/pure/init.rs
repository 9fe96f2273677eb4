//! A first manifest: what `init` writes can be made, and says what was asked for.

use std::path::Path;
use std::process::Command;

use crate::support::command::{Ran, foundry, run, skip_without};
use crate::support::deadline::CommandInTime as _;
use crate::support::manifests::KEY;
use foundry::manifest::{self, VirtualMachine};

/// `init` with a manifest on stdout.
fn written(args: &[&str]) -> VirtualMachine {
    let ran = run(&[&["init", "--output", "-"], args].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    // As a file it can be rendered.
    let rendered = crate::support::command::run_with(&["render", "-", "--what", "all"], &ran.stdout);
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    manifest::load_text(&ran.stdout, "vm.yaml").unwrap().remove(0)
}

fn key_file(directory: &Path) -> String {
    let file = directory.join("id_ed25519.pub");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    file.display().to_string()
}

const ON_BRIDGE: [&str; 8] =
    ["--name", "web", "--image", "debian-13.qcow2", "--bridge", "br0", "--ip", "10.20.30.41/24"];

#[test]
fn flags_alone_say_everything() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path());
    let more = ["--gateway", "10.20.30.1", "--dns", "10.20.30.1", "--dns", "2001:db8::1", "--ssh-key", &key];
    let sizes = ["--vcpus", "3", "--memory", "1.5", "--disk", "7"];
    let vm = written(&[&ON_BRIDGE[..], &more, &sizes].concat());
    assert_eq!(vm.metadata.name.as_deref(), Some("web"));
    assert_eq!(vm.spec.vcpus.unwrap().to_u64(), Some(3));
    assert_eq!(vm.spec.memory_gib.unwrap().to_string(), "1.5");
    let disk = vm.spec.boot_disk.unwrap();
    assert_eq!((disk.image.as_deref(), disk.size_gib.unwrap().to_u64()), (Some("debian-13.qcow2"), Some(7)));
    let interface = &vm.spec.network_interfaces[0];
    assert_eq!(interface.ip.as_deref(), Some("10.20.30.41/24"));
    assert_eq!(interface.gateway.as_deref(), Some("10.20.30.1"));
    assert_eq!(interface.dns_servers, ["10.20.30.1", "2001:db8::1"]);
    assert_eq!(vm.spec.cloud_init.unwrap().ssh_authorized_keys, [KEY]);
    // On a libvirt network, and isolated.
    let vm = written(&["--name", "web", "--image", "x", "--network", "default"]);
    assert_eq!(vm.spec.network_interfaces[0].network.as_deref(), Some("default"));
    assert_eq!(written(&ON_BRIDGE).spec.network_interfaces[0].default_route, Some(false));
}

#[test]
fn each_field_has_a_comment() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path());
    let more = ["--gateway", "10.20.30.1", "--dns", "10.20.30.1", "--ssh-key", &key, "--output", "-"];
    let text = run(&[&["init"][..], &ON_BRIDGE, &more].concat()).stdout;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let bare: Vec<&str> = lines
        .windows(2)
        .filter(|pair| pair[1].contains(':') && !pair[1].starts_with('#') && !pair[0].starts_with('#'))
        .map(|pair| pair[1].split(':').next().unwrap())
        .collect();
    // An interface is explained above its first line, and the rest by what is in it.
    assert_eq!(bare, ["kind", "metadata", "spec", "- bridge"], "{text}");
    assert!(text.lines().all(|line| line.len() <= 100 || line.contains("ssh-")), "{text}");
}

/// Words of the command line stay values, whatever they are to YAML.
#[test]
fn what_is_given_is_one_value_of_the_manifest() {
    for image in ["a: b", "'", "\"x\"", "# x", "{a: b}", "*x", "yes", "1.10", "!!int 1", "x #y", "pool:vol"] {
        let vm = written(&["--name", "web", "--network", "default", "--image", image]);
        assert_eq!(vm.spec.boot_disk.unwrap().image.as_deref(), Some(image));
    }
}

#[test]
fn what_could_not_be_made_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    for (args, code, told) in [
        (&["--name", "w", "--image", "x", "--network", "default"][..], 2, "metadata.name"),
        (&["--name", "web", "--image", "a\nb", "--network", "default"], 2, "spec.bootDisk.image"),
        (&["--name", "web", "--image", "x", "--network", "default", "--memory", "0"], 2, "spec.memoryGiB"),
        (
            &["--name", "web", "--image", "x", "--bridge", "br0", "--ip", "10.0.0.0/24"],
            2,
            "the network's own address",
        ),
        (
            &["--name", "web", "--image", "x", "--network", "default", "--ssh-key", "nosuch"],
            1,
            "cannot read the public key",
        ),
        (
            &["--name", "web", "--image", "x", "--network", "default", "--ssh-key", "/etc/hostname"],
            2,
            "sshAuthorizedKeys",
        ),
        (&["--name", "web", "--image", "x", "--network", "d", "--bridge", "br0"], 64, "cannot be used with"),
        (&["--name", "web"], 1, "give --image, --bridge (or --network), --ip"),
        (&[], 1, "give --name, --image, --bridge (or --network), --ip"),
    ] {
        let mut command = foundry(&[&["init"], args].concat());
        let ran = Ran::from(
            command
                .current_dir(directory.path())
                .stdin(std::process::Stdio::null())
                .output_in_time()
                .unwrap(),
        );
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let init = || {
        let mut command = foundry(&["init", "--name", "Web", "--image", "x", "--network", "default"]);
        Ran::from(command.current_dir(directory.path()).output_in_time().unwrap())
    };
    let ran = init();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Successfully wrote web.yaml\n"), "{}", ran.stderr);
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "mine").unwrap();
    let ran = init();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("cannot write web.yaml: it already exists"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    // Nor is what a link leads to, even if there is nothing.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &file).unwrap();
    assert_eq!(init().code, 1);
    assert!(!directory.path().join("elsewhere").exists());
}

/// Somebody at a terminal is asked, again where an answer cannot be one, and an empty answer takes what is offered.
#[test]
fn a_terminal_is_asked() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    key_file(&home.path().join(".ssh"));
    let answers = "no name!\\ndb\\n\\nbr0\\nnonsense\\n10.20.30.42\\n10.20.30.42/24\\n\\n\\n~/nosuch.pub\\n~/.ssh/id_ed25519.pub\\n";
    let program = env!("CARGO_BIN_EXE_foundry");
    let typed = format!("printf '{answers}' | script -qec '{program} -c test:///default init' /dev/null");
    let mut shell = Command::new("sh");
    shell.args(["-c", &typed]).current_dir(home.path()).env_clear();
    shell.env("PATH", "/usr/bin:/bin").env("HOME", home.path());
    if Command::new("script").arg("--version").output_in_time().is_err() {
        skip_without("script", "bsdutils");
        return;
    }
    let said = String::from_utf8_lossy(&shell.output_in_time().unwrap().stdout).into_owned();
    assert!(said.contains("Name of the VM [web]: ") && said.contains("Gateway [10.20.30.1]: "), "{said}");
    assert!(said.contains("write 10.20.30.42/24 if the network is a /24"), "{said}");
    assert!(said.contains("cannot read the public key") && said.contains("(networks: default)"), "{said}");
    assert!(said.contains("Successfully wrote db.yaml"), "{said}");
    let vm = manifest::load_file(&home.path().join("db.yaml")).unwrap().remove(0);
    let interface = &vm.spec.network_interfaces[0];
    assert_eq!(interface.bridge.as_deref(), Some("br0"));
    assert_eq!(interface.gateway.as_deref(), Some("10.20.30.1"));
    assert_eq!(interface.dns_servers, ["10.20.30.1"]);
    assert_eq!(vm.spec.cloud_init.unwrap().ssh_authorized_keys, [KEY]);
}

/// A file of keys has one on each line, as authorized_keys has them.
#[test]
fn each_line_of_a_key_file_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorized_keys");
    std::fs::write(&file, format!("# mine\n{KEY}\n\n{KEY} again\n")).unwrap();
    let file = file.display().to_string();
    let vm = written(&["--name", "web", "--image", "x", "--network", "default", "--ssh-key", &file]);
    assert_eq!(vm.spec.cloud_init.unwrap().ssh_authorized_keys, [KEY.to_owned(), format!("{KEY} again")]);
    // What has no end is not read.
    let ran =
        run(&["init", "--name", "web", "--image", "x", "--network", "default", "--ssh-key", "/dev/zero"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("it is not a regular file"), "{}", ran.stderr);
}
