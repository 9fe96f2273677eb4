//! Waits until a VM is ready; on a failure, reports the stage that it reached.
//!
//! A VM is never rolled back here: creation ended with its start.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::boot_stage::BootStage;
use super::create::CreatedVm;
pub use super::goal::Goal;
use super::handle::find_own_vm;
use super::inspect::guest_addresses;
use super::ssh_greeting::{SshGreeting, read_greeting};
use super::{console, lookup};
use crate::advice::list_unused;
use crate::poll::{Poll, Waited};
use crate::preflight::conflicts;
use crate::{Context, Step, diagnose};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::record::Record;
use foundry_host::{Domain, DomainState, StateNow, StateReason};

/// Time between two checks.
const POLL_EVERY: Duration = Duration::from_millis(300);
/// Time limit for an answer of the guest agent.
pub(super) const AGENT_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait, after cloud-init's final message, for the guest agent to return its result file.
pub(super) const RESULT_WITHIN: Duration = Duration::from_secs(10);
/// A stage of the guest, in words.
pub(super) const CLOUD_INIT_AT_WORK: &str = "cloud-init is at work";
/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 10;

/// Waits for a VM that was just created. Returns its known addresses.
///
/// # Errors
/// [`foundry_core::error::Kind::Timeout`], [`foundry_core::error::Kind::Interrupted`], or
/// [`foundry_core::error::Kind::Vm`] if the guest stopped or cloud-init failed.
pub fn wait_for_vm(
    context: &Context,
    vm: &CreatedVm,
    goal: Goal,
    timeout: Duration,
) -> Result<Vec<String>, Error> {
    let name = vm.record.manifest.metadata.name.clone().unwrap_or_default();
    let mut watch = GuestWatch {
        context,
        vm,
        name,
        seen: "no sign of life from the guest (no address, no SSH)",
        finished: None,
    };
    watch.warn_of_silence(goal);
    context.report_started(Step::WaitFor { goal, took: Duration::ZERO });
    let begun = context.clock.elapsed();
    let waited = Poll::new(context, POLL_EVERY).within(timeout).until(|| {
        // Checked before the queries, which may take seconds, so that an interrupted wait ends at once.
        if context.cancel.is_requested() {
            return Err(watch.gave_up(Code::Interrupted, "interrupted while waiting for".into(), goal));
        }
        let is_ready = watch.check_once(goal).map_err(|e| watch.with_vm_kept(e))?;
        Ok(is_ready.then_some(()))
    })?;
    if waited != Waited::Done(()) {
        return Err(watch.gave_up(Code::NotReady, format!("waited {} s for", timeout.as_secs()), goal));
    }
    let took = context.clock.elapsed().saturating_sub(begun);
    context.report_finished(Step::WaitFor { goal, took });
    watch.known_addresses().map_err(|e| watch.with_vm_kept(e))
}

/// Waits for a VM by its name, as [`wait_for_vm`] does for one that was just created. Returns its name and its known
/// addresses.
///
/// # Errors
/// Those of [`wait_for_vm`]; [`Code::VmMissing`] or [`Code::NotFoundrys`] if foundry has no such VM.
pub fn wait_for_named(
    context: &Context,
    name: &str,
    goal: Goal,
    timeout: Duration,
) -> Result<(String, Vec<String>), Error> {
    let (domain, record) = find_own_vm(context, name)?;
    let vm = CreatedVm { uuid: domain.uuid, record };
    let addresses = wait_for_vm(context, &vm, goal, timeout)?;
    Ok((domain.name, addresses))
}

/// Returns whether cloud-init in a foundry VM is known to be done, from the guest agent or the console log, which also
/// works for a VM that is off. It waits only if the console says that cloud-init is done and an agent may return its
/// result.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if it is done, with errors.
pub(crate) fn is_cloud_init_done(context: &Context, domain: &Domain, record: &Record) -> Result<bool, Error> {
    let vm = CreatedVm { uuid: domain.uuid, record: record.clone() };
    let name = domain.name.clone();
    let mut watch = GuestWatch { context, vm: &vm, name, seen: "", finished: None };
    let waited = Poll::new(context, POLL_EVERY)
        .within(RESULT_WITHIN * 2)
        .unless(|| context.cancel.is_requested())
        .until(|| {
            let is_done = watch.cloud_init_done()?;
            // Without its final message on the console, there is no result to wait for.
            Ok::<_, Error>((is_done || watch.finished.is_none()).then_some(is_done))
        })?;
    match waited {
        Waited::Done(is_done) => Ok(is_done),
        Waited::TimeOver => Ok(false),
        Waited::Cancelled => context.cancel.check().map(|()| false),
    }
}

pub(super) struct GuestWatch<'a> {
    pub(super) context: &'a Context,
    pub(super) vm: &'a CreatedVm,
    pub(super) name: String,
    /// The furthest stage so far, in words.
    pub(super) seen: &'static str,
    /// When cloud-init's final message was first seen on the console.
    pub(super) finished: Option<Duration>,
}

