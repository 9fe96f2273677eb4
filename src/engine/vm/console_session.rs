//! Opens the serial console of a VM.

use std::path::Path;
use std::time::Duration;

use super::handle::{find_own_vm, refused_unchanged};
use super::lookup;
use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_host::local::find_console_clients;
use foundry_host::{Console, Domain, DomainState, HostError};

/// A console ends a moment before libvirt says that the VM is off.
const UNTIL_OFF: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An open console of a VM. Dropped, it is closed.
pub struct ConsoleSession<'a> {
    /// The console.
    pub console: Box<dyn Console + 'a>,
    domain: Domain,
}

impl ConsoleSession<'_> {
    /// The VM's name; it may have been given by its UUID.
    pub fn vm(&self) -> &str {
        &self.domain.name
    }

    /// Whether the guest is paused, and so says nothing.
    pub fn is_paused(&self) -> bool {
        matches!(self.domain.state, DomainState::Paused | DomainState::Suspended | DomainState::Crashed)
    }
}

/// Opens the console of a running VM. libvirt lets one session have it: `take_over` ends the other.
///
/// # Errors
/// [`Code::GuestOff`] if the VM is off; [`Code::ConsoleInUse`] if another session has the console.
pub fn open_console<'a>(
    context: &'a Context,
    name: &str,
    take_over: bool,
) -> Result<ConsoleSession<'a>, Error> {
    let (domain, _) = find_own_vm(context, name)?;
    if !domain.state.is_active() {
        return Err(off_error(&domain));
    }
    let opened = context.host.open_console(domain.uuid, take_over);
    let opened = opened.map_err(|refused| refused_or_off(context, &domain, refused))?;
    let Some(console) = opened else { return Err(in_use_error(context, &domain)) };
    Ok(ConsoleSession { console, domain })
}

/// Closes a console that has ended by itself, and checks why.
///
/// # Errors
/// [`Code::ConsoleInUse`] if the VM still runs: then another session has taken the console over.
pub fn close_ended(context: &Context, session: ConsoleSession<'_>) -> Result<(), Error> {
    let domain = session.domain;
    drop(session.console);
    let waited = Poll::new(context, LOOK_EVERY).within(UNTIL_OFF).until(|| {
        let now = context.host.state(domain.uuid)?;
        Ok::<_, Error>(now.is_none_or(|now| !now.state.is_active()).then_some(()))
    })?;
    match waited {
        Waited::Done(()) => Ok(()),
        Waited::TimeOver | Waited::Cancelled => {
            let message = format!("the console of VM '{}' was taken over by another session", domain.name);
            Err(with_clients(context, &domain, Error::new(Code::ConsoleInUse, message)))
        }
    }
}

/// The error for a call that needs a running VM: it may have gone off since it was looked at.
pub(super) fn refused_or_off(context: &Context, domain: &Domain, refused: HostError) -> Error {
    match context.host.state(domain.uuid) {
        Ok(Some(now)) if !now.state.is_active() => off_error(domain),
        Ok(Some(_)) => refused.into(),
        Ok(None) => lookup::removed_meanwhile(&domain.name),
        Err(failed) => failed.into(),
    }
}

/// The error for a VM that has to run and is off.
pub(super) fn off_error(domain: &Domain) -> Error {
    let console = Advice::from(Verb::Logs { vm: domain.command_name() }).text(" shows what its console said");
    refused_unchanged(Code::GuestOff, format!("VM '{}' is off", domain.name)).hint(
        Advice::from(Verb::Start { vm: domain.command_name() }).text(" starts it").and_then("; ", console),
    )
}

fn in_use_error(context: &Context, domain: &Domain) -> Error {
    let error = refused_unchanged(
        Code::ConsoleInUse,
        format!("another session has the console of VM '{}'", domain.name),
    );
    let force = Advice::from(Verb::Console { vm: domain.command_name(), force: true });
    with_clients(context, domain, error).hint(force.text(" takes it over, and ends the other session"))
}

/// Adds who may have the console.
fn with_clients(context: &Context, domain: &Domain, error: Error) -> Error {
    let uuid = domain.uuid.to_string();
    let clients = match context.host.is_local() {
        true => find_console_clients(Path::new("/"), &[&domain.name, &uuid]),
        false => Vec::new(),
    };
    match clients.is_empty() {
        true => error.because("libvirt does not say which one, and it is no console command of this machine"),
        false => error.because(format!("here runs {}", clients.join(", "))),
    }
}
