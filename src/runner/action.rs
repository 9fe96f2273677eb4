//! What a round does.

use foundry_core::record::{RetireReason, RunnerState};

/// One thing to do. Each notes before it acts, as far as that can be told apart afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a VM under a new name.
    Create,
    /// Write another state into the note.
    Move {
        /// Name of the VM.
        name: String,
        /// The state.
        to: RunnerState,
        /// Why it ends, if it does.
        reason: Option<RetireReason>,
    },
    /// Ask the forge for a registration, and give it to the guest.
    Register {
        /// Name of the VM.
        name: String,
    },
    /// Ask the forge to forget a runner, and go on in a state. If the forge refuses, it is busy.
    Unregister {
        /// Name of the VM.
        name: String,
        /// The forge's id of the registration.
        id: String,
        /// The state after it.
        then: RunnerState,
    },
    /// Take the link of a VM down.
    Fence {
        /// Name of the VM.
        name: String,
    },
    /// Bring the link of a VM up, and go on in a state.
    Unfence {
        /// Name of the VM.
        name: String,
        /// The state after it.
        then: RunnerState,
    },
    /// Destroy a VM.
    Destroy {
        /// Name of the VM.
        name: String,
    },
    /// Remove a registration that has no VM.
    Sweep {
        /// The forge's id of the registration.
        id: String,
    },
}
