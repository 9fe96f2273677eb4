//! The custom executor for GitLab Runner, driven as GitLab Runner does: a process for each stage, an environment, and
//! nothing else that lasts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::live::{Bed, Foundry, Ran};
use serde_json::Value;

/// A network with addresses to give away. Its dnsmasq does not look for seconds whether an address is in use: of two
/// guests that ask at once, the tiny one gives up.
fn network(bed: &Bed) -> String {
    let name = bed.name("net");
    let xml = format!(
        "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>{name}</name>\
         <bridge name='fdtj0'/><ip address='10.77.12.1' netmask='255.255.255.0'>\
         <dhcp><range start='10.77.12.10' end='10.77.12.99'/></dhcp></ip>\
         <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options></network>"
    );
    bed.virsh().defines("net-define", &xml);
    bed.virsh().does(&["net-start", &name]);
    name
}

/// A bed with the configuration of an executor.
fn executor(id: &str) -> Option<Bed> {
    let bed = Bed::with_tiny(id)?;
    let config = format!(
        "template:\n  vcpus: 1\n  memoryGiB: 0.25\n  bootDisk: {{sizeGiB: 1, image: tiny.qcow2}}\n  \
         networkInterfaces: [{{network: {}}}]\nnamePrefix: {}\nshell: sh\nstartTimeout: 3m\n",
        network(&bed),
        bed.name("job")
    );
    std::fs::write(bed.home().join("executor.yaml"), config).unwrap();
    Some(bed)
}

/// A job, and its directory.
struct Job<'a> {
    bed: &'a Bed,
    id: u32,
    directory: PathBuf,
}

