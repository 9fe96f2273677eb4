//! Consoles through libvirt's streams.
//!
//! ```text
//! libvirtd ──data──▶ event loop's thread ──a byte──▶ the descriptor that poll(2) watches
//!                                                       │
//!                    virStreamRecv without blocking ◀── reader's thread
//! ```
//!
//! A stream that blocks would keep its reader until the guest writes, and libvirt cannot abort it from another thread.

use std::io::Read;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;
use virt::stream::Stream;
use virt::sys as c;

use super::Libvirt;
use super::calling::{Asked, vm};
use super::domains::name_of;
use super::sys::WatchedStream;
use crate::{Console, ConsoleOutput, Consoles, HostError, Result, Screenshot};
use foundry_core::error::Kind;

/// libvirt's message if a console has a session. Its code, `VIR_ERR_OPERATION_FAILED`, has many causes.
const IN_USE: &str = "Active console session exists";

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// Bytes of one message to libvirtd, whose protocol has a limit.
const PIECE: usize = 32 << 10;

/// How long libvirt may have no room for a byte, and the time between two attempts.
const NO_ROOM: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// A session.
struct Session<'a> {
    host: &'a Libvirt,
    asked: Asked,
    stream: WatchedStream,
    /// Readable if the stream has something to read.
    woken: UnixStream,
    has_ended: bool,
}

impl Consoles for Libvirt {
    fn open_console(&self, domain: Uuid, take_over: bool) -> Result<Option<Box<dyn Console + '_>>> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("open the console of domain '{}'", name_of(&handle)));
        let stream =
            self.call("virStreamNew", &asked, || Stream::new(&self.connection, c::VIR_STREAM_NONBLOCK))?;
        let flags = if take_over { c::VIR_DOMAIN_CONSOLE_FORCE } else { 0 };
        match self.raw("virDomainOpenConsole", &asked, || handle.open_console(None, &stream, flags)) {
            Ok(_) => {}
            Err(refused) if refused.message().contains(IN_USE) => return Ok(None),
            Err(refused) => return Err(self.failed(&asked, &refused)),
        }
        let local = |e: std::io::Error| HostError::Refused {
            operation: asked.operation.clone(),
            kind: Kind::Vm,
            libvirt: e.to_string(),
        };
        let (woken, wake) = UnixStream::pair().map_err(local)?;
        woken.set_nonblocking(true).and_then(|()| wake.set_nonblocking(true)).map_err(local)?;
        let stream = self.call("virStreamEventAddCallback", &asked, || WatchedStream::start(stream, wake))?;
        Ok(Some(Box::new(Session { host: self, asked, stream, woken, has_ended: false })))
    }

    fn screenshot(&self, domain: Uuid, screen: u32) -> Result<Screenshot> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("take a picture of the screen of domain '{}'", name_of(&handle)));
        self.receive_screenshot(&handle, screen, &asked)
    }
}

impl Console for Session<'_> {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    fn read(&mut self) -> Result<ConsoleOutput> {
        if self.has_ended {
            return Ok(ConsoleOutput::Ended);
        }
        // Before the stream is read: what comes after that wakes again.
        while self.woken.read(&mut [0; 16]).is_ok_and(|read| read > 0) {}
        let (mut bytes, mut chunk) = (Vec::new(), [0; CHUNK]);
        // A guest that writes without a pause must not keep the reader here.
        while bytes.len() < CHUNK {
            match self.host.piece(&self.asked, || self.stream.receive(&mut chunk)) {
                Ok(Some(0)) => self.end(),
                Ok(Some(got)) => {
                    bytes.extend_from_slice(&chunk[..got]);
                    continue;
                }
                Ok(None) => {}
                Err(lost) if lost.outcome_unknown() => return Err(lost),
                // So ends a session that another one takes over: "stream had I/O failure".
                Err(_) => self.end(),
            }
            break;
        }
        if self.has_ended && bytes.is_empty() {
            return Ok(ConsoleOutput::Ended);
        }
        if !self.has_ended {
            self.host.piece(&self.asked, || self.stream.rearm())?;
        }
        Ok(ConsoleOutput::Bytes(bytes))
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut stuck_since: Option<Instant> = None;
        while !bytes.is_empty() && !self.has_ended {
            let piece = &bytes[..bytes.len().min(PIECE)];
            let sent = match self.host.piece(&self.asked, || self.stream.send(piece)) {
                Err(refused) if !refused.outcome_unknown() => {
                    self.end();
                    continue;
                }
                sent => sent?,
            };
            match sent {
                Some(sent) if sent > 0 => {
                    bytes = &bytes[sent.min(bytes.len())..];
                    stuck_since = None;
                }
                _ if stuck_since.get_or_insert_with(Instant::now).elapsed() < NO_ROOM => thread::sleep(PAUSE),
                _ => {
                    return Err(HostError::Transfer {
                        operation: self.asked.operation.replacen("open", "write to", 1),
                        cause: format!("the guest took nothing for {} s", NO_ROOM.as_secs()),
                        interrupted: false,
                    });
                }
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// The stream has ended. For poll(2), that is something to read.
    fn end(&mut self) {
        self.has_ended = true;
        let _ = self.woken.shutdown(Shutdown::Read);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // An error of the end adds nothing: the session is over.
        let _ = if self.has_ended {
            self.host.raw("virStreamFinish", &self.asked, || self.stream.finish())
        } else {
            self.host.raw("virStreamAbort", &self.asked, || self.stream.abort())
        };
    }
}
