//! A pool of Forgejo's with a real guest: the server is one on the loopback, and a script takes the place of
//! forgejo-runner. What starts that, and what tells of a job, are foundry's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foundry_core::plan::Defaults;
use foundry_runner::{RunnerPoolPlan, load_runner_pools};
use serde_json::{Value, json};

use crate::support::http::{Reply, Request, Server};
use crate::support::live::{Bed, environment};

/// Reads its configuration, takes a job if it is told to, and says so as forgejo-runner does.
const RUNNER: &str = r#"#!/bin/sh
id -un >/tmp/user
env >/tmp/env
cat "$3" >/tmp/config
while [ ! -e /tmp/end ]; do
  if [ -e /tmp/job ] && [ ! -e /tmp/said ]; then
    touch /tmp/said
    echo 'time="2026-04-11T20:18:39Z" level=info msg="task 12 repo is acme/shop https://a https://b"'
  fi
  sleep 0.2
done
"#;

/// How long a Debian guest may take from its start to its agent, without KVM and beside other guests.
const BOOT: Duration = Duration::from_secs(900);
const SOON: Duration = Duration::from_secs(120);

/// The server: runners by their ids, which are online as soon as they are there.
fn answer(runners: &Mutex<BTreeMap<u64, Value>>, request: &Request) -> Reply {
    let mut runners = runners.lock().unwrap();
    let rest = request.path.strip_prefix("/api/v1/user/actions/runners").unwrap();
    let id = rest.trim_start_matches('/').parse().unwrap_or_default();
    match request.method.as_str() {
        "POST" => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let id = runners.keys().last().map_or(1, |last| last + 1);
            let runner = json!({"id": id, "name": asked["name"], "description": asked["description"],
                "status": "idle", "labels": null});
            runners.insert(id, runner);
            let made = json!({"id": id, "uuid": format!("uuid-{id}"), "token": format!("secret-{id}")});
            Reply::new(201, made.to_string())
        }
        "GET" if rest.starts_with('?') => {
            let list: Vec<&Value> = runners.values().collect();
            Reply::new(200, json!(list).to_string()).with("X-Total-Count", &list.len().to_string())
        }
        "GET" => match runners.get(&id) {
            Some(runner) => Reply::new(200, runner.to_string()),
            None => Reply::new(404, "{}"),
        },
        _ => Reply::new(if runners.remove(&id).is_some() { 204 } else { 404 }, "{}"),
    }
}

