//! Starts, stops, restarts, pauses and resumes a VM.
//!
//! Each verb is idempotent: a VM that is already as asked for is left alone. Whether a VM may be started is checked
//! under its lock, so that a destroy of another process, which holds that lock while it deletes the disks, never meets
//! a guest that was started in between.

use std::time::Duration;

use super::handle::{find_own_vm, refused_unchanged, undefined_meanwhile};
use super::{console, lookup, stop};
use crate::diagnose::FailureContext;
use crate::poll::{Poll, Waited};
use crate::{Context, Step, lock};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::Record;
use foundry_host::diagnosis::RequestedVm;
use foundry_host::{Domain, DomainState, StateNow, StateReason};

/// Time between two checks of a guest that shuts down.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Time between two presses of the power button.
const PRESS_EVERY: Duration = Duration::from_secs(10);

/// The change that a verb made to a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerChange {
    /// It was off and starts.
    Started,
    /// It was off and continues from its saved memory.
    Restored,
    /// It runs already.
    AlreadyRunning,
    /// Its guest shut down.
    Stopped,
    /// It was forced off.
    ForcedOff,
    /// It is off already.
    AlreadyOff,
    /// It was off for a moment, and starts with its present definition.
    Restarted,
    /// Its guest was asked to reboot.
    RebootRequested,
    /// Its processors stand still.
    Paused,
    /// It is paused already.
    AlreadyPaused,
    /// It continues.
    Resumed,
}

/// A VM, and the change that a verb made to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerReport {
    /// The VM's name; it may have been given by its UUID.
    pub vm: String,
    /// What was done.
    pub change: PowerChange,
}

/// How to stop a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOptions {
    /// Force it off at once, as a power failure would.
    pub force: bool,
    /// How long the guest may take to shut down.
    pub timeout: Duration,
}

/// Starts a VM. If its memory was saved, it continues from it, unless that is to be discarded.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if it cannot be started, or is paused.
pub fn start(context: &Context, name: &str, discard_memory: bool) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| start_locked(context, domain, discard_memory))
}

/// Asks the guest to shut down and waits; it is never forced off unless that is asked for.
///
/// # Errors
/// [`Code::ShutdownIgnored`] if it still runs after the time; [`Code::GuestPaused`] if it cannot react.
pub fn stop(context: &Context, name: &str, options: StopOptions) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| stop_found(context, domain, options))
}

/// Stops a VM and starts it again, so that its present definition takes effect. A VM that is off is started.
///
/// # Errors
/// Those of [`stop`] and [`start`]. If the start fails, the VM is off.
pub fn restart(context: &Context, name: &str, options: StopOptions) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| {
        if stop_found(context, domain, options)? == PowerChange::AlreadyOff {
            return start_locked(context, domain, false);
        }
        start_locked(context, domain, false).map_err(|error| {
            let again = Advice::from(Verb::Start { vm: domain.command_name() }).text(" starts it");
            error.outcome(format!("VM '{}' is off", domain.name)).outcome(again)
        })?;
        Ok(PowerChange::Restarted)
    })
}

/// Asks the guest to reboot, and returns at once. QEMU goes on, so a changed definition does not take effect.
///
/// # Errors
/// [`Code::GuestPaused`] if it does not execute; [`Code::GuestOff`] if it is off.
pub fn reboot(context: &Context, name: &str) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| match domain.state {
        DomainState::ShutOff => Err(off_error(domain)),
        state if !state.is_executing() => Err(not_executing_error(domain)),
        _ => {
            context.host.request_reboot(domain.uuid)?;
            Ok(PowerChange::RebootRequested)
        }
    })
}

/// Stops the guest's processors. Its memory is kept as long as the VM is not stopped.
///
/// # Errors
/// [`Code::GuestOff`] if it is off; [`foundry_core::error::Kind::Vm`] if libvirt refuses.
pub fn pause(context: &Context, name: &str) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| match domain.state {
        DomainState::Paused => Ok(PowerChange::AlreadyPaused),
        DomainState::ShutOff => Err(off_error(domain)),
        DomainState::Crashed | DomainState::Suspended => Err(not_executing_error(domain)),
        _ => {
            context.host.pause(domain.uuid)?;
            Ok(PowerChange::Paused)
        }
    })
}

/// Resumes a paused VM, or wakes one whose guest has suspended itself. If an error paused it, a warning says which.
///
/// # Errors
/// [`Code::GuestOff`] if it is off; [`Code::GuestPaused`] if the error pauses it again.
pub fn resume(context: &Context, name: &str) -> Result<PowerReport, Error> {
    change_vm(context, name, |domain| match domain.state {
        DomainState::ShutOff => Err(off_error(domain)),
        DomainState::Crashed => Err(not_executing_error(domain)),
        DomainState::Paused | DomainState::Suspended => resume_found(context, domain),
        _ => Ok(PowerChange::AlreadyRunning),
    })
}

