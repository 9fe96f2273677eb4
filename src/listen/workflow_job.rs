//! The event `workflow_job` of GitHub, Gitea and Forgejo.
//!
//! GitHub's page "Webhook events and payloads" describes it; Gitea sends the same members. All but the id are optional here:
//! older servers leave some out.

use foundry_runner::{EpochSeconds, JobEvent, JobState};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The longest text that is kept of a name or URL, in characters.
const MAX_TEXT: usize = 300;
/// The most labels of a job that are kept.
const MAX_LABELS: usize = 100;

#[derive(Deserialize)]
struct Payload {
    action: Option<String>,
    workflow_job: WorkflowJob,
    repository: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct WorkflowJob {
    id: Value,
    status: Option<String>,
    conclusion: Option<String>,
    name: Option<String>,
    workflow_name: Option<String>,
    html_url: Option<String>,
    labels: Option<Vec<String>>,
    runner_name: Option<String>,
    created_at: Option<String>,
    started_at: Option<String>,
    completed_at: Option<String>,
}

/// Reads an event; `None` if it says nothing that matters to a pool: a job that waits for an approval, or an action that is
/// not known.
///
/// # Errors
/// What is wrong, without anything of the body.
pub(crate) fn read_workflow_job(body: &[u8], now: EpochSeconds) -> Result<Option<JobEvent>, &'static str> {
    let payload: Payload =
        serde_json::from_slice(body).map_err(|_| "the body is not the JSON of a workflow_job")?;
    let job = payload.workflow_job;
    let state = match (payload.action.as_deref(), job.status.as_deref()) {
        // A job that needs an approval is queued later.
        (Some("queued"), None | Some("queued")) => JobState::Queued,
        (Some("in_progress"), _) => JobState::Running,
        (Some("completed"), _) => JobState::Completed,
        _ => return Ok(None),
    };
    let id = match &job.id {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err("the job has no id"),
    };
    let repository = payload.repository.ok_or("the body has no repository")?;
    let time = |text: Option<String>| text.and_then(|text| read_time(&text));
    let runner = job.runner_name.filter(|name| !name.is_empty() && state != JobState::Queued).map(shorten);
    let started = time(job.started_at).filter(|_| state != JobState::Queued);
    Ok(Some(JobEvent {
        forge: host_of(repository.html_url.as_deref().unwrap_or_default()),
        id: shorten(id),
        repository: shorten(repository.full_name.ok_or("the repository has no name")?),
        workflow: shorten(job.workflow_name.unwrap_or_default()),
        name: shorten(job.name.unwrap_or_default()),
        url: shorten(job.html_url.filter(|url| is_web_url(url)).unwrap_or_default()),
        labels: job.labels.unwrap_or_default().into_iter().take(MAX_LABELS).map(shorten).collect(),
        state,
        // A job that nobody ran was started by nobody, whatever its times say.
        started: started.filter(|_| runner.is_some()),
        runner,
        result: job.conclusion.filter(|_| state == JobState::Completed).map(shorten),
        // A clock ahead of ours does not make a job of the future.
        queued: time(job.created_at).unwrap_or(now).min(now),
        ended: (state == JobState::Completed).then(|| time(job.completed_at).unwrap_or(now)),
        reopens: false,
    }))
}

fn shorten(text: String) -> String {
    if text.chars().count() <= MAX_TEXT { text } else { text.chars().take(MAX_TEXT).collect() }
}

fn is_web_url(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// The host of a URL, in small letters: jobs of one forge have one key, through whichever hook they come.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    shorten(rest.split('/').next().unwrap_or_default().to_lowercase())
}

fn read_time(text: &str) -> Option<EpochSeconds> {
    let time: Timestamp = text.parse().ok()?;
    // Gitea writes the year 1 or 1970 for a time that is not known.
    u64::try_from(time.as_second()).ok().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;

    fn payload(action: &str, job: Value) -> Vec<u8> {
        let mut whole = json!({"id": 7, "labels": ["Linux"], "created_at": "2027-01-15T07:00:00Z"});
        whole.as_object_mut().unwrap().extend(job.as_object().unwrap().clone());
        json!({"action": action, "workflow_job": whole,
            "repository": {"full_name": "Acme/shop", "html_url": "https://GitHub.com/Acme/shop"}})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn each_action_says_how_far_a_job_is() {
        let read = |action, job| read_workflow_job(&payload(action, job), NOW).unwrap();
        let queued = read(
            "queued",
            json!({"status": "queued", "runner_name": "hosted", "started_at": "2027-01-15T07:00:00Z"}),
        );
        let queued = queued.unwrap();
        assert_eq!((queued.state, queued.runner.as_deref(), queued.started), (JobState::Queued, None, None));
        assert_eq!(
            (queued.forge.as_str(), queued.repository.as_str(), queued.id.as_str()),
            ("github.com", "Acme/shop", "7")
        );
        let running = read(
            "in_progress",
            json!({"status": "queued", "runner_name": "ci-1", "started_at": "2027-01-15T07:01:00Z"}),
        );
        let running = running.unwrap();
        assert_eq!((running.state, running.runner.as_deref()), (JobState::Running, Some("ci-1")));
        assert_eq!(running.started, Some(queued.queued + 60));
        let ended =
            read("completed", json!({"conclusion": "cancelled", "completed_at": "0001-01-01T00:00:00Z"}))
                .unwrap();
        assert_eq!(
            (ended.result.as_deref(), ended.ended, ended.started),
            (Some("cancelled"), Some(NOW), None)
        );
        for (action, status) in
            [("waiting", "waiting"), ("queued", "waiting"), ("deleted", "queued"), ("", "queued")]
        {
            assert_eq!(read(action, json!({"status": status})), None, "{action} {status}");
        }
    }

    #[test]
    fn what_is_foreign_is_bounded() {
        let job = json!({"id": "x", "labels": vec!["l"; 5000], "name": "n".repeat(9000), "html_url": "javascript:alert(1)",
            "created_at": "2999-01-01T00:00:00Z"});
        let read = read_workflow_job(&payload("queued", job), NOW).unwrap().unwrap();
        assert_eq!((read.labels.len(), read.name.len(), read.url.as_str(), read.queued), (100, 300, "", NOW));
        for body in [
            "",
            "[]",
            "{}",
            r#"{"workflow_job":{"id":null}}"#,
            r#"{"action":"queued","workflow_job":{"id":{}}}"#,
        ] {
            assert!(read_workflow_job(body.as_bytes(), NOW).is_err() || body.contains("null"), "{body}");
        }
        let nameless = json!({"action": "queued", "workflow_job": {"id": 1}, "repository": {}}).to_string();
        assert!(read_workflow_job(nameless.as_bytes(), NOW).is_err());
    }
}
