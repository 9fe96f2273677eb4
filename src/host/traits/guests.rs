//! Guests: the systems that run in domains.

use std::time::Duration;

use uuid::Uuid;

use crate::{AddressSource, GuestAddress, Result};

/// The outcome of a command to a guest agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAnswer {
    /// The agent's answer, JSON with the member `return`. The guest controls it.
    Returned(String),
    /// The agent did not do it, for this reason in its own words.
    Refused(String),
    /// No agent answered, for this reason in libvirt's words.
    Silent(String),
}

/// Guests: their addresses and their agents.
pub trait Guests: Send + Sync {
    /// The guest's addresses according to a source. Empty if the source cannot answer or the domain does not exist.
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>>;
    /// Sends one command (JSON) to the guest agent. An agent that is silent or refuses is an answer, not an error.
    fn ask_agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<AgentAnswer>;

    /// Sends one command to the guest agent and returns its answer. `None` if no agent answers in that time, it refuses,
    /// or the domain does not exist.
    fn agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<Option<String>> {
        Ok(match self.ask_agent(domain, command, timeout)? {
            AgentAnswer::Returned(answer) => Some(answer),
            AgentAnswer::Refused(_) | AgentAnswer::Silent(_) => None,
        })
    }
}
