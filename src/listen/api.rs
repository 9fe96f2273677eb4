//! Which request does what.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use foundry_core::error::Error;
use foundry_jobs::{JobDatabase, JobFilter, JobStatus, RunnerStatus};
use foundry_runner::{JobState, PoolWish};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{HttpAnswer, answer_error, answer_json, answer_with, refuse};
use crate::page::{STYLE, render_page};
use crate::shared::ListenerState;
use crate::token::ApiToken;
use crate::webhook::{epoch_now, take_webhook};

type Shared = Arc<ListenerState>;

/// The most jobs of one answer.
const MAX_PAGE: usize = 100;
/// The largest body of a call, in bytes.
const MAX_CALL: usize = 64 << 10;

/// What anybody may ask.
pub(crate) fn public_router(shared: &Shared) -> Router {
    Router::new()
        .route("/webhooks/{path}", post(take_webhook))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(show_readiness))
        .route("/metrics", get(show_metrics))
        .route(
            "/page.css",
            get(|| async { answer_with(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned()) }),
        )
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is nothing here") })
        .with_state(Arc::clone(shared))
}

/// What only a user may ask who can manage the pools.
pub(crate) fn admin_router(shared: &Shared) -> Router {
    Router::new()
        .route("/", get(show_page))
        .route("/v1/pools", get(list_pools))
        .route("/v1/pools/{pool}", get(show_pool))
        .route("/v1/pools/{pool}/{request}", post(ask_pool))
        .route("/v1/runners", get(list_runners))
        .route("/v1/runners/{runner}", get(show_runner))
        .route("/v1/runners/{runner}", delete(end_runner))
        .route("/v1/jobs", get(list_jobs))
        .route("/v1/jobs/{id}", get(show_jobs))
        .route_layer(from_fn(refuse_browsers))
        .with_state(Arc::clone(shared))
}

/// The same behind a token.
pub(crate) fn guarded_router(shared: &Shared, token: ApiToken) -> Router {
    admin_router(shared).route_layer(from_fn_with_state(Arc::new(token), check_token))
}

/// A browser may look only. It sends the token that it was given once with whatever another site makes it ask; the page
/// asks for no change, so one that comes from a browser is another site's (Fetch Metadata, Origin).
async fn refuse_browsers(request: Request<Body>, next: Next) -> HttpAnswer {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let headers = request.headers();
    if changes && (headers.contains_key("origin") || headers.contains_key("sec-fetch-site")) {
        return refuse(StatusCode::FORBIDDEN, "a browser may look only");
    }
    next.run(request).await
}

async fn check_token(State(token): State<Arc<ApiToken>>, request: Request<Body>, next: Next) -> HttpAnswer {
    if token.is_given(request.headers()) {
        return next.run(request).await;
    }
    let mut answer = refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
    let asks = HeaderValue::from_static("Basic realm=\"foundry\", charset=\"UTF-8\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, asks);
    answer
}

/// Asks the database on another thread, because it may wait for the disk, and answers in JSON.
async fn ask<T: Serialize + Send + 'static>(
    shared: Shared,
    question: impl FnOnce(&JobDatabase) -> Result<T, Error> + Send + 'static,
) -> HttpAnswer {
    match tokio::task::spawn_blocking(move || question(&shared.database())).await {
        Ok(Ok(value)) => answer_json(StatusCode::OK, &value),
        Ok(Err(error)) => answer_error(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the database could not be asked"),
    }
}

/// Ready is a controller whose pools all had an answer of their forge a short time ago. It names none: anybody may ask.
async fn show_readiness(State(shared): State<Shared>) -> HttpAnswer {
    let within = shared.ready_within;
    let served = Arc::clone(&shared);
    let statuses = tokio::task::spawn_blocking(move || shared.database().pool_statuses()).await;
    let Ok(Ok(mut pools)) = statuses else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be read");
    };
    // One that is served no more has no forge to answer.
    pools.retain(|pool| served.is_served(&pool.name));
    let now = epoch_now();
    let is_fresh = |time: u64| now.saturating_sub(time) <= within;
    let late = pools.iter().filter(|pool| !pool.forge_answered_epoch.is_some_and(is_fresh)).count();
    if late == 0 {
        return answer_json(StatusCode::OK, &json!({"ready": true, "pools": pools.len()}));
    }
    answer_json(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({"ready": false, "pools": pools.len(), "withoutForge": late}),
    )
}

async fn show_metrics(State(shared): State<Shared>) -> HttpAnswer {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    answer_with(StatusCode::OK, TYPE, shared.metrics.render())
}

