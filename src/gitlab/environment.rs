//! Reads the job from the environment that GitLab Runner gives to each stage.
//!
//! GitLab Runner passes on each variable of the job as `CUSTOM_ENV_NAME`. A job can set every one of them, `CI_JOB_ID`
//! included, and could so ask for the VM of another job. Therefore the id, the project and the timeout are taken from
//! the file that `JOB_RESPONSE_FILE` names, which only GitLab writes. Runners that are too old for it have just the
//! variables. Most values are secrets of the job; only those that are needed are read, and none is repeated in a
//! message.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use foundry_core::error::{Code, Error};

/// The prefix of the job's own variables.
const PREFIX: &str = "CUSTOM_ENV_";
/// GitLab accepts job timeouts of less than one month.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// A job of GitLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number, unique on its server.
    pub id: u64,
    /// The server's host name.
    pub server: Option<String>,
    /// The number of the runner.
    pub runner: Option<u64>,
    /// The number of the project.
    pub project: Option<u64>,
    /// The number of the pipeline.
    pub pipeline: Option<u64>,
    /// The image that the job names.
    pub image: Option<String>,
    /// Whether the job names services, which are containers.
    pub has_services: bool,
    /// How long the job may take.
    pub timeout: Option<Duration>,
    directory: Option<PathBuf>,
}

/// What is read of the job as GitLab sent it (`spec.Job` of GitLab Runner).
#[derive(Debug, Deserialize)]
struct JobResponse {
    id: u64,
    #[serde(default)]
    job_info: JobInfo,
    #[serde(default)]
    runner_info: RunnerInfo,
}

#[derive(Debug, Default, Deserialize)]
struct JobInfo {
    project_id: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct RunnerInfo {
    /// In seconds.
    timeout: Option<u64>,
}

impl Job {
    /// Reads the job from the environment and from the text of `JOB_RESPONSE_FILE`, if there is one.
    ///
    /// # Errors
    /// [`Code::JobUnknown`] if they name no job.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, response: Option<&str>) -> Result<Self, Error> {
        let of_job = |name: &str| variable(&format!("{PREFIX}{name}")).filter(|value| !value.is_empty());
        let number = |name: &str| of_job(name).as_deref().and_then(parse_number);
        let response = response.map(parse_response).transpose()?;
        let id = response.as_ref().map(|job| job.id).or_else(|| number("CI_JOB_ID")).ok_or_else(no_job)?;
        let info = response.as_ref().map(|job| &job.job_info);
        let timeout = response.as_ref().and_then(|job| job.runner_info.timeout);
        let timeout = timeout.or_else(|| number("CI_JOB_TIMEOUT")).filter(|seconds| *seconds > 0);
        Ok(Self {
            id,
            server: of_job("CI_SERVER_HOST").filter(|host| is_host_name(host)),
            runner: number("CI_RUNNER_ID"),
            project: info.and_then(|info| info.project_id).or_else(|| number("CI_PROJECT_ID")),
            pipeline: number("CI_PIPELINE_ID"),
            image: of_job("CI_JOB_IMAGE"),
            has_services: of_job("CI_JOB_SERVICES").is_some(),
            timeout: timeout.map(|seconds| Duration::from_secs(seconds).min(LONGEST_TIMEOUT)),
            directory: variable("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()),
        })
    }

    /// The path of a file of the executor in the job's own directory, which the runner deletes after the job.
    ///
    /// # Errors
    /// [`Code::JobUnknown`] if the environment names no such directory.
    pub fn file(&self, name: &str) -> Result<PathBuf, Error> {
        let directory = self.directory.as_ref().ok_or_else(|| {
            Error::new(Code::JobUnknown, format!("job {} has no directory for its files", self.id))
                .because("TMPDIR is not an absolute path")
                .hint(RUN_BY_GITLAB)
        })?;
        Ok(directory.join(format!("foundry-job-{}-{name}", self.id)))
    }
}

const RUN_BY_GITLAB: &str = "GitLab Runner runs this command and sets its environment";

fn no_job() -> Error {
    Error::new(Code::JobUnknown, "the environment names no GitLab job")
        .because("JOB_RESPONSE_FILE is not set, and CUSTOM_ENV_CI_JOB_ID is not a number")
        .hint(RUN_BY_GITLAB)
}

fn parse_response(text: &str) -> Result<JobResponse, Error> {
    serde_json::from_str(text).map_err(|wrong| {
        // The parser's message may quote the text, which has tokens in it.
        let at = format!("line {}, column {}", wrong.line(), wrong.column());
        Error::new(Code::JobUnknown, "the file of JOB_RESPONSE_FILE is not a GitLab job").because(at)
    })
}

/// Parses a number in plain digits.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253 && text.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c))
}
