//! Receives a response on its own thread: a stalled one can be cancelled, and receiving overlaps with storing.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use ureq::BodyReader;

use super::super::error::{Reason, TransferError};
use super::super::pace::{RetryControl, TICK};
use super::client::{HttpRequest, Client, RequestFailure, ResponseHead};

/// How many bytes are read at once, and how many such pieces wait for their reader: 2 MiB at most.
const PIECE: usize = 128 * 1024;
const PIECES: usize = 16;

enum StreamMessage {
    Head(ResponseHead),
    Bytes(Vec<u8>),
    End,
    Fault(RequestFailure),
}

/// An answer on its way. Whoever drops it ends the connection with the next bytes that come.
pub(super) struct ResponseStream {
    messages: Receiver<StreamMessage>,
    piece: Vec<u8>,
    given: usize,
}

impl ResponseStream {
    /// Asks.
    pub(super) fn start(client: &Client, ask: HttpRequest) -> Result<Self, RequestFailure> {
        let (sender, messages) = sync_channel(PIECES);
        let client = client.clone();
        let no_thread = |e: std::io::Error| {
            TransferError::new(Reason::Local, "cannot begin a download").because(e.to_string())
        };
        thread::Builder::new()
            .name("download".into())
            .spawn(move || deliver(&client, &ask, &sender))
            .map_err(no_thread)?;
        Ok(Self { messages, piece: Vec::new(), given: 0 })
    }

    /// Waits for the beginning of the answer.
    pub(super) fn head(&mut self, pace: &dyn RetryControl) -> Result<ResponseHead, RequestFailure> {
        match self.next(pace)? {
            StreamMessage::Head(head) => Ok(head),
            StreamMessage::Fault(fault) => Err(fault),
            StreamMessage::Bytes(_) | StreamMessage::End => Err(died()),
        }
    }

    /// As [`Read::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8], pace: &dyn RetryControl) -> Result<usize, RequestFailure> {
        if self.given == self.piece.len() {
            match self.next(pace)? {
                StreamMessage::Bytes(piece) => (self.piece, self.given) = (piece, 0),
                StreamMessage::End => return Ok(0),
                StreamMessage::Fault(fault) => return Err(fault),
                StreamMessage::Head(_) => return Err(died()),
            }
        }
        let read = buffer.len().min(self.piece.len() - self.given);
        buffer[..read].copy_from_slice(&self.piece[self.given..self.given + read]);
        self.given += read;
        Ok(read)
    }

    /// The thread's own timeouts see to it that something comes.
    fn next(&self, pace: &dyn RetryControl) -> Result<StreamMessage, RequestFailure> {
        loop {
            if pace.stopped() {
                return Err(TransferError::stopped().into());
            }
            match self.messages.recv_timeout(TICK) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(died()),
            }
        }
    }
}

fn died() -> RequestFailure {
    RequestFailure::never(TransferError::new(Reason::Local, "the download ended unexpectedly"))
}

/// Sends the data until the receiver is gone.
fn deliver(client: &Client, ask: &HttpRequest, to: &SyncSender<StreamMessage>) {
    let last = match client.send(ask) {
        Err(fault) => StreamMessage::Fault(fault),
        Ok((head, body)) => {
            if to.send(StreamMessage::Head(head)).is_err() {
                return;
            }
            match pass_on(client, ask, body, to) {
                Some(last) => last,
                None => return,
            }
        }
    };
    // Nobody may be left to hear it.
    let _ = to.send(last);
}

/// The last message, or `None` if the receiver is gone.
fn pass_on(
    client: &Client,
    ask: &HttpRequest,
    mut body: BodyReader<'static>,
    to: &SyncSender<StreamMessage>,
) -> Option<StreamMessage> {
    let mut buffer = vec![0; PIECE];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Some(StreamMessage::End),
            Ok(read) => to.send(StreamMessage::Bytes(buffer[..read].to_vec())).ok()?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Some(StreamMessage::Fault(client.broken(&ask.url, &e))),
        }
    }
}
