//! The answer of the stage `config`: what GitLab Runner needs to know of the executor.

use serde::Serialize;

use crate::executor_config::ExecutorConfig;
use crate::job_vm::JobVm;

/// `ConfigExecOutput` of GitLab Runner (`executors/custom/api/config.go`).
#[derive(Debug, Serialize)]
pub struct DriverAnswer<'a> {
    driver: DriverVersion,
    hostname: &'a str,
    builds_dir: &'a str,
    cache_dir: &'a str,
    /// No other job sees the directory, because no other job has the VM.
    builds_dir_is_shared: bool,
    shell: &'a str,
}

#[derive(Debug, Serialize)]
struct DriverVersion {
    name: &'static str,
    version: &'static str,
}

impl<'a> DriverAnswer<'a> {
    /// The answer for a job.
    pub fn new(config: &'a ExecutorConfig, vm: &'a JobVm) -> Self {
        Self {
            driver: DriverVersion { name: "foundry", version: env!("CARGO_PKG_VERSION") },
            hostname: &vm.name,
            builds_dir: &config.builds_dir,
            cache_dir: &config.cache_dir,
            builds_dir_is_shared: false,
            shell: config.shell.as_str(),
        }
    }
}
