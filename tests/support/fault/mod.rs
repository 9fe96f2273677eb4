//! foundry under every fault at every call: what goes wrong, on which host, in which commands, and what came of it.

pub(crate) mod commands;
pub(crate) mod host;
pub(crate) mod judge;
pub(crate) mod look;
pub(crate) mod proxy;
pub(crate) mod rpc;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod worker;

/// Says to this program, started anew, that it is inside a private host, and which one: its directory.
pub(crate) const INSIDE: &str = "FOUNDRY_FAULTS_INSIDE";

/// Whether this process is in a private host.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}