/// The page may load nothing and run nothing, whatever a job is called.
async fn show_page(State(shared): State<Shared>) -> HttpAnswer {
    const POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'";
    let rendered = tokio::task::spawn_blocking(move || render_page(&shared.database())).await;
    let mut answer = match rendered {
        Ok(Ok(page)) => answer_with(StatusCode::OK, "text/html; charset=utf-8", page),
        Ok(Err(error)) => answer_error(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made"),
    };
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

async fn list_pools(State(shared): State<Shared>) -> HttpAnswer {
    ask(shared, JobDatabase::pool_statuses).await
}

async fn show_pool(State(shared): State<Shared>, Path(pool): Path<String>) -> HttpAnswer {
    ask(shared, move |database| database.pool_status(&pool)).await
}

/// The numbers of `scale`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WantedSize {
    min_idle: Option<usize>,
    max: Option<usize>,
}

async fn ask_pool(
    State(shared): State<Shared>,
    Path((pool, request)): Path<(String, String)>,
    body: Body,
) -> HttpAnswer {
    let Ok(body) = axum::body::to_bytes(body, MAX_CALL).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    let wish = match request.as_str() {
        "pause" => Some(PoolWish::Pause),
        "drain" => Some(PoolWish::Drain),
        "resume" => None,
        "rotate" => {
            return ask(shared, move |database| {
                database.ask_rotation(&pool).map(|count| json!({"runners": count}))
            })
            .await;
        }
        "scale" => {
            let Ok(size) = serde_json::from_slice::<WantedSize>(&body) else {
                return refuse(StatusCode::BAD_REQUEST, "the body must be {\"minIdle\": N, \"max\": N}");
            };
            return ask(shared, move |database| {
                database.ask_size(&pool, size.min_idle, size.max)?;
                Ok(json!({"accepted": true}))
            })
            .await;
        }
        _ => {
            let why = "a pool can be asked to pause, resume, drain, rotate and scale";
            return refuse(StatusCode::NOT_FOUND, why);
        }
    };
    ask(shared, move |database| {
        database.ask_mode(&pool, wish)?;
        Ok(json!({"accepted": true}))
    })
    .await
}

async fn list_runners(State(shared): State<Shared>) -> HttpAnswer {
    ask(shared, |database| {
        Ok(database.list_present_runners(None)?.into_iter().map(RunnerStatus::from).collect::<Vec<_>>())
    })
    .await
}

async fn show_runner(State(shared): State<Shared>, Path(runner): Path<String>) -> HttpAnswer {
    ask(shared, move |database| database.runner_status(&runner)).await
}

#[derive(Deserialize)]
struct EndQuery {
    #[serde(default)]
    force: bool,
}

async fn end_runner(
    State(shared): State<Shared>,
    Path(runner): Path<String>,
    Query(query): Query<EndQuery>,
) -> HttpAnswer {
    ask(shared, move |database| {
        database.ask_end(&runner, query.force)?;
        Ok(json!({"accepted": true}))
    })
    .await
}

/// Which jobs a caller wants. Pages begin at 1.
#[derive(Deserialize)]
struct JobQuery {
    page: Option<usize>,
    limit: Option<usize>,
    repository: Option<String>,
    status: Option<String>,
    pool: Option<String>,
}

async fn list_jobs(State(shared): State<Shared>, Query(query): Query<JobQuery>) -> HttpAnswer {
    let word = query.status.as_deref();
    let state = word.and_then(|word| JobState::ALL.into_iter().find(|state| state.as_str() == word));
    if state.is_none() && word.is_some() {
        return refuse(StatusCode::BAD_REQUEST, "status must be queued, running or completed");
    }
    let (page, limit) = (query.page.unwrap_or(1), query.limit.unwrap_or(20));
    if page == 0 || limit == 0 || limit > MAX_PAGE {
        return refuse(StatusCode::BAD_REQUEST, "page begins at 1, and limit is 1 to 100");
    }
    let filter = JobFilter {
        pool: query.pool,
        repository: query.repository,
        state,
        skip: (page - 1).saturating_mul(limit),
        limit,
    };
    ask(shared, move |database| {
        let found = database.list_jobs(&filter)?;
        let jobs: Vec<JobStatus> = found.jobs.into_iter().map(JobStatus::from).collect();
        Ok(json!({"jobs": jobs, "page": page, "limit": limit, "total": found.total}))
    })
    .await
}

async fn show_jobs(State(shared): State<Shared>, Path(id): Path<String>) -> HttpAnswer {
    let found = tokio::task::spawn_blocking(move || shared.database().find_jobs(&id)).await;
    match found {
        Ok(Ok(rows)) if rows.is_empty() => refuse(StatusCode::NOT_FOUND, "there is no such job"),
        Ok(Ok(rows)) => {
            let jobs: Vec<JobStatus> = rows.into_iter().map(JobStatus::from).collect();
            answer_json(StatusCode::OK, &json!({"jobs": jobs}))
        }
        Ok(Err(error)) => answer_error(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the database could not be asked"),
    }
}