/// The manifest of a pool. Its runner waits until cloud-init has written the script.
fn manifest(bed: &Bed, name: &str, url: &str, mode: &str) -> String {
    let token = bed.home().join("token");
    let pool = |run: &str| {
        json!({
            "apiVersion": "foundry.cofront.xyz/v1alpha1",
            "kind": "RunnerPool",
            "metadata": {"name": name},
            "spec": {
                "mode": mode,
                "forge": {"forgejo": {"url": url, "guestUrl": "https://git.example.com", "scope": "user",
                    "tokenFile": token}},
                "labels": ["debian"],
                "size": {"minIdle": 1, "max": 1},
                "timeouts": {"start": "15m"},
                "guest": {"user": "nobody", "directory": "/tmp", "run": run},
                "template": {
                    "vcpus": 1,
                    "memoryGiB": 1,
                    "bootDisk": {"sizeGiB": 4, "image": "debian.qcow2"},
                    "networkInterfaces": [{"bridge": bed.bridge()}],
                    "cloudInit": {
                        "userData": {"write_files": [{"path": "/usr/local/bin/forgejo-runner",
                            "permissions": "0755", "content": RUNNER}]},
                        "networkConfig": {"version": 2, "ethernets":
                            {"nic": {"match": {"name": "e*"}, "addresses": ["10.77.0.188/24"]}}},
                    },
                },
            },
        })
        .to_string()
    };
    let usual = pool("").replace(r#","run":"""#, "");
    let usual = load_runner_pools(&usual, "pool.yaml").unwrap().remove(0);
    let defaults = Defaults {
        vm_pool: "foundry-vms".parse().unwrap(),
        image_pool: "foundry-images".parse().unwrap(),
        pool_override: None,
        bridge: None,
        dns: Vec::new(),
    };
    let usual = RunnerPoolPlan::from_manifest(&usual, &defaults, "x").unwrap();
    pool(&format!("while [ ! -x /usr/local/bin/forgejo-runner ]; do sleep 0.5; done\n{}", usual.guest.run))
}

/// Waits until the pool has one VM in a state; returns its name.
#[track_caller]
fn wait_for(bed: &Bed, pool: &str, state: &str, within: Duration) -> String {
    let begun = Instant::now();
    loop {
        let listed = bed.foundry(&["runner", "list", pool, "-o", "json"]).run().exits(0).stdout;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        match &listed[..] {
            [only] if only["state"] == state => return only["name"].as_str().unwrap().to_owned(),
            _ => assert!(begun.elapsed() < within, "not {state} but {listed:#?}"),
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn forgejos_runner_gets_its_configuration_and_its_log_tells_of_a_job() {
    let Some(bed) = Bed::new("forgejo") else { return };
    let Some(debian) = environment("FOUNDRY_TEST_DEBIAN") else { return };
    if std::env::var_os("FOUNDRY_TEST_FULL").is_none() {
        eprintln!("left out: one more Debian guest, for minutes; scripts/test.sh --full has it");
        return;
    }
    bed.import(&debian, "debian.qcow2");
    let runners: Arc<Mutex<BTreeMap<u64, Value>>> = Arc::default();
    let kept = Arc::clone(&runners);
    let server = Server::start(move |request| answer(&kept, request));
    let token = bed.home().join("token");
    std::fs::write(&token, "token-of-the-test\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (file, name) = (bed.home().join("pool.yaml"), bed.name("forge"));
    let describe = |mode: &str| std::fs::write(&file, manifest(&bed, &name, &server.url(""), mode)).unwrap();
    describe("serve");
    let mut serving =
        bed.foundry(&["runner", "serve", file.to_str().unwrap(), "--interval", "500ms"]).start();
    let first = wait_for(&bed, &name, "idle", BOOT);
    let in_guest = |script: &str| {
        bed.foundry(&["exec", "--agent", &first, "--", "sh", "-c", script]).run().exits(0).stdout
    };
    let begun = Instant::now();
    while in_guest("[ ! -s /tmp/config ] || cat /tmp/config").is_empty() {
        assert!(begun.elapsed() < BOOT, "{}", in_guest("cat /run/foundry-runner/log"));
        std::thread::sleep(Duration::from_secs(1));
    }
    let configuration: Value = serde_json::from_str(&in_guest("cat /tmp/config")).unwrap();
    assert_eq!(
        configuration["server"]["connections"]["forge"],
        json!({"url": "https://git.example.com", "uuid": "uuid-1", "token": "secret-1", "labels": ["debian:host"]})
    );
    assert_eq!(in_guest("cat /tmp/user"), "nobody\n");
    assert!(!in_guest("cat /tmp/env").contains("secret-1"));
    assert_eq!(in_guest("grep -rlsa secret-1 /tmp /run/foundry-runner /var/lib || :"), "/tmp/config\n");

    // The forge calls it idle for all its job; its log does not, and so a drain waits.
    in_guest("touch /tmp/job");
    wait_for(&bed, &name, "busy", SOON);
    describe("drain");
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(wait_for(&bed, &name, "busy", SOON), first);
    // The guest may be off before its agent has told of the end of this.
    bed.foundry(&["exec", "--agent", &first, "--", "touch", "/tmp/end"]).run();
    let begun = Instant::now();
    while !bed.traces().is_empty() {
        assert!(begun.elapsed() < SOON, "{:?}", bed.traces());
        std::thread::sleep(Duration::from_millis(300));
    }
    serving.signal("TERM");
    let ended = serving.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(runners.lock().unwrap().len(), 0, "{ended:#?}");
}
