//! Answers.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use foundry_core::error::{Error, Kind};
use serde::Serialize;
use serde_json::json;

pub(crate) type HttpAnswer = Response<Body>;

/// An answer of one type of content.
pub(crate) fn answer_with(status: StatusCode, content_type: &'static str, body: String) -> HttpAnswer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(content_type));
    answer
}

/// A value as JSON.
pub(crate) fn answer_json(status: StatusCode, value: &impl Serialize) -> HttpAnswer {
    // Values of foundry's own types have text keys only, so they can be written.
    let text = serde_json::to_string(value).unwrap_or_default();
    answer_with(status, "application/json", text + "\n")
}

/// Why nothing was done, in a sentence for who called.
pub(crate) fn refuse(status: StatusCode, why: &str) -> HttpAnswer {
    answer_json(status, &json!({"error": why}))
}

/// A failure of foundry's own.
pub(crate) fn answer_error(error: &Error) -> HttpAnswer {
    let status = match error.kind() {
        Kind::Validation => StatusCode::BAD_REQUEST,
        Kind::Vm | Kind::Configuration if is_unknown(error) => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer_json(status, &json!({"error": error.to_string(), "code": error.code().to_string()}))
}

fn is_unknown(error: &Error) -> bool {
    use foundry_core::error::Code;
    matches!(error.code(), Code::RunnerPoolUnknown | Code::RunnerUnknown)
}
