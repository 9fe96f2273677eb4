//! `top`, `events` and `network` on a real libvirtd. No guest boots here.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::live::Bed;
use serde_json::Value;

#[test]
fn events_top_and_network_show_a_vm() {
    let Some(bed) = Bed::new("views") else { return };
    let manifest = bed.manifest("web", 65).boot_disk("{sizeGB: 1, empty: true}").without_cloud_init();
    let vm = &manifest.name;
    let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
    command.args(["events", vm, "-o", "json"]).env_clear().envs(bed.variables());
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut note = String::new();
    BufReader::new(watching.stderr.take().unwrap()).read_line(&mut note).unwrap();
    assert!(note.contains("Waiting for events"), "{note}");
    let (sender, events) = channel();
    let stdout = watching.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| {
            let _ = sender.send(line);
        });
    });

    bed.creates(&manifest);
    let top = bed.foundry(&["top", "-o", "json"]).run().exits(0);
    let top: Value = serde_json::from_str(&top.stdout).unwrap();
    let load = top.as_array().unwrap().iter().find(|load| load["vm"] == vm.as_str());
    let load = load.unwrap_or_else(|| panic!("{top:#}"));
    assert!(load["cpuPercent"].as_f64().unwrap() > 0.0 && load["vcpus"] == 1, "{load:#}");
    assert!(
        load["memory"].as_u64().unwrap() > 1 << 26 && load["resident"].as_u64().unwrap() > 1 << 20,
        "{load:#}"
    );
    let network = bed.foundry(&["network", "info", bed.bridge(), "-o", "json"]).run().exits(0);
    let network: Value = serde_json::from_str(&network.stdout).unwrap();
    assert!(network["vms"].as_array().unwrap().contains(&Value::from(vm.as_str())), "{network:#}");
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);

    let end = Instant::now() + Duration::from_secs(30);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event| event != "undefined") {
        let line = events.recv_timeout(end.saturating_duration_since(Instant::now()));
        let line = line.unwrap_or_else(|_| panic!("no more events after {seen:?}"));
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["vm"], vm.as_str(), "{line}");
        seen.push(event["event"].as_str().unwrap().to_owned());
    }
    let _ = watching.kill();
    let _ = watching.wait();
    for event in ["defined", "started", "resumed", "stopped", "undefined"] {
        assert!(seen.iter().any(|s| s == event), "{event}: {seen:?}");
    }
    assert_eq!(bed.traces(), []);
}