/// Finds the VM and changes it. If it was deleted meanwhile, the error says that.
fn change_vm(
    context: &Context,
    name: &str,
    change: impl FnOnce(&Domain) -> Result<PowerChange, Error>,
) -> Result<PowerReport, Error> {
    let (domain, _) = find_own_vm(context, name)?;
    context.cancel.check_unchanged()?;
    let change = change(&domain).map_err(|error| lookup::or_removed_meanwhile(context, &domain, error))?;
    Ok(PowerReport { vm: domain.name, change })
}

fn resume_found(context: &Context, domain: &Domain) -> Result<PowerChange, Error> {
    if domain.stopped_by_error()
        && let Some(reason) = domain.why.to_sentence(domain.state)
    {
        context.warn(format!("VM '{}' was not paused by a user: {reason}", domain.name));
    }
    context.host.resume(domain.uuid)?;
    match context.host.state(domain.uuid)? {
        None => Err(lookup::removed_meanwhile(&domain.name)),
        Some(now) if now.stopped_by_error() => Err(paused_again_error(domain, now)),
        Some(_) => Ok(PowerChange::Resumed),
    }
}

fn start_locked(context: &Context, domain: &Domain, discard_memory: bool) -> Result<PowerChange, Error> {
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    // Again under the lock: a destroy may have begun, and its mark is in the record.
    let (domain, record) = match find_own_vm(context, &domain.name) {
        Ok((now, record)) if now.uuid == domain.uuid => (now, record),
        Err(error) if error.code() != Code::VmMissing => return Err(error),
        _ => return Err(lookup::removed_meanwhile(&domain.name).unchanged()),
    };
    match domain.state {
        DomainState::ShutOff => {}
        state if state.is_executing() => return Ok(PowerChange::AlreadyRunning),
        _ => return Err(not_executing_error(&domain)),
    }
    context.cancel.check_unchanged()?;
    let start = match (domain.saved, discard_memory) {
        (true, true) => StartMethod::WithoutMemory,
        _ => StartMethod::AsItIs,
    };
    start_off_vm(context, &domain, &record, start)?;
    Ok(if domain.saved && !discard_memory { PowerChange::Restored } else { PowerChange::Started })
}

/// How to start a VM that is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartMethod {
    /// With its saved memory, if it has any.
    AsItIs,
    /// Without its saved memory.
    WithoutMemory,
    /// With its EFI variables as a new VM has them.
    NewVariables,
}

/// Starts a VM that is off. The caller holds its lock.
pub(super) fn start_off_vm(
    context: &Context,
    domain: &Domain,
    record: &Record,
    start: StartMethod,
) -> Result<(), Error> {
    context.report_started(Step::StartVm);
    let log_ready =
        record.console_log.as_deref().map(|log| console::make_log_directory(context.host.as_ref(), log));
    log_ready.transpose()?;
    let failure = FailureContext::new(context, requested_vm(domain, record));
    let started = match start {
        StartMethod::AsItIs => context.host.start(domain.uuid),
        StartMethod::WithoutMemory => context.host.start_without_memory(domain.uuid),
        StartMethod::NewVariables => context.host.start_with_new_variables(domain.uuid),
    };
    started.map_err(|refused| failure.explain_error(context, refused))
}

fn requested_vm(domain: &Domain, record: &Record) -> RequestedVm {
    let interfaces = record.manifest.spec.network_interfaces.iter();
    RequestedVm {
        vm: domain.name.clone(),
        uuid: domain.uuid.to_string(),
        bridges: interfaces.filter_map(|i| i.bridge.clone()).collect(),
        ..RequestedVm::default()
    }
}

pub(super) fn stop_found(
    context: &Context,
    domain: &Domain,
    options: StopOptions,
) -> Result<PowerChange, Error> {
    check_stoppable(domain, options)?;
    if domain.state == DomainState::ShutOff {
        return Ok(PowerChange::AlreadyOff);
    }
    if options.force {
        stop::force_off(context, domain.uuid, &domain.name)?;
        return Ok(PowerChange::ForcedOff);
    }
    shut_down(context, domain, options.timeout)
}

