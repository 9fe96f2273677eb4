//! The behaviour of guests, and the answers of their agents.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Live, MemoryHost};
use crate::{AddressSource, AgentAnswer, DomainState, GuestAddress, Guests, Result};

/// What a guest does when asked to power off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnShutdown {
    /// It powers off at once.
    #[default]
    AtOnce,
    /// It is still running for so many queries.
    AfterLooks(usize),
    /// It ignores the request.
    Never,
}

/// What a guest does when asked to release a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnplug {
    /// It releases the disk at once.
    #[default]
    AtOnce,
    /// The disk is still attached for so many queries.
    AfterLooks(usize),
    /// It ignores the request.
    Never,
}

/// What the agent of a guest does when libvirt freezes its file systems for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFreeze {
    /// They are frozen, and thawed afterwards.
    Thaws,
    /// They are frozen, and libvirt's command to thaw them is lost.
    StaysFrozen,
    /// The agent refuses.
    Refuses,
}

/// The behaviour of one guest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guest {
    pub(super) on_shutdown: OnShutdown,
    pub(super) on_unplug: OnUnplug,
    pub(super) stops_by_error: bool,
    pub(super) addresses: Vec<(AddressSource, usize, GuestAddress)>,
    pub(super) agent_after: usize,
    pub(super) agent_answers: Vec<(String, String)>,
    pub(super) console_answers: Vec<(String, String)>,
    pub(super) agent_program: Option<AgentProgram>,
    pub(super) on_freeze: Option<OnFreeze>,
}

/// An agent that a test has written.
#[derive(Clone)]
pub(super) struct AgentProgram(Arc<dyn Fn(&str) -> AgentAnswer + Send + Sync>);

impl std::fmt::Debug for AgentProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentProgram")
    }
}

/// The same program, not one that does the same.
impl PartialEq for AgentProgram {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Guest {
    /// A guest that runs, powers off when asked, and has neither address nor agent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what it does when asked to power off.
    #[must_use]
    pub fn on_shutdown(mut self, what: OnShutdown) -> Self {
        self.on_shutdown = what;
        self
    }

    /// Sets what it does when asked to release a disk.
    #[must_use]
    pub fn on_unplug(mut self, what: OnUnplug) -> Self {
        self.on_unplug = what;
        self
    }

    /// Lets a hypervisor error pause it right after the start, as on a host that offers KVM and cannot run it.
    #[must_use]
    pub fn stopped_by_error(mut self) -> Self {
        self.stops_by_error = true;
        self
    }

    /// Gives it an address that a source reports from its `after`-th query on, 0 the first.
    #[must_use]
    pub fn address(mut self, source: AddressSource, after: usize, address: GuestAddress) -> Self {
        self.addresses.push((source, after, address));
        self
    }

    /// Gives it an agent that answers commands that contain a text (`guest-ping`).
    #[must_use]
    pub fn agent_answer(mut self, command: &str, answer: &str) -> Self {
        self.agent_answers.push((command.into(), answer.into()));
        self
    }

    /// Has it write something to its console after it has read a text there. It answers nothing else, and echoes
    /// nothing.
    #[must_use]
    pub fn console_answer(mut self, input: &str, answer: &str) -> Self {
        self.console_answers.push((input.into(), answer.into()));
        self
    }

    /// Gives it an agent that does whatever `answer` does.
    #[must_use]
    pub fn agent(mut self, answer: impl Fn(&str) -> AgentAnswer + Send + Sync + 'static) -> Self {
        self.agent_program = Some(AgentProgram(Arc::new(answer)));
        self
    }

    /// Gives it an agent that can freeze its file systems.
    #[must_use]
    pub fn freezes(mut self, how: OnFreeze) -> Self {
        self.on_freeze = Some(how);
        self
    }

    /// Keeps the agent silent for the first `looks` commands.
    #[must_use]
    pub fn agent_after(mut self, looks: usize) -> Self {
        self.agent_after = looks;
        self
    }

    pub(super) fn addresses_of(&self, source: AddressSource, looks: usize) -> Vec<GuestAddress> {
        let known = self.addresses.iter().filter(|(from, after, _)| *from == source && *after <= looks);
        known.map(|(_, _, address)| address.clone()).collect()
    }

    pub(super) fn answer(&self, command: &str, looks: usize) -> AgentAnswer {
        let awake = looks >= self.agent_after;
        if let Some(program) = self.agent_program.as_ref().filter(|_| awake) {
            return (program.0)(command);
        }
        let known = self.agent_answers.iter().find(|(part, _)| awake && command.contains(part.as_str()));
        known.map_or_else(silent, |(_, answer)| AgentAnswer::Returned(answer.clone()))
    }
}

/// The answer of an agent that can freeze, to commands about that.
fn answer_freezing(live: &mut Live, command: &str) -> Option<AgentAnswer> {
    let answer = |text: &str| Some(AgentAnswer::Returned(format!("{{\"return\": {text}}}")));
    match command {
        _ if command.contains("guest-ping") => answer("{}"),
        _ if command.contains("guest-fsfreeze-status") => {
            answer(if live.frozen { "\"frozen\"" } else { "\"thawed\"" })
        }
        _ if command.contains("guest-fsfreeze-thaw") => {
            live.frozen = false;
            answer("1")
        }
        _ => None,
    }
}

fn silent() -> AgentAnswer {
    AgentAnswer::Silent("QEMU guest agent is not connected".into())
}

impl Guests for MemoryHost {
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>> {
        let call = self.on("addresses", "ask for the addresses of", domain);
        self.call(&call, |state| {
            let Some(machine) = state.machines.get_mut(&domain) else { return Ok(Vec::new()) };
            let (name, live) = (machine.name.clone(), machine.live.as_mut());
            let Some(live) = live.filter(|live| live.state == DomainState::Running) else {
                return Ok(Vec::new());
            };
            let looks = live.address_looks;
            live.address_looks += 1;
            Ok(state.guest(&name).addresses_of(source, looks))
        })
    }

    fn ask_agent(&self, domain: Uuid, command: &str, _timeout: Duration) -> Result<AgentAnswer> {
        let call = self.on("agent", "ask the guest agent of", domain);
        self.call(&call, |state| {
            let Some(machine) = state.machines.get_mut(&domain) else { return Ok(silent()) };
            let (name, live) = (machine.name.clone(), machine.live.as_mut());
            let Some(live) = live.filter(|live| live.state == DomainState::Running) else {
                return Ok(silent());
            };
            let looks = live.agent_looks;
            live.agent_looks += 1;
            let freezes = state.guests.get(&name).is_some_and(|guest| guest.on_freeze.is_some());
            if freezes && let Some(answer) = answer_freezing(live, command) {
                return Ok(answer);
            }
            Ok(state.guest(&name).answer(command, looks))
        })
    }
}
