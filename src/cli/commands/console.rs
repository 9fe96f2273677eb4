//! `foundry console`

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connect::connect_host;
use crate::escape_keys::EscapeKeys;
use crate::output::parse_duration;
use crate::raw_terminal::RawTerminal;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error, Kind};
use foundry_engine::Context;
use foundry_engine::vm::console_session::{ConsoleSession, close_ended, open_console};
use foundry_host::{Console, ConsoleOutput};

/// The time between two looks whether a signal came.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Attach to the serial console of a VM; Ctrl-] leaves it
///
/// ~. at the beginning of a line leaves it, too. If stdin is not a terminal, its content is sent to the guest, and the
/// command ends when the guest is silent. The guest's output is written exactly as it is, also to a file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry console web
  foundry console web --force
  foundry console web < commands.txt")]
pub(crate) struct ConsoleArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// Take the console over from another session, which ends
    #[arg(short, long)]
    force: bool,
    /// If stdin is not a terminal: end when the guest has been silent for this long
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The user left, the guest was silent, or nobody reads any more.
    Left,
    /// The console ended by itself.
    Ended,
}

pub(super) fn run_console(args: &ConsoleArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let mut session = open_console(&context, &args.name, args.force)?;
    let vm = session.vm().to_owned();
    if session.is_paused() {
        ui.show_warning(&format!("VM '{vm}' is not executing: its console says nothing until it is resumed"));
    }
    let end = if ui.can_ask() {
        ui.show_note(&format!(
            "Connected to the console of VM '{vm}'. Ctrl-] leaves it, as does ~. at the beginning of a line. \
             Press Enter for a prompt."
        ));
        let raw = RawTerminal::enter().map_err(|e| {
            Error::new(Kind::Configuration, "cannot change the mode of the terminal").because(e.to_string())
        })?;
        let end =
            Relay { context: &context, ui, keys: Some(EscapeKeys::new()), silence: None }.run(&mut session);
        drop(raw);
        if io::stdout().is_terminal() {
            // The guest's last line may have no end.
            ui.write_bytes(b"\n")?;
        }
        end
    } else {
        Relay { context: &context, ui, keys: None, silence: Some(args.timeout) }.run(&mut session)
    };
    match end? {
        End::Left => Ok(()),
        End::Ended => {
            close_ended(&context, session)?;
            ui.show_note(&format!("VM '{vm}' is off"));
            Ok(())
        }
    }
}

/// Passes bytes between stdin, the console and stdout.
struct Relay<'a> {
    context: &'a Context,
    ui: &'a Ui,
    /// `None` if stdin is not a terminal: then every byte is the guest's.
    keys: Option<EscapeKeys>,
    /// How long the guest may be silent after the end of stdin.
    silence: Option<Duration>,
}

impl Relay<'_> {
    fn run(mut self, session: &mut ConsoleSession<'_>) -> Result<End, Error> {
        let console = session.console.as_mut();
        let mut has_input = true;
        let mut last = Instant::now();
        loop {
            self.context.cancel.check()?;
            let patience =
                self.silence.filter(|_| !has_input).map(|most| most.saturating_sub(last.elapsed()));
            if patience.is_some_and(|left| left.is_zero()) {
                return Ok(End::Left);
            }
            let (is_typed, is_said) =
                wait(console, has_input, patience.unwrap_or(LOOK_EVERY).min(LOOK_EVERY));
            if is_said {
                match console.read()? {
                    ConsoleOutput::Ended => return Ok(End::Ended),
                    ConsoleOutput::Bytes(bytes) if bytes.is_empty() => {}
                    ConsoleOutput::Bytes(bytes) => {
                        last = Instant::now();
                        self.ui.write_bytes(&bytes)?;
                        if self.ui.is_unread() {
                            return Ok(End::Left);
                        }
                    }
                }
            }
            if is_typed {
                let mut typed = [0; 4096];
                let count = read_stdin(&mut typed)?;
                last = Instant::now();
                has_input = count > 0;
                if !self.send(console, &typed[..count])? {
                    return Ok(End::Left);
                }
            }
        }
    }

    /// Sends what was typed, and returns whether the session goes on. A terminal that has closed ends it.
    fn send(&mut self, console: &mut dyn Console, typed: &[u8]) -> Result<bool, Error> {
        let Some(keys) = &mut self.keys else {
            console.write(typed)?;
            return Ok(true);
        };
        let typed_keys = keys.take(typed);
        console.write(&typed_keys.for_guest)?;
        Ok(!typed_keys.leaves && !typed.is_empty())
    }
}

/// Waits for input, if there is still some, and for output: whether there is each.
fn wait(console: &dyn Console, has_input: bool, within: Duration) -> (bool, bool) {
    let stdin = io::stdin();
    let mut polled = vec![PollFd::from_borrowed_fd(console.readiness(), PollFlags::IN)];
    if has_input {
        polled.push(PollFd::new(&stdin, PollFlags::IN));
    }
    let within = Timespec::try_from(within).unwrap_or_default();
    // A signal ends the wait, too.
    if poll(&mut polled, Some(&within)).is_err() {
        return (false, false);
    }
    let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
    (polled.get(1).is_some_and(is_ready), is_ready(&polled[0]))
}

/// Reads what is there; 0 at the end.
fn read_stdin(buffer: &mut [u8]) -> Result<usize, Error> {
    match rustix::io::read(io::stdin(), buffer) {
        Ok(count) => Ok(count),
        // A terminal that has closed.
        Err(rustix::io::Errno::IO) => Ok(0),
        Err(e) => Err(Error::new(Code::FileUnreadable, "cannot read stdin").because(e.to_string())),
    }
}
