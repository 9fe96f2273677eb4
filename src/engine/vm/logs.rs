//! Reads a VM's console log or its QEMU's log, and follows it.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::console::{log_path, may_read_log, qemu_log_path};
use super::handle::find_own_vm;
use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::text::describe_io_error;
use foundry_host::local::{LogContent, LogReader};
use foundry_host::{Domain, RemoteLog, RemoteLogContent, ssh_host_of};

/// Time between two looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After so many looks at a log that does not exist, libvirt is asked whether the VM still does.
const LOOKS_UNTIL_ASKED: u32 = 10;

/// Which log to read, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// QEMU's log instead of the console's.
    pub qemu: bool,
    /// Whether to go on with what is appended.
    pub follow: bool,
    /// Only this many lines of what there is.
    pub tail: Option<usize>,
}

/// Why the reading of a log ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEnd {
    /// All was read, or nobody wants more.
    Done,
    /// The VM of this name does not exist any more.
    VmDeleted(String),
}

/// Receives a log. With no bytes it is told that there are no more for now.
pub trait LogSink {
    /// Takes the next bytes, and returns whether more are wanted.
    ///
    /// # Errors
    /// If they cannot be passed on.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Error>;
}

/// Reads a log with its rotated backups, the oldest first. Followed, it goes on over rotations and restarts until the
/// VM is deleted or `sink` wants no more.
///
/// # Errors
/// [`Code::LogUnreadable`] if the log cannot be read from here, or does not exist and is not followed.
pub fn read_log(
    context: &Context,
    name: &str,
    options: LogOptions,
    sink: &mut dyn LogSink,
) -> Result<LogEnd, Error> {
    let (domain, record) = find_own_vm(context, name)?;
    let log = NamedLog { domain: &domain, what: if options.qemu { "QEMU's log" } else { "the console log" } };
    let path = match options.qemu {
        true => qemu_log_path(context.host.uri(), &domain.name),
        false => record.console_log,
    };
    let Some(path) = path else {
        return Err(log.unreadable("foundry does not know where this libvirt writes it"));
    };
    if !context.host.is_local() {
        return read_remote(context, &log, &path, options, sink);
    }
    let is_allowed = match options.qemu {
        true => Box::new(|_: &Metadata| true) as Box<dyn Fn(&Metadata) -> bool>,
        false => may_read_log(context.host.as_ref(), &domain.name, &path),
    };
    let mut reader = LogReader::open(Path::new(&path), is_allowed).map_err(|e| log.refused(&path, &e))?;
    let mut lines = options.tail.map(LastLines::of);
    loop {
        match reader.read().map_err(|e| log.refused(&path, &e))? {
            LogContent::Bytes(bytes) => match &mut lines {
                Some(lines) => lines.add(&bytes),
                None if sink.take(&bytes)? => {}
                None => return Ok(LogEnd::Done),
            },
            LogContent::Missing if !options.follow => {
                let start = Advice::from(Verb::Start { vm: domain.command_name() });
                return Err(log
                    .unreadable(format!("there is no {path}"))
                    .hint(start.text(" starts the VM, and libvirt creates it then")));
            }
            LogContent::Missing | LogContent::End => break,
        }
    }
    if !sink.take(&lines.map(LastLines::into_bytes).unwrap_or_default())? {
        return Ok(LogEnd::Done);
    }
    if !options.follow {
        return Ok(LogEnd::Done);
    }
    follow(context, &log, &path, &mut reader, sink)
}

/// Reads the log of a host that is another machine, by ssh. Only foundry's own path is read there: who may write the
/// record may not choose another file.
fn read_remote(
    context: &Context,
    log: &NamedLog<'_>,
    path: &str,
    options: LogOptions,
    sink: &mut dyn LogSink,
) -> Result<LogEnd, Error> {
    let uri = context.host.uri();
    let is_own_path = options.qemu || log_path(uri, &log.domain.name).as_deref() == Some(path);
    let Some(host) = ssh_host_of(uri)?.filter(|_| is_own_path) else {
        let why = match is_own_path {
            true => {
                format!("{path} is on the host, which is another machine, and the connection is not by SSH")
            }
            false => format!("{path}, which the VM's record names, is not where foundry puts it"),
        };
        return Err(log.unreadable(why).hint(log.advise_host()));
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => log.unreadable("ssh is not installed"),
        _ => log.unreadable(format!("{}: {error}", host.host)).hint(log.advise_host()),
    };
    let opened = match options.follow {
        true => RemoteLog::follow(&host, path, options.tail),
        false => RemoteLog::open(&host, path),
    };
    let mut remote = opened.map_err(failed)?;
    let mut lines = options.tail.filter(|_| !options.follow).map(LastLines::of);
    let mut looks = 0;
    let waited = Poll::new(context, LOOK_EVERY).unless(|| context.cancel.is_requested()).until(|| {
        loop {
            match remote.read() {
                Ok(RemoteLogContent::Bytes(bytes)) => match &mut lines {
                    Some(lines) => lines.add(&bytes),
                    None if sink.take(&bytes)? => {}
                    None => return Ok(Some(LogEnd::Done)),
                },
                Ok(RemoteLogContent::Nothing) => break,
                Ok(RemoteLogContent::End) => return Ok(Some(LogEnd::Done)),
                // A signal of the terminal reaches ssh, too.
                Err(_) if context.cancel.is_requested() => break,
                Err(error) => return Err(failed(error)),
            }
        }
        looks += 1;
        if looks % LOOKS_UNTIL_ASKED == 0 && context.host.state(log.domain.uuid)?.is_none() {
            return Ok(Some(LogEnd::VmDeleted(log.domain.name.clone())));
        }
        Ok::<_, Error>((!sink.take(&[])?).then_some(LogEnd::Done))
    })?;
    if let Some(lines) = lines {
        sink.take(&lines.into_bytes())?;
    }
    end_of(context, waited)
}

