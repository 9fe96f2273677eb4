//! Signals: the first stops an operation and rolls it back, the second stops the rollback, the third exits.
//!
//! A read-only command ends at once. A command that changes something calls [`install_handler`] first; from then on a
//! signal raises the operation's [`Cancel`], and the operation ends itself. If it cannot, because a libvirt call does
//! not return, the second signal prints what may be left and ends the process.
//!
//! A closing terminal sends SIGHUP more than once: the shell forwards its own, and the kernel sends one when the shell
//! is gone. No person is behind them, so all SIGHUPs together count as one signal.

use std::io::IsTerminal as _;
use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{raw_terminal, ui};
use foundry_core::error::{Code, Error, Kind};
use foundry_engine::Cancel;
use foundry_host::local::own_status;

/// Time before the "still stopping" notice (first signal) and before a forced exit (second).
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The last message gets 30 times 10 ms.
const TRIES_TO_TELL: u32 = 30;
const A_MOMENT: Duration = Duration::from_millis(10);

/// The first signal. It is global because signals are sent to a process, not to an operation.
static FIRST: OnceLock<i32> = OnceLock::new();

/// Makes signals raise `cancel`. A signal that is ignored stays ignored: nohup(1) ignores SIGHUP, and a shell ignores
/// SIGINT for background jobs.
///
/// # Errors
/// If the system refuses a signal handler.
pub(super) fn install_handler(cancel: &Cancel) -> Result<(), Error> {
    install_for(cancel, &[SIGINT, SIGTERM, SIGHUP])
}

/// The same for a service: SIGHUP only raises `reload`, unless a terminal sends it that closes.
///
/// # Errors
/// If the system refuses a signal handler.
pub(super) fn install_service_handler(cancel: &Cancel, reload: &Arc<AtomicBool>) -> Result<(), Error> {
    if std::io::stdin().is_terminal() {
        return install_handler(cancel);
    }
    signal_hook::flag::register(SIGHUP, Arc::clone(reload)).map_err(unheard)?;
    install_for(cancel, &[SIGINT, SIGTERM])
}

fn unheard(e: std::io::Error) -> Error {
    Error::new(Kind::Configuration, "cannot listen to signals").because(e.to_string())
}

fn install_for(cancel: &Cancel, wanted: &[i32]) -> Result<(), Error> {
    let ignored = ignored_signals();
    // Bit n - 1 of the mask stands for signal n (proc(5)).
    let heard = wanted.iter().copied().filter(|s| ignored >> (s - 1) & 1 == 0);
    let mut signals = Signals::new(heard).map_err(unheard)?;
    let cancel = cancel.clone();
    thread::spawn(move || {
        let mut wishes = 0;
        for signal in signals.forever() {
            if FIRST.set(signal).is_ok() || signal != SIGHUP {
                wishes += 1;
                handle_signal(wishes, &cancel);
            }
        }
    });
    Ok(())
}

/// Forwards signals to a child process and goes on, so this process ends with the child and after it. A terminal sends
/// its own to both.
pub(super) fn forward_signals(child: u32) {
    let ignored = ignored_signals();
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|s| ignored >> (s - 1) & 1 == 0);
    // Without a handler, a signal ends this process, and the child at its next output.
    let Ok(mut signals) = Signals::new(heard) else { return };
    let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return };
    thread::spawn(move || {
        for signal in signals.forever() {
            let Some(signal) = Signal::from_named_raw(signal) else { continue };
            // It may have ended by itself.
            let _ = kill_process(child, signal);
        }
    });
}

/// The exit code for a kind of failure. For an interruption it is 128 plus the signal, as in shells: 130, 143, 129.
pub(super) fn exit_code(kind: Kind) -> u8 {
    let by = FIRST.get().filter(|_| kind == Kind::Interrupted);
    by.and_then(|signal| u8::try_from(128 + signal).ok()).unwrap_or(kind.exit_code())
}

fn handle_signal(wishes: usize, cancel: &Cancel) {
    cancel.request();
    let cancel = cancel.clone();
    match wishes {
        1 => run_later(FIRST_PATIENCE, || ui::write_late(&stopping_notice())),
        2 => run_later(LAST_PATIENCE, move || exit_unfinished(&cancel)),
        _ => exit_unfinished(&cancel),
    }
}

/// Runs `act` later, unless the process has ended by then.
fn run_later(time: Duration, act: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(time);
        act();
    });
}

fn stopping_notice() -> String {
    "interrupted; finishing or rolling back. Interrupt again to stop that, too".into()
}

fn exit_unfinished(cancel: &Cancel) {
    raw_terminal::restore_terminal();
    let mut remains = cancel.possible_leftovers();
    if remains.is_empty() {
        remains.push("the last request to libvirt may still take effect".into());
    }
    let error = Error::new(Code::InterruptedAgain, "interrupted again, and stopped without cleaning up");
    let error = remains.into_iter().fold(error, Error::outcome);
    let telling = thread::spawn(move || ui::write_late_error(&error));
    // The reader of stderr may be stopped (a paused pager, Ctrl-S in a terminal), so do not wait for it forever.
    for _ in 0..TRIES_TO_TELL {
        if telling.is_finished() {
            break;
        }
        thread::sleep(A_MOMENT);
    }
    process::exit(i32::from(exit_code(Kind::Interrupted)));
}

/// The signals that this process ignores, as a bit mask (proc(5), SigIgn).
fn ignored_signals() -> u64 {
    own_status("SigIgn").and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0)
}
