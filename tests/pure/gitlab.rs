//! The custom executor for GitLab Runner: what it makes of configuration, environment and job, and what it does to VMs.

mod job;
mod scripts;
mod settings;
mod stages;
mod vms;

use std::time::Duration;

use crate::support::manifests::defaults;
use foundry::gitlab::environment::Job;
use foundry::gitlab::executor_config::ExecutorConfig;

/// A configuration with as little in it as there can be, and images that jobs may name.
const CONFIG: &str = "
template:
  vcpus: 1
  memoryGiB: 1
  bootDisk: {sizeGiB: 10, image: debian-12}
  networkInterfaces: [{network: default}]
images: ['web_*', ubuntu-24.04]
";

fn config() -> ExecutorConfig {
    ExecutorConfig::parse(CONFIG, "executor.yaml", &defaults()).unwrap()
}

/// Reads a job from these variables.
fn read_job(variables: &[(&str, &str)], response: Option<&str>) -> Result<Job, foundry::Error> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Job::read(&variable, response)
}

/// A job of gitlab.example.com that may take an hour.
fn job(id: u64) -> Job {
    let id = id.to_string();
    let variables = [
        ("CUSTOM_ENV_CI_JOB_ID", id.as_str()),
        ("CUSTOM_ENV_CI_SERVER_HOST", "gitlab.example.com"),
        ("CUSTOM_ENV_CI_RUNNER_ID", "12"),
        ("CUSTOM_ENV_CI_PROJECT_ID", "34"),
        ("CUSTOM_ENV_CI_PIPELINE_ID", "56"),
        ("CUSTOM_ENV_CI_JOB_TIMEOUT", "3600"),
    ];
    let job = read_job(&variables, None).unwrap();
    assert_eq!(job.timeout, Some(Duration::from_secs(3600)));
    job
}
