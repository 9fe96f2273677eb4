//! Advice that several operations share.

use foundry_core::error::{Advice, Verb};
use foundry_host::Domain;

/// The command that destroys a domain's VM.
pub(crate) fn destroy_command(domain: &Domain, force: bool) -> Verb {
    Verb::Destroy { vm: domain.command_name(), force }
}

/// The advice to look for volumes that no definition names any more.
pub(crate) fn list_unused() -> Advice {
    Advice::from(Verb::Gc { only: None }).text(" lists unused volumes")
}

/// What to do about a creation that was interrupted.
pub(crate) fn interrupted_creation(domain: &Domain) -> Advice {
    Advice::from(Verb::Create)
        .text(" again replaces it, ")
        .run(destroy_command(domain, false))
        .text(" removes it")
}
