//! Checks whether a file on a server changed, without downloading it.

use super::super::error::TransferError;
use super::super::retry_control::RetryControl;
use super::super::url::Url;
use super::client::{Client, HttpRequest, RequestFailure, ResponseHead};
use super::download::Download;
use super::headers::content_length;
use super::stream::ResponseStream;
use super::validators::{RemoteFile, Validators};

/// Whether a file on a server is still the one that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFreshness {
    /// The file is the same.
    Unchanged,
    /// The file is another one.
    Changed(RemoteFile),
}

/// Asks whether a file on a server changed. Its content is not transferred.
///
/// The request is `HEAD` with `If-None-Match` and `If-Modified-Since`. Servers that only support `GET` answer it in
/// various ways (405, 501, 403 if URLs are signed for one method, but also 400, 404 and 500), send fewer headers, or
/// disconnect. In these cases a `GET` is sent and interrupted after its head.
///
/// # Errors
/// As [`Download::open`].
pub fn check_freshness(
    client: &Client,
    url: &Url,
    known: &Validators,
    control: &dyn RetryControl,
) -> Result<FileFreshness, TransferError> {
    let mut download = Download::new(client, url, control, false);
    let known = &known.clone().only_usable();
    let mut head_only = true;
    loop {
        match ask_server(&download, known, head_only) {
            Ok(head) if head_only && !says_enough(&head) => head_only = false,
            Ok(head) => match judge_answer(&download, known, &head) {
                Ok(fresh) => return Ok(fresh),
                Err(failure) => download.wait_for_retry(failure)?,
            },
            Err(failure) => {
                download.wait_for_retry(failure)?;
                head_only = false;
            }
        }
    }
}

fn says_enough(head: &ResponseHead) -> bool {
    head.status == 304 || (head.status == 200 && !Validators::from_headers(&head.headers).is_empty())
}

fn ask_server(
    download: &Download<'_>,
    known: &Validators,
    head_only: bool,
) -> Result<ResponseHead, RequestFailure> {
    let mut headers = Vec::new();
    if let Some(etag) = &known.etag {
        headers.push(("If-None-Match", etag.clone()));
    }
    if let Some(date) = &known.last_modified {
        headers.push(("If-Modified-Since", date.clone()));
    }
    let request = HttpRequest { head_only, url: download.url.clone(), headers };
    ResponseStream::open(&download.client, request)?.receive_head(download.control)
}

fn judge_answer(
    download: &Download<'_>,
    known: &Validators,
    head: &ResponseHead,
) -> Result<FileFreshness, RequestFailure> {
    let now = Validators::from_headers(&head.headers);
    match head.status {
        304 => Ok(FileFreshness::Unchanged),
        200 if known.is_unchanged(&now) => Ok(FileFreshness::Unchanged),
        200 => Ok(FileFreshness::Changed(RemoteFile {
            length: content_length(&head.headers),
            validators: now,
            found_at: head.found_at.clone(),
        })),
        _ => Err(download.refusal_failure(head)),
    }
}
