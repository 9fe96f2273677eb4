//! Takes the webhooks of forges.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, StatusCode};
use foundry_core::error::Error;
use foundry_jobs::JobRow;
use foundry_runner::{EpochSeconds, JobEvent, PoolOffer, choose_pool};
use serde_json::json;

use crate::answer::{HttpAnswer, answer_error, answer_json, refuse};
use crate::shared::{ListenedPool, ListenerState};
use crate::signature::{has_signature, is_signed};
use crate::workflow_job::read_workflow_job;

/// The largest body, in bytes. A workflow_job has some ten thousand; strangers can make this host read as much.
const MAX_BODY: usize = 2 << 20;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The present time.
pub(crate) fn epoch_now() -> EpochSeconds {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Takes one delivery. It answers 202 only when the job is on the disk: forges do not send it again by themselves.
pub(crate) async fn take_webhook(
    State(shared): State<Arc<ListenerState>>,
    Path(path): Path<String>,
    request: Request<Body>,
) -> HttpAnswer {
    let pools = shared.pools_at(&path);
    if pools.is_empty() {
        return refuse(StatusCode::NOT_FOUND, "there is nothing here");
    }
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let why = "the content type must be application/json: choose that in the settings of the webhook";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    if !has_signature(&parts.headers) {
        shared.metrics.count_webhook("unsigned");
        return refuse(StatusCode::UNAUTHORIZED, "the signature is missing or wrong");
    }
    let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await {
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
        Ok(Err(_)) => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body broke off, or is larger than 2 MiB");
        }
        Ok(Ok(body)) => body,
    };
    let is_from_its_forge = |pool: &ListenedPool| {
        pool.webhook.as_ref().is_some_and(|hook| is_signed(&parts.headers, &body, &hook.secret))
    };
    let pools: Vec<ListenedPool> = pools.into_iter().filter(is_from_its_forge).collect();
    if pools.is_empty() {
        shared.metrics.count_webhook("unsigned");
        return refuse(StatusCode::UNAUTHORIZED, "the signature is missing or wrong");
    }
    let noted = |what: &str| answer_json(StatusCode::OK, &json!({"accepted": false, "reason": what}));
    if event_name(&parts.headers) != Some("workflow_job") {
        shared.metrics.count_webhook("ignored");
        return noted("only workflow_job matters here");
    }
    let event = match read_workflow_job(&body, epoch_now()) {
        Ok(Some(event)) => JobEvent { reopens: reuses_ids(&parts.headers), ..event },
        Ok(None) => {
            shared.metrics.count_webhook("ignored");
            return noted("this action does not matter here");
        }
        Err(why) => {
            shared.metrics.count_webhook("unreadable");
            return refuse(StatusCode::BAD_REQUEST, why);
        }
    };
    let job = event.id.clone();
    let task_state = Arc::clone(&shared);
    // Writing waits for the disk; other connections go on meanwhile.
    let recorded = tokio::task::spawn_blocking(move || record(&task_state, &pools, &event)).await;
    match recorded {
        Ok(Ok(Some(pool))) => {
            shared.metrics.count_webhook("accepted");
            answer_json(StatusCode::ACCEPTED, &json!({"accepted": true, "job": job, "pool": pool}))
        }
        Ok(Ok(None)) => {
            shared.metrics.count_webhook("unmatched");
            noted("no pool has the labels of the job")
        }
        Ok(Err(error)) => answer_error(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the job could not be noted"),
    }
}

/// Notes the job; returns the pool that it counts for. One that is no pool's is not noted: most jobs of a forge are not.
fn record(shared: &ListenerState, pools: &[ListenedPool], event: &JobEvent) -> Result<Option<String>, Error> {
    let offers: Vec<PoolOffer<'_>> = pools.iter().map(ListenedPool::offer).collect();
    let database = shared.database();
    let known = database.find_job(&event.forge, &event.id)?;
    let noted_pool = known.as_ref().and_then(|row| row.pool.clone());
    let Some(pool) = noted_pool.or_else(|| choose_pool(&offers, event).map(str::to_owned)) else {
        return Ok(None);
    };
    // An end that was only supposed counts when it is reported.
    let is_news = |row: &JobRow| row.event.state < event.state || row.is_supposed() && event.result.is_some();
    let has_advanced = known.as_ref().is_none_or(is_news);
    database.record_event(event, Some(&pool), epoch_now())?;
    if has_advanced {
        shared.metrics.observe_job(&pool, event);
    }
    Ok(Some(pool))
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the forge runs a job again under its old id: Gitea does, GitHub and Forgejo give a new one.
fn reuses_ids(headers: &HeaderMap) -> bool {
    headers.contains_key("x-gitea-event") && !headers.contains_key("x-forgejo-event")
}

/// The event's name. Gitea and Forgejo send GitHub's header, too.
fn event_name(headers: &HeaderMap) -> Option<&str> {
    let names = ["x-github-event", "x-forgejo-event", "x-gitea-event"];
    names.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok())
}
