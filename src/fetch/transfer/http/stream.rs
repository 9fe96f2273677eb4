//! Receives a response on its own thread, so a stalled one can be interrupted, and receiving overlaps with storing.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use ureq::BodyReader;

use super::super::error::{Reason, TransferError};
use super::super::retry_control::{RetryControl, TICK};
use super::client::{Client, HttpRequest, RequestFailure, ResponseHead};

/// Number of bytes per read, and number of such pieces in the queue: 2 MiB at most.
const PIECE: usize = 128 * 1024;
const PIECES: usize = 16;

enum StreamMessage {
    Head(ResponseHead),
    Bytes(Vec<u8>),
    End,
    Fault(RequestFailure),
}

/// A response being received. Dropping it closes the connection when the next bytes arrive.
pub(super) struct ResponseStream {
    messages: Receiver<StreamMessage>,
    piece: Vec<u8>,
    given: usize,
}

impl ResponseStream {
    /// Sends the request.
    pub(super) fn open(client: &Client, request: HttpRequest) -> Result<Self, RequestFailure> {
        let (sender, messages) = sync_channel(PIECES);
        let client = client.clone();
        let no_thread = |e: std::io::Error| {
            TransferError::new(Reason::Local, "cannot begin a download").because(e.to_string())
        };
        thread::Builder::new()
            .name("download".into())
            .spawn(move || run_request(&client, &request, &sender))
            .map_err(no_thread)?;
        Ok(Self { messages, piece: Vec::new(), given: 0 })
    }

    /// Waits for the head of the response.
    pub(super) fn receive_head(
        &mut self,
        control: &dyn RetryControl,
    ) -> Result<ResponseHead, RequestFailure> {
        match self.receive_message(control)? {
            StreamMessage::Head(head) => Ok(head),
            StreamMessage::Fault(failure) => Err(failure),
            StreamMessage::Bytes(_) | StreamMessage::End => Err(thread_ended()),
        }
    }

    /// Like [`std::io::Read::read`].
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        control: &dyn RetryControl,
    ) -> Result<usize, RequestFailure> {
        if self.given == self.piece.len() {
            match self.receive_message(control)? {
                StreamMessage::Bytes(piece) => (self.piece, self.given) = (piece, 0),
                StreamMessage::End => return Ok(0),
                StreamMessage::Fault(failure) => return Err(failure),
                StreamMessage::Head(_) => return Err(thread_ended()),
            }
        }
        let read = buffer.len().min(self.piece.len() - self.given);
        buffer[..read].copy_from_slice(&self.piece[self.given..self.given + read]);
        self.given += read;
        Ok(read)
    }

    /// Waits for the next message. The thread's own timeouts ensure that one arrives.
    fn receive_message(&self, control: &dyn RetryControl) -> Result<StreamMessage, RequestFailure> {
        loop {
            if control.should_stop() {
                return Err(TransferError::interrupted().into());
            }
            match self.messages.recv_timeout(TICK) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(thread_ended()),
            }
        }
    }
}

fn thread_ended() -> RequestFailure {
    RequestFailure::without_retry(TransferError::new(Reason::Local, "the download ended unexpectedly"))
}

/// Runs the request and sends its data until the receiver is dropped.
fn run_request(client: &Client, request: &HttpRequest, to: &SyncSender<StreamMessage>) {
    let last = match client.send_request(request) {
        Err(failure) => StreamMessage::Fault(failure),
        Ok((head, body)) => {
            if to.send(StreamMessage::Head(head)).is_err() {
                return;
            }
            match forward_body(client, request, body, to) {
                Some(last) => last,
                None => return,
            }
        }
    };
    // The receiver may be gone; then nobody needs the message.
    let _ = to.send(last);
}

/// Forwards the body. Returns the last message, or `None` if the receiver is gone.
fn forward_body(
    client: &Client,
    request: &HttpRequest,
    mut body: BodyReader<'static>,
    to: &SyncSender<StreamMessage>,
) -> Option<StreamMessage> {
    let mut buffer = vec![0; PIECE];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Some(StreamMessage::End),
            Ok(read) => to.send(StreamMessage::Bytes(buffer[..read].to_vec())).ok()?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Some(StreamMessage::Fault(client.broken_connection(&request.url, &e))),
        }
    }
}
