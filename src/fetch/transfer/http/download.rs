//! Downloads a whole file, and resumes if the connection breaks.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::HeaderMap;

use super::super::error::{Reason, TransferError};
use super::super::retry_control::{RetryControl, wait_unless_stopped};
use super::super::url::Url;
use super::client::{Client, HttpRequest, RequestFailure, ResponseHead, Retry};
use super::headers::{content_length, content_range, status_text};
use super::stream::ResponseStream;
use super::validators::{RemoteFile, Validators};
use crate::content::Content;
use foundry_core::error::{Advice, Verb};
use foundry_core::units::Bytes;

/// Number of received bytes after which the number of retries starts again from zero.
const PROGRESS: u64 = 1 << 20;

/// Number of retries for failures whose cause rarely goes away soon.
const SELDOM: u32 = 2;

/// Advises how to pass a login. In a URL, the process list would show it.
fn login_advice() -> Advice {
    Advice::from("it may require a login, which ").run(Verb::ImagePull { image: None }).text(
        " accepts with --login-file FILE or in the variable FOUNDRY_PULL_AUTH (USER:PASSWORD, or a token)",
    )
}

/// Reads a file from a server.
///
/// If a connection breaks, stalls or ends too early, the download resumes at the same position (`Range`, RFC 9110
/// 14.2), with `If-Range` only if the file is unchanged. If the server does not support ranges, the file is received
/// again, and the known part is skipped if the file is recognized as the same. If it cannot be recognized, the download
/// fails, unless the digest of the whole is verified: then a mixture is detected at the end.
pub struct Download<'a> {
    pub(super) client: Client,
    pub(super) control: &'a dyn RetryControl,
    pub(super) url: Url,
    /// Whether the digest of the whole is verified.
    verified: bool,
    /// What is known of the file since the first response.
    file: Option<RemoteFile>,
    position: u64,
    stream: Option<ResponseStream>,
    complete: bool,
    /// Retries since the last progress, and the position of that progress.
    tries: u32,
    earned_at: u64,
}

/// Where the new data in a response begins.
enum ReadFrom {
    Here,
    After(u64),
    AtEnd,
}

impl<'a> Download<'a> {
    /// Requests a file, with retries as configured, until the head of a response is received.
    ///
    /// # Errors
    /// [`Reason::Unreachable`], [`Reason::Refused`], [`Reason::Answer`], [`Reason::Stopped`].
    pub fn open(
        client: &Client,
        url: &Url,
        control: &'a dyn RetryControl,
        verified: bool,
    ) -> Result<Self, TransferError> {
        Self::connected(Self::new(client, url, control, verified))
    }

    /// Like [`open`](Self::open), after a part of an earlier run. `verified` applies to the part, too: the earlier run
    /// expected the same digest.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Reason::Changed`] if the file is not recognized as that of the part.
    pub fn open_after(
        client: &Client,
        url: &Url,
        control: &'a dyn RetryControl,
        part: u64,
        validators: Validators,
        verified: bool,
    ) -> Result<Self, TransferError> {
        let file = RemoteFile { length: None, validators: validators.only_usable(), found_at: url.clone() };
        Self::connected(Self {
            file: Some(file),
            position: part,
            earned_at: part,
            ..Self::new(client, url, control, verified)
        })
    }

    pub(super) fn new(client: &Client, url: &Url, control: &'a dyn RetryControl, verified: bool) -> Self {
        Self {
            verified,
            client: client.clone(),
            control,
            url: url.clone(),
            file: None,
            position: 0,
            stream: None,
            complete: false,
            tries: 0,
            earned_at: 0,
        }
    }

    fn connected(mut self) -> Result<Self, TransferError> {
        self.connect()?;
        Ok(self)
    }

    /// Returns the server's information about the file.
    pub fn remote_file(&self) -> RemoteFile {
        // It is set since `open`.
        self.file.clone().unwrap_or_else(|| RemoteFile {
            length: None,
            validators: Validators::default(),
            found_at: self.url.clone(),
        })
    }

    /// Retries until there is a response to read from.
    fn connect(&mut self) -> Result<(), TransferError> {
        loop {
            match self.try_once() {
                Ok(()) => return Ok(()),
                Err(failure) => self.wait_for_retry(failure)?,
            }
        }
    }

    fn try_once(&mut self) -> Result<(), RequestFailure> {
        let request = self.build_request()?;
        let mut stream = ResponseStream::open(&self.client, request)?;
        let head = stream.receive_head(self.control)?;
        match self.judge_response(&head)? {
            ReadFrom::AtEnd => self.complete = true,
            ReadFrom::Here => self.stream = Some(stream),
            ReadFrom::After(known) => {
                self.read_past(&mut stream, known)?;
                self.stream = Some(stream);
            }
        }
        Ok(())
    }

