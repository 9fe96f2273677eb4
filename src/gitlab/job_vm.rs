//! The VM of a job: its name, its manifest, and how it is known again.
//!
//! Names alone do not say whose a VM is: labels name the executor, the server and the job. Only a VM with all of them is
//! the job's.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::environment::Job;
use crate::executor_config::ExecutorConfig;
use foundry_core::error::Error;
use foundry_core::manifest::{API_VERSION, BootDisk, CloudInit, KIND, Metadata, Spec, VirtualMachine};

/// The label with the name prefix of the executor.
const EXECUTOR: &str = "gitlab-executor";
const SERVER: &str = "gitlab-server";
const JOB: &str = "gitlab-job";
/// The annotation with the time (RFC 3339) from which on the VM may be destroyed.
pub const DEADLINE: &str = "gitlab-deadline";

/// Time between a job's timeout and the deadline of its VM. GitLab Runner waits up to 10 minutes for a stage that it
/// stops, then runs `after_script`, and clocks differ.
const SLACK: Duration = Duration::from_secs(60 * 60);

/// The VM of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobVm {
    /// Its name.
    pub name: String,
    labels: BTreeMap<String, String>,
}

impl JobVm {
    /// The VM of this job.
    pub fn of_job(config: &ExecutorConfig, job: &Job) -> Self {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let labels = [
            (EXECUTOR, Some(config.name_prefix.clone())),
            (SERVER, job.server.clone()),
            (JOB, Some(job.id.to_string())),
            ("gitlab-runner", number(job.runner)),
            ("gitlab-project", number(job.project)),
            ("gitlab-pipeline", number(job.pipeline)),
        ];
        let given = labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Self { name: format!("{}-{}", config.name_prefix, job.id), labels: given.collect() }
    }

    /// Whether a VM with these metadata is the job's.
    pub fn is_described_by(&self, metadata: &Metadata) -> bool {
        [EXECUTOR, SERVER, JOB].iter().all(|key| metadata.labels.get(*key) == self.labels.get(*key))
    }

    /// The manifest of the VM. The owner of `public_key` can log in as root.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobImageRefused`] if the job names an image that it may not have.
    pub fn manifest(
        &self,
        config: &ExecutorConfig,
        job: &Job,
        public_key: &str,
        now: Timestamp,
    ) -> Result<VirtualMachine, Error> {
        let timeout = job.timeout.unwrap_or(config.job_timeout);
        let deadline = (DEADLINE.to_owned(), deadline(now, timeout).to_string());
        let spec = Spec { autostart: Some(false), ..config.template.clone() };
        let disk = spec.boot_disk.unwrap_or_default();
        let image = config.images.choose(job.image.as_deref(), disk.image.as_deref())?.map(str::to_owned);
        let seed = spec.cloud_init.unwrap_or_default();
        let keys = [seed.ssh_authorized_keys.clone(), vec![public_key.to_owned()]].concat();
        Ok(VirtualMachine {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata {
                name: Some(self.name.clone()),
                labels: self.labels.clone(),
                annotations: BTreeMap::from([deadline]),
                ..Metadata::default()
            },
            spec: Spec {
                boot_disk: Some(BootDisk { image, ..disk }),
                cloud_init: Some(CloudInit { ssh_authorized_keys: keys, ..seed }),
                ..spec
            },
            status: None,
        })
    }
}

/// When the VM of a job that begins now may be destroyed by others.
fn deadline(now: Timestamp, timeout: Duration) -> Timestamp {
    let time = SignedDuration::try_from(timeout.saturating_add(SLACK)).unwrap_or(SignedDuration::MAX);
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// Whether a VM with these metadata belongs to this executor and its deadline has passed. A VM whose deadline cannot be
/// read is left alone.
pub fn is_expired(config: &ExecutorConfig, metadata: &Metadata, now: Timestamp) -> bool {
    let deadline = metadata.annotations.get(DEADLINE).and_then(|text| text.parse::<Timestamp>().ok());
    let is_own =
        metadata.labels.get(EXECUTOR) == Some(&config.name_prefix) && metadata.labels.contains_key(JOB);
    is_own && deadline.is_some_and(|deadline| deadline < now)
}
