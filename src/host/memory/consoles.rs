//! Consoles: what guests write to them, and one session for each.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use uuid::Uuid;

use super::{Failure, Live, MemoryHost, StateResult, to_failure};
use crate::libvirt_xml::DomainDescription;
use crate::{Console, ConsoleOutput, Consoles, Result, Screenshot};

/// A session. In memory no time passes, so its descriptor is always readable.
struct MemoryConsole {
    host: MemoryHost,
    domain: Uuid,
    session: u64,
    readable: UnixStream,
}

impl Consoles for MemoryHost {
    fn open_console(&self, domain: Uuid, take_over: bool) -> Result<Option<Box<dyn Console + '_>>> {
        let call = self.on("open_console", "open the console of", domain);
        let opened = self.call(&call, |state| {
            let next = state.console_sessions + 1;
            let live = state.running_domain(domain)?;
            if live.console_session != 0 && !take_over {
                return Ok(None);
            }
            live.console_session = next;
            state.console_sessions = next;
            // Readable, because the other end is closed.
            let (readable, _) = UnixStream::pair().map_err(|e| Failure::Refused(e.to_string()))?;
            Ok(Some((next, readable)))
        })?;
        Ok(opened.map(|(session, readable)| {
            Box::new(MemoryConsole { host: self.clone(), domain, session, readable }) as Box<dyn Console>
        }))
    }

    fn screenshot(&self, domain: Uuid, screen: u32) -> Result<Screenshot> {
        let call = self.on("screenshot", "take a picture of the screen of", domain);
        self.call(&call, |state| {
            let live = state.running_domain(domain)?;
            let has_video = DomainDescription::read(&live.xml).map_err(|e| to_failure(&e))?.has_video;
            if !has_video || screen > 0 {
                return Err(Failure::Refused("no screens to take screenshot from".into()));
            }
            Ok(Screenshot { media_type: "image/png".into(), bytes: PNG_SIGNATURE.to_vec() })
        })
    }
}

/// The beginning of every PNG file (its specification, section 5.2).
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

impl MemoryConsole {
    /// Acts on the running domain, if the session is still its own.
    fn act<T>(&self, method: &str, act: impl FnOnce(&mut Live) -> T) -> Result<Option<T>> {
        self.host.call(&self.host.on(method, "use the console of", self.domain), |state| -> StateResult<_> {
            let Ok(live) = state.running_domain(self.domain) else { return Ok(None) };
            Ok((live.console_session == self.session).then(|| act(live)))
        })
    }
}

impl Console for MemoryConsole {
    fn readiness(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn read(&mut self) -> Result<ConsoleOutput> {
        let read = self.act("read_console", |live| std::mem::take(&mut live.console_output))?;
        Ok(read.map_or(ConsoleOutput::Ended, ConsoleOutput::Bytes))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let typed = String::from_utf8_lossy(bytes).into_owned();
        let guest = {
            let state = &self.host.lock_inside().state;
            state.guest(&state.machine_name(self.domain))
        };
        self.act("write_console", |live| {
            for (_, answer) in guest.console_answers.iter().filter(|(input, _)| typed.contains(input)) {
                live.console_output.extend_from_slice(answer.as_bytes());
            }
        })?;
        Ok(())
    }
}

impl Drop for MemoryConsole {
    fn drop(&mut self) {
        let state = &mut self.host.lock_inside().state;
        if let Ok(live) = state.running_domain(self.domain)
            && live.console_session == self.session
        {
            live.console_session = 0;
        }
    }
}