    /// Every second attempt uses the last URL after redirects: the redirect may lead to another mirror, and the mirror
    /// may be gone.
    fn build_request(&self) -> Result<HttpRequest, RequestFailure> {
        let file = self.file.as_ref().filter(|_| self.tries % 2 == 1);
        let url = file.map_or(&self.url, |file| &file.found_at).clone();
        Ok(HttpRequest { head_only: false, url, headers: self.range_headers()? })
    }

    fn range_headers(&self) -> Result<Vec<(&'static str, String)>, RequestFailure> {
        let Some(file) = self.file.as_ref().filter(|_| self.position > 0) else { return Ok(Vec::new()) };
        let mut headers = vec![("Range", format!("bytes={}-", self.position))];
        match file.validators.for_range() {
            Some(condition) => headers.push(("If-Range", condition.to_owned())),
            // A mixture of two versions would not have the expected digest.
            None if self.verified => {}
            None => {
                return Err(self
                    .changed_error(
                        "the connection broke, and the server sends no headers to recognize the file by",
                    )
                    .into());
            }
        }
        Ok(headers)
    }

    /// Decides what to do with a response.
    fn judge_response(&mut self, head: &ResponseHead) -> Result<ReadFrom, RequestFailure> {
        match head.status {
            200 => self.judge_whole(head),
            206 if self.position > 0 => self.judge_part(head),
            416 if self.position > 0 => self.judge_end(head),
            _ => Err(self.refusal_failure(head)),
        }
    }

    fn judge_whole(&mut self, head: &ResponseHead) -> Result<ReadFrom, RequestFailure> {
        let now = RemoteFile {
            length: content_length(&head.headers),
            validators: Validators::from_headers(&head.headers),
            found_at: head.found_at.clone(),
        };
        let before = match &self.file {
            Some(before) if self.position > 0 || !self.verified => before,
            _ => {
                self.file = Some(now);
                return Ok(ReadFrom::Here);
            }
        };
        let same = if self.verified {
            true
        } else if self.position == 0 {
            before.validators.may_be_same(&now.validators)
        } else {
            before.validators.same_bytes(&now.validators)
        };
        if !same || before.length.is_some_and(|length| now.length.is_some_and(|n| n != length)) {
            return Err(self.changed_error("the file has changed since the download began").into());
        }
        self.update_file(now.length, head);
        Ok(ReadFrom::After(self.position))
    }

    fn judge_part(&mut self, head: &ResponseHead) -> Result<ReadFrom, RequestFailure> {
        let position = self.position;
        let Some((_, length)) = content_range(&head.headers).filter(|(first, _)| *first == Some(position))
        else {
            return Err(RequestFailure::without_retry(
                self.answer_error("the server sent another part of the file than was requested"),
            ));
        };
        let known = self.remote_file();
        let differs = known.length.is_some() && length.is_some() && known.length != length;
        let may_be_same =
            self.verified || known.validators.may_be_same(&Validators::from_headers(&head.headers));
        if differs || !may_be_same {
            return Err(self.changed_error("the file has changed since the download began").into());
        }
        self.update_file(length, head);
        Ok(ReadFrom::Here)
    }

    /// Handles "Range not satisfiable": the file ends at the present position, or the server has less.
    fn judge_end(&mut self, head: &ResponseHead) -> Result<ReadFrom, RequestFailure> {
        let length = content_range(&head.headers).and_then(|(_, length)| length);
        if length == Some(self.position)
            && self.remote_file().length.is_none_or(|known| known == self.position)
        {
            self.update_file(length, head);
            return Ok(ReadFrom::AtEnd);
        }
        Err(self.changed_error("the file on the server is now shorter than what it sent before").into())
    }

    fn update_file(&mut self, length: Option<u64>, head: &ResponseHead) {
        if let Some(file) = &mut self.file {
            file.length = file.length.or(length);
            file.found_at = head.found_at.clone();
        }
    }