impl GuestWatch<'_> {
    fn check_once(&mut self, goal: Goal) -> Result<bool, Error> {
        self.check_guest()?;
        self.is_reached(goal)
    }

    /// Adds to an error that the VM is kept, unless the error says so already.
    fn with_vm_kept(&self, error: Error) -> Error {
        let stays = Outcome::from(self.vm_kept_advice());
        let is_told = error.outcomes().contains(&stays) || lookup::is_gone(self.context, self.vm.uuid);
        if is_told { error } else { error.outcome(stays) }
    }

    /// Fails if the guest has stopped, because it will not become ready then.
    fn check_guest(&self) -> Result<(), Error> {
        let error = Error::new(Code::GuestStopped, format!("VM '{}' stopped before it was ready", self.name));
        let Some(now) = self.context.host.state(self.vm.uuid)? else { return Err(self.domain_gone(error)) };
        if !(now.stopped_by_error() || matches!(now.state, DomainState::ShutOff | DomainState::Crashed)) {
            return Ok(());
        }
        let error = error.because(now.why.to_sentence(now.state).unwrap_or("it is off"));
        let error = match diagnose::stopped_by(self.context, &self.name) {
            Some(found) => found.apply_to(error),
            None => self.with_resume_hint(error, now),
        };
        Err(self.with_console(error).outcome(self.vm_kept_advice()))
    }

    /// Adds a hint about how to continue a guest that stopped for that reason.
    fn with_resume_hint(&self, error: Error, now: StateNow) -> Error {
        let word = self.shell_name();
        match (now.state, now.why) {
            (DomainState::Paused, StateReason::NotSaid) => {
                error.hint("a host can offer KVM and still not run this guest: try --virt-type qemu; see libvirt's log of the VM")
            }
            (DomainState::Paused, StateReason::IoError) => {
                error.hint(
                    Advice::from(format!("virsh domblkerror {word} says which disk; "))
                        .and_then("", self.resume_hint())
                        .text(" when there is room again"),
                )
            }
            (DomainState::Paused, StateReason::Watchdog | StateReason::NotResumed) => {
                error.hint(self.resume_hint())
            }
            (DomainState::ShutOff, StateReason::Saved) => error.hint(Advice::from(Verb::Start { vm: self.command_name() }).text(" resumes it")),
            (DomainState::ShutOff, StateReason::Crashed) => error.hint("if the host ran out of memory, the kernel's log says so: journalctl -k; libvirt's log of the VM may tell more"),
            _ => error,
        }
    }

    /// The error if the domain is gone. Another VM may have its name by now, so the advice does not use the name.
    fn domain_gone(&self, error: Error) -> Error {
        error.because("another process deleted it").outcome(list_unused())
    }

    fn is_reached(&mut self, goal: Goal) -> Result<bool, Error> {
        match goal {
            Goal::Ip => self.has_address(),
            Goal::Agent => self.agent_answers(),
            Goal::Ssh => self.ssh_answers(),
            Goal::CloudInit => self.cloud_init_done(),
        }
    }

    /// Returns whether the guest has an address. A fixed address from the manifest counts only if something answers
    /// there.
    fn has_address(&mut self) -> Result<bool, Error> {
        if self.fixed_addresses().is_empty() {
            return Ok(!self.known_addresses()?.is_empty());
        }
        if !guest_addresses(self.context, &self.minimal_domain())?.is_empty() {
            return Ok(true);
        }
        for ip in self.fixed_addresses().iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
            if !matches!(read_greeting(SocketAddr::new(ip, 22)), SshGreeting::None)
                && !self.is_other_machine(ip)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether the machine that answered at an address is not this VM: it is this host, or has another MAC
    /// address. Behind a router, no MAC address can be seen.
    fn is_other_machine(&mut self, ip: IpAddr) -> Result<bool, Error> {
        if !self.context.host.is_local() {
            return Ok(false);
        }
        let Some(around) = self.context.host.neighbourhood(&[])? else { return Ok(false) };
        let macs = conflicts::macs_of(&self.name, &self.vm.record.manifest);
        let is_anothers = conflicts::is_other_machine(&around, ip, &macs);
        if is_anothers {
            self.seen = "another machine answers at the VM's address: its MAC address is not the VM's";
        }
        Ok(is_anothers)
    }

    fn fixed_addresses(&self) -> Vec<String> {
        let interfaces = &self.vm.record.manifest.spec.network_interfaces;
        let fixed = interfaces.iter().flat_map(|i| i.ip.iter().chain(&i.addresses));
        fixed.filter_map(|a| a.split('/').next()).map(str::to_owned).collect()
    }

    /// The addresses in the manifest; if there are none, those that the host has learned.
    fn known_addresses(&self) -> Result<Vec<String>, Error> {
        let fixed = self.fixed_addresses();
        if !fixed.is_empty() {
            return Ok(fixed);
        }
        let learned = guest_addresses(self.context, &self.minimal_domain())?;
        Ok(learned.into_iter().map(|a| a.address).collect())
    }

    /// A domain with the fields that the address sources need.
    fn minimal_domain(&self) -> Domain {
        Domain {
            uuid: self.vm.uuid,
            name: self.name.clone(),
            state: DomainState::Running,
            why: StateReason::default(),
            vcpus: 0,
            memory: foundry_core::units::Bytes(0),
            persistent: true,
            autostart: false,
            saved: false,
            record: None,
        }
    }

    fn agent_answers(&mut self) -> Result<bool, Error> {
        let answers = self.ping_agent()?;
        if answers {
            self.seen = "the guest agent answers";
        }
        Ok(answers)
    }

    pub(super) fn ping_agent(&self) -> Result<bool, Error> {
        let answer = self.context.host.agent(self.vm.uuid, r#"{"execute":"guest-ping"}"#, AGENT_WITHIN)?;
        Ok(answer.is_some())
    }

    fn ssh_answers(&mut self) -> Result<bool, Error> {
        for address in self.known_addresses()? {
            let Ok(ip) = address.parse::<IpAddr>() else { continue };
            match read_greeting(SocketAddr::new(ip, 22)) {
                SshGreeting::Ssh if !self.is_other_machine(ip)? => return Ok(true),
                SshGreeting::Ssh => {}
                SshGreeting::Silent => self.seen = "port 22 is open, but no SSH server has answered",
                SshGreeting::Refused => {
                    self.seen = "the guest's network answers, but its SSH server does not"
                }
                SshGreeting::None => {}
            }
        }
        Ok(false)
    }

    fn gave_up(&self, code: Code, how: String, goal: Goal) -> Error {
        let error = Error::new(code, format!("VM '{}': {how} {}", self.name, goal.as_str()));
        let (seen, is_by_user) = self.reason_not_executing();
        let stage = BootStage::read(&self.read_console());
        let error = match (seen, &stage) {
            (Some(reason), _) => error.because(reason),
            // The stage tells more of the same.
            (None, Some(stage)) if self.seen == CLOUD_INIT_AT_WORK => error.because(stage.to_sentence()),
            (None, Some(stage)) => error.because(format!("{}; {}", self.seen, stage.to_sentence())),
            (None, None) => error.because(self.seen),
        };
        let error = match stage.and_then(|stage| stage.remedy()) {
            _ if is_by_user => error.hint(self.resume_hint()),
            Some(remedy) if seen.is_none() => error.hint(remedy),
            _ => error,
        };
        let interfaces = self.vm.record.manifest.spec.network_interfaces.iter();
        let bridges = interfaces.filter_map(|i| i.bridge.as_deref());
        let error = diagnose::with_bridges(self.context, bridges, error);
        self.with_console(error).outcome(self.vm_kept_advice())
    }

    /// Why a guest is not executing, and whether the user has to resume it. That explains a timeout better than the
    /// stage that it reached.
    fn reason_not_executing(&self) -> (Option<&'static str>, bool) {
        let now = self.context.host.state(self.vm.uuid).ok().flatten();
        let still = now.filter(|now| !now.state.is_executing());
        let is_by_user = still.is_some_and(|now| {
            now.state == DomainState::Paused
                && matches!(now.why, StateReason::ByUser | StateReason::FromSnapshot)
        });
        (still.and_then(|now| now.why.to_sentence(now.state)), is_by_user)
    }

    pub(super) fn vm_kept_advice(&self) -> Advice {
        let destroy = Verb::Destroy { vm: self.command_name(), force: false };
        Advice::from(format!("VM '{}' is kept as it is; ", self.name)).run(destroy).text(" removes it")
    }

    /// The VM's name or UUID, as an argument of a foundry command.
    fn command_name(&self) -> String {
        foundry_host::command_name(&self.name, self.vm.uuid)
    }

    /// The VM's name, quoted for a shell, for commands in hints.
    fn shell_name(&self) -> Cow<'_, str> {
        foundry_host::shell_name(&self.name, self.vm.uuid)
    }

    fn resume_hint(&self) -> Advice {
        Advice::from(Verb::Resume { vm: self.command_name() }).text(" continues it")
    }

    /// The end of the console log; empty if it cannot be read from here.
    pub(super) fn read_console(&self) -> String {
        let log = self.vm.record.console_log.as_deref();
        console::read_log(self.context.host.as_ref(), &self.name, log).unwrap_or_default()
    }

    fn with_console(&self, error: Error) -> Error {
        let lines = console::last_lines(
            self.context.host.as_ref(),
            &self.name,
            self.vm.record.console_log.as_deref(),
            CONSOLE_LINES,
        );
        if lines.is_empty() {
            error
        } else {
            error.outcome(Outcome::from_lines("the console's last lines:", &lines))
        }
    }
}
