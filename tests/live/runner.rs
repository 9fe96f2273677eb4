//! A pool of runners with a real guest: the forge is three lines of shell, the runner a loop in the guest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::live::{Bed, Started, environment, files_in};
use crate::support::webhooks::{ask_socket, send_event_on, workflow_job};

/// The forge: a file for each registration, which is online as soon as it is there.
const FORGE: &str = r#"#!/bin/sh
cd "$2" || exit 1
case $1 in
register)
  [ ! -e "$FOUNDRY_RUNNER_NAME" ] || exit 3
  labels=$(printf %s "$FOUNDRY_RUNNER_LABELS" | sed 's/,/","/g')
  printf '{"id": "%s", "name": "%s", "online": true, "labels": ["%s"]}' \
    "$FOUNDRY_RUNNER_NAME" "$FOUNDRY_RUNNER_NAME" "$labels" >"$FOUNDRY_RUNNER_NAME"
  printf '{"id": "%s", "configuration": "secret of %s"}' "$FOUNDRY_RUNNER_NAME" "$FOUNDRY_RUNNER_NAME" ;;
list)
  comma=
  printf '['
  for file in *; do
    [ ! -e "$file" ] || { printf %s "$comma"; cat "$file"; comma=,; }
  done
  printf ']' ;;
unregister) rm -f "$FOUNDRY_RUNNER_ID" ;;
esac
"#;

/// How long a Debian guest may take from its start to its agent, without KVM and beside other guests.
const BOOT: Duration = Duration::from_secs(900);

const SECRET: &str = "a-secret-of-the-test";

struct Pool<'a> {
    bed: &'a Bed,
    name: String,
    manifest: PathBuf,
    registrations: PathBuf,
}

impl<'a> Pool<'a> {
    fn new(bed: &'a Bed) -> Self {
        let (script, registrations) = (bed.home().join("forge.sh"), bed.home().join("registrations"));
        std::fs::create_dir(&registrations).unwrap();
        std::fs::write(&script, FORGE).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let manifest = bed.home().join("pool.yaml");
        let pool = Self { bed, name: bed.name("pool"), manifest, registrations };
        std::fs::write(bed.home().join("hook"), SECRET).unwrap();
        let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(bed.home().join("hook"), mine).unwrap();
        pool.describe(&script.display().to_string());
        pool
    }

    fn describe(&self, script: &str) {
        let Self { bed, name, registrations, .. } = self;
        let secret = bed.home().join("hook").display().to_string();
        let registrations = registrations.display();
        let bridge = bed.bridge();
        let text = format!(
            r#"
apiVersion: foundry.cofront.xyz/v1alpha1
kind: RunnerPool
metadata: {{name: {name}}}
spec:
  forge:
    command:
      register: [{script}, register, {registrations}]
      list: [{script}, list, {registrations}]
      unregister: [{script}, unregister, {registrations}]
  demand: {{webhook: {{path: acme, secretFile: {secret}}}}}
  labels: [linux]
  size: {{minIdle: 0, max: 1}}
  timeouts: {{start: 15m}}
  guest:
    user: root
    directory: /tmp
    run: 'echo "$RUNNER_CONFIGURATION" >got; while [ ! -e end ]; do sleep 0.2; done'
    busy: test -e /tmp/job
  template:
    vcpus: 1
    memoryGiB: 1
    bootDisk: {{sizeGiB: 4, image: debian.qcow2}}
    networkInterfaces: [{{bridge: {bridge}}}]
    cloudInit:
      networkConfig:
        version: 2
        ethernets: {{nic: {{match: {{name: "e*"}}, addresses: [10.77.0.187/24]}}}}
"#
        );
        std::fs::write(&self.manifest, text).unwrap();
    }

    fn serve(&self) -> Started {
        let (file, socket) = (self.manifest.to_str().unwrap(), self.socket().display().to_string());
        self.bed.foundry(&["runner", "serve", file, "--interval", "500ms", "--socket", &socket]).start()
    }

    fn socket(&self) -> PathBuf {
        self.bed.home().join("api.sock")
    }