/// Checks that a VM is off, or can be stopped.
pub(super) fn check_stoppable(domain: &Domain, options: StopOptions) -> Result<(), Error> {
    if domain.state == DomainState::ShutOff {
        return Ok(());
    }
    // Off, it would cease to exist, and with it the record that names its disks.
    if !domain.persistent {
        return Err(undefined_meanwhile(domain));
    }
    if !options.force && !domain.state.is_executing() && domain.state != DomainState::ShuttingDown {
        return Err(not_executing_error(domain).hint(continue_or_force(domain)));
    }
    Ok(())
}

/// Presses the power button and waits until the guest is off. The button is pressed again from time to time: a guest
/// that is still booting does not notice it, and one that is shutting down does not mind.
fn shut_down(context: &Context, domain: &Domain, timeout: Duration) -> Result<PowerChange, Error> {
    let is_off = || -> Result<bool, Error> {
        let now = context.host.state(domain.uuid)?;
        Ok(now.ok_or_else(|| lookup::removed_meanwhile(&domain.name))?.state == DomainState::ShutOff)
    };
    if let Err(refused) = context.host.request_shutdown(domain.uuid) {
        // It may have gone off by itself since it was looked at.
        return if is_off()? { Ok(PowerChange::Stopped) } else { Err(refused.into()) };
    }
    context.report_started(Step::ShutDownGuest);
    let mut pressed = context.clock.elapsed();
    let waited = Poll::new(context, POLL_EVERY)
        .woken_by(domain.uuid)
        .within(timeout)
        .unless(|| context.cancel.is_requested())
        .until(|| {
            if is_off()? {
                return Ok::<_, Error>(Some(()));
            }
            let now = context.clock.elapsed();
            if now.saturating_sub(pressed) >= PRESS_EVERY {
                pressed = now;
                // The first press was accepted; a refusal of a later one means that the guest is going off.
                let _ = context.host.request_shutdown(domain.uuid);
            }
            Ok(None)
        })?;
    let asked = format!("the guest of VM '{}' was asked to shut down and may still do so", domain.name);
    match waited {
        Waited::Done(()) => Ok(PowerChange::Stopped),
        Waited::Cancelled => {
            let interrupted = context.cancel.check().err();
            Err(interrupted.unwrap_or_else(|| shutdown_ignored_error(domain, timeout)).outcome(asked))
        }
        Waited::TimeOver => Err(shutdown_ignored_error(domain, timeout).outcome(asked)),
    }
}

fn shutdown_ignored_error(domain: &Domain, timeout: Duration) -> Error {
    let seconds = timeout.as_secs_f32();
    Error::new(Code::ShutdownIgnored, format!("VM '{}' did not shut down in {seconds} s", domain.name))
        .because("its guest ignores the power button, is still booting, or takes longer")
        .hint(Advice::from("wait longer with --timeout").and_then("; ", force_stop(domain)))
}

/// Forcing off loses what the guest has not written, so it is advised with that.
fn force_stop(domain: &Domain) -> Advice {
    Advice::from(Verb::Stop { vm: domain.command_name(), force: true })
        .text(" forces it off, as a power failure would")
}

fn off_error(domain: &Domain) -> Error {
    refused_unchanged(Code::GuestOff, format!("VM '{}' is off", domain.name))
        .hint(Advice::from(Verb::Start { vm: domain.command_name() }).text(" starts it"))
}

/// The error for a guest that is active and does not execute.
pub(crate) fn not_executing_error(domain: &Domain) -> Error {
    let error = refused_unchanged(Code::GuestPaused, format!("VM '{}' is {}", domain.name, domain.state));
    let reason = domain.why.to_sentence(domain.state).filter(|_| domain.why != StateReason::ByUser);
    let error = match reason {
        Some(reason) => error.because(reason),
        None => error,
    };
    match domain.state {
        DomainState::Paused | DomainState::Suspended => error.hint(let_continue(domain)),
        DomainState::Crashed => error.hint(force_stop(domain)),
        _ => error,
    }
}

fn let_continue(domain: &Domain) -> Advice {
    Advice::from(Verb::Resume { vm: domain.command_name() }).text(" lets it continue")
}

fn continue_or_force(domain: &Domain) -> Advice {
    match domain.state {
        DomainState::Crashed => force_stop(domain),
        _ => let_continue(domain).and_then("; ", force_stop(domain)),
    }
}

fn paused_again_error(domain: &Domain, now: StateNow) -> Error {
    let error =
        Error::new(Code::GuestPaused, format!("VM '{}' was resumed and is {} again", domain.name, now.state));
    let word = domain.shell_name();
    error
        .because(now.why.to_sentence(now.state).unwrap_or("libvirt does not say why"))
        .hint(format!("virsh domblkerror {word} shows which disk has an error, if it is that"))
}