/// A signal ends it, too.
fn end_of(context: &Context, waited: Waited<LogEnd>) -> Result<LogEnd, Error> {
    match waited {
        Waited::Done(end) => Ok(end),
        Waited::TimeOver | Waited::Cancelled => context.cancel.check().map(|()| LogEnd::Done),
    }
}

fn follow(
    context: &Context,
    log: &NamedLog<'_>,
    path: &str,
    reader: &mut LogReader,
    sink: &mut dyn LogSink,
) -> Result<LogEnd, Error> {
    let mut missing = 0;
    let waited = Poll::new(context, LOOK_EVERY).unless(|| context.cancel.is_requested()).until(|| {
        loop {
            match reader.read().map_err(|e| log.refused(path, &e))? {
                LogContent::Bytes(bytes) => {
                    missing = 0;
                    if !sink.take(&bytes)? {
                        return Ok(Some(LogEnd::Done));
                    }
                }
                LogContent::End => break,
                LogContent::Missing => {
                    missing += 1;
                    if missing % LOOKS_UNTIL_ASKED == 0 && context.host.state(log.domain.uuid)?.is_none() {
                        return Ok(Some(LogEnd::VmDeleted(log.domain.name.clone())));
                    }
                    break;
                }
            }
        }
        Ok::<_, Error>((!sink.take(&[])?).then_some(LogEnd::Done))
    })?;
    end_of(context, waited)
}

/// A log, for messages.
struct NamedLog<'a> {
    domain: &'a Domain,
    what: &'static str,
}

impl NamedLog<'_> {
    fn unreadable(&self, because: impl Into<String>) -> Error {
        Error::new(Code::LogUnreadable, format!("cannot read {} of VM '{}'", self.what, self.domain.name))
            .because(because.into())
    }

    /// How to read it without a way to its file from here.
    fn advise_host(&self) -> Advice {
        Advice::from("run this there: ").run(Verb::Logs { vm: self.domain.command_name() })
    }

    fn refused(&self, path: &str, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::PermissionDenied => self.unreadable(format!("only root may read {path}")).hint(
                Advice::from("sudo ")
                    .run(Verb::Logs { vm: self.domain.command_name() })
                    .and_then("; ", Verb::Console { vm: self.domain.command_name(), force: false })
                    .text(" shows what comes from now on"),
            ),
            io::ErrorKind::InvalidInput => self.unreadable(format!(
                "{path}, which the VM's record names, is not where foundry puts it, and is no file of this user alone"
            )),
            _ => self.unreadable(format!("{path}: {}", describe_io_error(error))),
        }
    }
}

/// The last lines of what was read.
struct LastLines {
    most: usize,
    lines: VecDeque<Vec<u8>>,
}

impl LastLines {
    fn of(most: usize) -> Self {
        Self { most, lines: VecDeque::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self.lines.back_mut() {
                Some(line) if line.last() != Some(&b'\n') => line.extend_from_slice(part),
                _ => self.lines.push_back(part.to_vec()),
            }
            if self.lines.len() > self.most {
                self.lines.pop_front();
            }
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        self.lines.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_however_they_come() {
        for (most, kept) in [(0, ""), (1, "three"), (2, "two\nthree"), (9, "one\ntwo\nthree")] {
            for size in [1, 4, 100] {
                let mut lines = LastLines::of(most);
                b"one\ntwo\nthree".chunks(size).for_each(|part| lines.add(part));
                assert_eq!(String::from_utf8(lines.into_bytes()).unwrap(), kept, "{most} of {size}");
            }
        }
    }
}