impl<'a> Job<'a> {
    fn new(bed: &'a Bed, id: u32) -> Self {
        let directory = bed.home().join(format!("custom-executor{id}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("response.json"), format!("{{\"id\": {id}, \"token\": \"x\"}}"))
            .unwrap();
        Self { bed, id, directory }
    }

    fn vm(&self) -> String {
        self.bed.name(&format!("job-{}", self.id))
    }

    fn at(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// A stage with the environment that GitLab Runner sets. HOME is not in it: a service has none.
    fn stage(&self, arguments: &[&str]) -> Foundry {
        let config = self.bed.home().join("executor.yaml");
        let config = ["--executor-config", config.to_str().unwrap()];
        let mut command =
            self.bed.foundry(&[&["gitlab-executor"], arguments, &config].concat()).into_command();
        command.env_remove("HOME").current_dir(&self.directory);
        Foundry::of(command)
            .env("TMPDIR", self.directory.to_str().unwrap())
            .env("JOB_RESPONSE_FILE", &self.at("response.json"))
            .env("BUILD_EXIT_CODE_FILE", &self.at("code"))
            .env("BUILD_FAILURE_EXIT_CODE", "11")
            .env("SYSTEM_FAILURE_EXIT_CODE", "12")
            .env("CUSTOM_ENV_CI_JOB_ID", "1")
            .env("CUSTOM_ENV_CI_SERVER_HOST", "gitlab.example.com")
            .env("CUSTOM_ENV_CI_PROJECT_ID", "34")
    }

    fn script(&self, text: &str) -> Foundry {
        let script = self.at("script.sh");
        std::fs::write(&script, text).unwrap();
        self.stage(&["run", &script, "build_script"])
    }

    /// Runs a script; the code that the runner is told besides.
    fn runs(&self, text: &str) -> (Ran, Option<String>) {
        let ran = self.script(text).run();
        let code = std::fs::read_to_string(self.at("code")).ok();
        let _ = std::fs::remove_file(self.at("code"));
        (ran, code)
    }

    fn prepares(&self) {
        self.stage(&["prepare"]).run().exits(0).prints("");
    }

    fn cleans_up(&self) {
        self.stage(&["cleanup"]).run().exits(0).prints("");
    }

    fn exists(&self) -> bool {
        self.bed.foundry(&["get", &self.vm()]).run().code == 0
    }
}

#[test]
fn a_job_runs_in_a_vm_of_its_own_that_is_gone_afterwards() {
    let Some(bed) = executor("gitlab") else { return };
    let job = Job::new(&bed, 7);
    let answer: Value =
        serde_json::from_str(&job.stage(&["config"]).run().exits(0).tells("").stdout).unwrap();
    assert_eq!(answer["hostname"], job.vm());
    job.cleans_up();
    job.runs("exit 0").0.exits(12).mentions("has no VM");

    job.prepares();
    let labels = &bed.get(&job.vm())["metadata"]["labels"];
    assert_eq!((labels["gitlab-job"].as_str(), labels["gitlab-project"].as_str()), (Some("7"), Some("34")));
    let (ran, code) = job.runs("hostname; pwd >&2; ls -d /builds /cache; touch /builds/state");
    ran.exits(0).prints(&format!("{}\n/builds\n/cache\n", job.vm())).tells("/root\n");
    assert_eq!(code, None);
    job.runs("cat /builds/state && echo kept").0.exits(0).prints("kept\n");
    for exit in [7, 254, 255] {
        let (ran, code) = job.runs(&format!("echo out; exit {exit}"));
        ran.exits(11).prints("out\n").tells("");
        assert_eq!(code, Some(format!("{exit}\n")));
    }
    let (ran, _) = job.runs("head -c 30000000 /dev/zero | tr '\\0' x");
    assert_eq!(ran.exits(0).stdout.len(), 30_000_000);

    // The runner tries the preparation again.
    let first = bed.record(&job.vm())["domain"].clone();
    job.prepares();
    assert_ne!(bed.record(&job.vm())["domain"], first);
    job.runs("ls /builds").0.exits(0).prints("");
    job.cleans_up();
    job.cleans_up();
    assert_eq!(bed.traces(), []);
}

/// GitLab Runner sends SIGTERM to a stage that is cancelled, and then still runs `after_script`.
#[test]
fn a_cancelled_stage_ends_at_once_and_so_does_its_script() {
    let Some(bed) = executor("gitlabkill") else { return };
    let job = Job::new(&bed, 7);
    job.prepares();
    let endless = "echo begun >&2; while :; do date +%s >/tmp/alive; sleep 1; done";
    for signal in ["TERM", "KILL"] {
        let mut stage = job.script(endless).start();
        assert!(stage.until(|line| line == "begun\n"));
        let begun = Instant::now();
        stage.signal(signal);
        let ended = stage.end();
        assert!(begun.elapsed() < Duration::from_secs(5), "{signal}: {:?}", begun.elapsed());
        assert_eq!(ended.code, if signal == "TERM" { 12 } else { 137 }, "{ended:#?}");
        // ssh, which SIGKILL left alone, ends with its input; then the guest ends the script.
        let (ran, _) = job.runs(
            "sleep 4; old=$(cat /tmp/alive); sleep 2; [ \"$old\" = \"$(cat /tmp/alive)\" ] && ! pidof date",
        );
        ran.exits(0);
    }
    job.cleans_up();

    let job = Job::new(&bed, 8);
    let mut stage = job.stage(&["prepare"]).start();
    assert!(stage.until(|line| line.contains("VM started")));
    stage.signal("TERM");
    stage.end().exits(12).mentions("interrupted while waiting for SSH");
    job.cleans_up();
    assert_eq!(bed.traces(), []);
}

#[test]
fn jobs_run_side_by_side_and_the_vm_of_a_dead_runner_is_destroyed() {
    let Some(bed) = executor("gitlabtwo") else { return };
    let (dead, first, second) = (Job::new(&bed, 1), Job::new(&bed, 2), Job::new(&bed, 3));
    dead.prepares();
    let mut record = bed.record(&dead.vm());
    record["manifest"]["metadata"]["annotations"]["gitlab-deadline"] = "2001-01-01T00:00:00Z".into();
    bed.set_live_record(&dead.vm(), &record);
    // A VM of the user's own, which has the name of a job's.
    let own = Job::new(&bed, 4);
    let mut manifest = bed.manifest("job-4", 143);
    manifest.name = own.vm();
    bed.creates(&manifest);

    let preparing = [&first, &second].map(|job| job.stage(&["prepare"]).start());
    let [one, other] = preparing.map(|stage| stage.end().exits(0));
    let destroyed = format!("Destroyed VM '{}', whose job was never cleaned up", dead.vm());
    assert!(one.stderr.contains(&destroyed) || other.stderr.contains(&destroyed), "{one:#?}\n{other:#?}");
    assert!(!dead.exists());
    for job in [&first, &second] {
        job.runs("hostname").0.exits(0).prints(&format!("{}\n", job.vm()));
    }
    // The key of one job is not that of another.
    std::fs::copy(first.at("foundry-job-2-key"), second.at("foundry-job-3-key")).unwrap();
    second.runs("exit 0").0.exits(12).mentions("Permission denied");
    first.cleans_up();
    assert!(!first.exists() && second.exists());
    second.runs("exit 0").0.exits(12);

    own.stage(&["prepare"]).run().exits(12);
    own.cleans_up();
    assert!(own.exists(), "it is not the job's");
    second.cleans_up();
    bed.foundry(&["destroy", &own.vm()]).run().exits(0);
    assert_eq!(bed.traces(), []);
}
