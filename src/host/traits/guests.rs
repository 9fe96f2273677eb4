//! Guests: the systems that run in domains.

use std::time::Duration;

use uuid::Uuid;

use crate::{AddressSource, GuestAddress, Result};

/// Guests: their addresses and their agents.
pub trait Guests: Send + Sync {
    /// The guest's addresses according to a source. Empty if the source cannot answer or the domain does not exist.
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>>;
    /// Sends one command (JSON) to the guest agent and returns its answer. `None` if no agent answers in that time, or
    /// the domain does not exist.
    fn agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<Option<String>>;
}
