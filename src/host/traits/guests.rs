//! What runs in a domain.

use std::time::Duration;

use uuid::Uuid;

use crate::{AddressSource, GuestAddress, Result};

/// What is known of the systems that run in domains.
pub trait Guests: Send + Sync {
    /// What that source knows of the guest's addresses; a source that cannot answer is an empty list, and so is a
    /// domain that is gone.
    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>>;
    /// Sends one command (JSON) to the guest agent. `None` where no agent answers in that time, as
    /// in a domain that is gone.
    fn agent(&self, domain: Uuid, command: &str, timeout: Duration) -> Result<Option<String>>;
}