    /// Sends an event of a job, and waits until the controller listens if it has just been started.
    #[track_caller]
    fn event(&self, action: &str, job: u64, runner: Option<&str>) {
        for _ in 0..300 {
            if std::os::unix::net::UnixStream::connect(self.socket()).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let told = send_event_on(&self.socket(), SECRET, &workflow_job(action, job, &["linux"], runner));
        assert_eq!(told.status, 202, "{told:?}");
    }

    /// Runs a command about the pool.
    fn ask(&self, verb: &str, more: &[&str]) {
        self.bed.foundry(&[&["runner", verb, &self.name], more].concat()).run().exits(0);
    }

    fn list(&self) -> Vec<Value> {
        let listed = self.bed.foundry(&["runner", "list", &self.name, "-o", "json"]).run().exits(0).stdout;
        serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().clone()
    }

    /// Waits until the pool's VMs are in these states, in the order of their names; returns the names.
    #[track_caller]
    fn reaches(&self, states: &[&str], within: Duration) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let listed = self.list();
            let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
            let found: Vec<String> = listed.iter().map(|one| text(one, "state")).collect();
            if found == states {
                return listed.iter().map(|one| text(one, "name")).collect();
            }
            assert!(begun.elapsed() < within, "not {states:?} but {listed:#?}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn in_guest(&self, vm: &str, script: &str) -> String {
        self.bed.foundry(&["exec", "--agent", vm, "--", "sh", "-c", script]).run().exits(0).stdout
    }

    /// The database knows the jobs and the runner that did one.
    fn tells_what_was(&self, first: &str) {
        let read = |words: &[&str]| -> Value {
            serde_json::from_str(&self.bed.foundry(words).run().exits(0).stdout).unwrap()
        };
        let jobs = read(&["runner", "jobs", &self.name, "-o", "json"]);
        let states: Vec<&str> =
            jobs.as_array().unwrap().iter().map(|job| job["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["queued", "completed", "completed"], "{jobs:#}");
        assert_eq!((&jobs[1]["runner"], &jobs[1]["result"]), (&first.into(), &"success".into()), "{jobs:#}");
        let runner = read(&["runner", "get", first, "-o", "json"]);
        assert_eq!((&runner["state"], &runner["reason"]), (&"gone".into(), &"done".into()), "{runner:#}");
        let pools = ask_socket(&self.socket(), "GET /v1/pools", &[], b"").json();
        let pool = &pools[0];
        assert_eq!((&pool["mode"], &pool["queued"]), (&"drain".into(), &1.into()), "{pools:#}");
    }

    fn registered(&self) -> Vec<String> {
        files_in(&self.registrations, "")
    }
}

#[test]
fn a_pool_runs_jobs_through_a_restart_and_ends() {
    let Some(bed) = Bed::new("runner") else { return };
    let Some(debian) = environment("FOUNDRY_TEST_DEBIAN") else { return };
    bed.import(&debian, "debian.qcow2");
    let pool = Pool::new(&bed);
    let soon = Duration::from_secs(120);

    // Without a job, nothing is made.
    let mut serving = pool.serve();
    pool.event("completed", 1, None);
    pool.event("queued", 2, None);
    let first = pool.reaches(&["booting"], soon).remove(0);
    // Nobody else may serve it meanwhile.
    let file = pool.manifest.to_str().unwrap();
    bed.foundry(&["runner", "serve", file]).run().exits(4).mentions("serves it");
    assert_eq!(pool.registered(), Vec::<String>::new(), "a VM that boots has no registration");
    // Killed while it boots: the next one takes it over.
    serving.signal("KILL");
    serving.end();
    serving = pool.serve();
    assert_eq!(pool.reaches(&["idle"], BOOT), [first.as_str()]);
    assert_eq!(pool.registered(), [first.as_str()]);
    assert_eq!(pool.in_guest(&first, "cat /tmp/got"), format!("secret of {first}\n"));
    let record = bed.record(&first).to_string();
    assert!(record.contains("\"idle\"") && !record.contains("secret of"), "{record}");

    // A job, during which the pool is to end: it goes on to its own end.
    pool.event("in_progress", 2, Some(&first));
    pool.in_guest(&first, "touch /tmp/job");
    pool.reaches(&["busy"], soon);
    pool.ask("drain", &[]);
    pool.event("queued", 3, None);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(pool.reaches(&["busy"], soon), [first.as_str()]);
    pool.ask("resume", &[]);
    // The guest may be off before its agent has told of the end of this.
    let ends = ["exec", "--agent", &first, "--", "sh", "-c", "rm /tmp/job; touch /tmp/end"];
    bed.foundry(&ends).run();
    let begun = Instant::now();
    let second = loop {
        let names: Vec<String> =
            pool.list().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        match &names[..] {
            [only] if *only != first => break only.clone(),
            _ => assert!(begun.elapsed() < soon, "{names:?}"),
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    assert!(!pool.registered().contains(&first), "{:?}", pool.registered());
    pool.event("completed", 2, Some(&first));

    // Idle, it is fenced off and ends with the pool.
    assert_eq!(pool.reaches(&["idle"], BOOT), [second]);
    pool.ask("drain", &["--wait", "120s"]);
    pool.reaches(&[], soon);
    pool.tells_what_was(&first);
    assert_eq!(pool.registered(), Vec::<String>::new());
    assert_eq!(bed.traces(), []);
    serving.signal("TERM");
    let ended = serving.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    for said in ["is busy", "take the link of", "remove the registration of"] {
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
}