    fn read_past(&self, stream: &mut ResponseStream, known: u64) -> Result<(), RequestFailure> {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = known;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |n| n.min(buffer.len()));
            match stream.read(&mut buffer[..wanted], self.control)? {
                0 => return Err(RequestFailure::with_retry(self.answer_error("the connection was closed"))),
                read => left -= read as u64,
            }
        }
        Ok(())
    }

    /// Makes the failure for a response without content.
    pub(super) fn refusal_failure(&self, head: &ResponseHead) -> RequestFailure {
        let answer = format!("the server answered {}", status_text(head.status));
        let error =
            TransferError::new(Reason::Refused, format!("cannot download {}", head.found_at)).because(answer);
        let failure = match head.status {
            // The same request may succeed later (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4).
            408 | 429 | 500..=599 => {
                RequestFailure { error, retry: self.requested_wait(&head.headers), at: None }
            }
            407 => RequestFailure::without_retry(
                error.hint("the proxy requires a login, which can be part of its URL in https_proxy"),
            ),
            401 | 403 if head.found_at.has_login() => RequestFailure::without_retry(
                error.hint("the login may be wrong, or not valid for this file"),
            ),
            401 | 403 => RequestFailure::without_retry(error.hint(login_advice())),
            404 | 410 => RequestFailure::without_retry(error.hint("check whether the URL is still correct")),
            400..=499 => RequestFailure::without_retry(error),
            _ => return RequestFailure::without_retry(error),
        };
        failure.for_url(&head.found_at)
    }

    /// If a mirror failed, retries the original URL, which may redirect to another mirror next time. The message names
    /// both.
    fn blame_mirror(&self, failure: RequestFailure) -> RequestFailure {
        match &failure.at {
            Some(at) if **at != self.url && !self.url.is_plain_form_of(at) => {
                let retry = match failure.retry {
                    Retry::After(time) => Retry::After(time),
                    _ => Retry::Soon,
                };
                RequestFailure { error: failure.error.with_redirect(&self.url, at), retry, at: None }
            }
            _ => failure,
        }
    }

    /// Reads `Retry-After` in seconds (RFC 9110, 10.2.3). A date is ignored.
    fn requested_wait(&self, headers: &HeaderMap) -> Retry {
        let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match seconds.map(Duration::from_secs) {
            None => Retry::Soon,
            Some(time) if time <= self.client.settings().longest_wait => Retry::After(time),
            Some(_) => Retry::Never,
        }
    }

    /// Waits before the next attempt, or fails if there is to be none.
    pub(super) fn wait_for_retry(&mut self, failure: RequestFailure) -> Result<(), TransferError> {
        self.stream = None;
        let failure = self.blame_mirror(failure);
        let settings = self.client.settings();
        let begun = self.file.is_some() && self.position > 0;
        if failure.retry == Retry::Never || (failure.retry == Retry::IfBegun && !begun) {
            return Err(failure.error);
        }
        if self.position >= self.earned_at + PROGRESS {
            (self.tries, self.earned_at) = (0, self.position);
        }
        let few = failure.retry == Retry::Seldom && !begun;
        if self.tries >= settings.retries.min(if few { SELDOM } else { u32::MAX }) {
            return Err(give_up(failure.error, self.tries));
        }
        // The cap of 16 keeps the shift in range; `longest_wait` limits the time.
        let usual = settings.backoff.saturating_mul(1 << self.tries.min(16)).min(settings.longest_wait);
        // At least the usual wait, so that `Retry-After: 0` causes no busy loop.
        let time = if let Retry::After(time) = failure.retry { time.max(usual) } else { usual };
        self.tries += 1;
        self.control.on_retry(&format!("{}; trying again in {} s", failure.error, time.as_secs_f32()));
        wait_unless_stopped(self.control, time)
    }

    fn answer_error(&self, cause: &str) -> TransferError {
        TransferError::new(Reason::Answer, format!("cannot download {}", self.url)).because(cause)
    }

    fn changed_error(&self, cause: &str) -> TransferError {
        TransferError::new(Reason::Changed, format!("cannot resume the download of {}", self.url))
            .because(cause)
            .hint("run it again")
    }

    /// Makes the failure for a response that ends before the file.
    fn cut_off_failure(&self, length: u64) -> RequestFailure {
        let cause = format!("it ended after {} of {length} bytes", self.position);
        RequestFailure::with_retry(
            TransferError::new(Reason::Unreachable, format!("cannot download {}", self.url)).because(cause),
        )
    }

    fn too_long_error(&self, length: u64) -> TransferError {
        self.answer_error(&format!("the server sent more than the {} that it announced", Bytes(length)))
    }

    /// Counts the bytes of a read, and checks them against the announced length.
    fn count_read(&mut self, read: usize) -> Result<usize, RequestFailure> {
        let length = self.file.as_ref().and_then(|file| file.length);
        self.position += read as u64;
        match length {
            Some(length) if self.position > length => return Err(self.too_long_error(length).into()),
            Some(length) if read == 0 && self.position < length => return Err(self.cut_off_failure(length)),
            _ => {}
        }
        self.complete = read == 0;
        Ok(read)
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.complete && !buffer.is_empty() {
            let Some(stream) = &mut self.stream else {
                self.connect()?;
                continue;
            };
            let read = stream.read(buffer, self.control);
            match read.and_then(|read| self.count_read(read)) {
                Ok(read) => return Ok(read),
                Err(failure) => self.wait_for_retry(failure)?,
            }
        }
        Ok(0)
    }
}

impl Content for Download<'_> {}

fn give_up(error: TransferError, tries: u32) -> TransferError {
    let tried = format!("given up after {} tries", tries + 1);
    let advice = match error.advice() {
        Some(advice) => advice.clone().text(format!("; {tried}")),
        None => Advice::from(format!("{tried}; run it again later")),
    };
    error.hint(advice)
}
