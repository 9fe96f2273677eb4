//! Maps libvirt's error text to a code, a cause and a hint.
//!
//! libvirt's texts name functions, file descriptors and QEMU command lines, and often say only that something was not
//! permitted. Other evidence (QEMU's log, denials of the kernel, directory permissions) is collected elsewhere and
//! passed in as [`Evidence`]; this module evaluates it without making calls. If no cause matches, it returns nothing,
//! and libvirt's own text is shown.

pub mod advice;
mod connection;
mod denial;
mod machine;
mod names;
mod network;
mod permission;
mod storage;
mod words;

#[cfg(test)]
mod tests;

pub(super) use connection::{cannot_connect, check_uri_hint, connection_lost, restart_daemon_hint};
pub use denial::{Denial, Guard};
pub use machine::emulator_hint;
pub use network::{HELPER_AS_ROOT, HELPER_REFUSES, allow_in_helper};
pub use permission::{Barrier, RefusedFile, is_behind, is_denied, let_pass, refused_file};
pub use storage::{Holder, locked_file};
pub(super) use words::first_line;

use foundry_core::error::{Advice, Code, Error};
use foundry_core::text::escape_unseen;

/// The longest cause, in characters; it may contain text of others.
const LONGEST: usize = 600;

/// What is known about a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// libvirt's error message.
    pub libvirt: String,
    /// QEMU's lines in the domain's log since the operation began, without its command line.
    pub log: String,
    /// The VM that the operation was about.
    pub asked: RequestedVm,
    /// Denials of the kernel since the operation began.
    pub denials: Vec<Denial>,
    /// The first directory or file on the path that QEMU's user has no right to.
    pub barrier: Option<Barrier>,
    /// The processes that have a locked file open.
    pub holders: Vec<Holder>,
    /// The MTUs of the host's bridges that the guest is attached to.
    pub mtus: Vec<(String, u32)>,
}

/// The properties of the VM that a cause can depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedVm {
    /// The domain's name; empty if unknown.
    pub vm: String,
    /// The domain's UUID, as text.
    pub uuid: String,
    /// Whether Secure Boot is required.
    pub secure_boot: bool,
    /// The bridges that the guest is attached to.
    pub bridges: Vec<String>,
}

/// A recognized cause of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The error code that the failure gets.
    pub code: Code,
    /// A sentence that names the object.
    pub cause: String,
    /// What to do about it.
    pub advice: Option<Advice>,
}

impl Diagnosis {
    /// Paths and names may come from others, so invisible characters are escaped.
    fn new(code: Code, cause: impl AsRef<str>) -> Self {
        let cause = escape_unseen(&cause.as_ref().replace('\n', " ")).chars().take(LONGEST).collect();
        Self { code, cause, advice: None }
    }

    /// Adds a hint, unless a command in it has a name with invisible characters, which could look like another name.
    fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.advice = Some(advice.into()).filter(Advice::is_plain);
        self
    }
}

impl Diagnosis {
    /// The error with this cause. Its message and its outcomes are kept.
    #[must_use]
    pub fn apply_to(self, error: Error) -> Error {
        let error = error.with_code(self.code).because(self.cause);
        match self.advice {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }
}

/// A function that recognizes one cause.
type Cause = fn(&str, &Evidence) -> Option<Diagnosis>;

/// More specific causes come first.
const CAUSES: &[Cause] = &[
    names::name_taken,
    names::volume_taken,
    names::pool_taken,
    machine::helper_down,
    machine::no_kvm,
    machine::machine_unknown,
    machine::arch_unsupported,
    machine::qemu_missing,
    machine::cpu_unknown,
    machine::nvram_in_the_way,
    machine::firmware_missing,
    machine::out_of_memory,
    machine::snapshot_in_the_way,
    network::tap_taken,
    network::tap_refused,
    network::mtu_refused,
    network::bridge_missing,
    network::network_missing,
    network::network_inactive,
    network::mac_taken,
    network::port_taken,
    storage::out_of_space,
    storage::too_large,
    storage::object_gone,
    storage::driver_missing,
    storage::not_mounted,
    storage::open_elsewhere,
    storage::directory_unreadable,
    storage::not_made,
    permission::guard_denied,
    permission::path_barred,
    permission::file_unreadable,
    storage::file_missing,
    storage::not_an_image,
];

/// The cause of a refusal, if it is known. libvirt's message is checked before QEMU's log, because the log may contain
/// errors that stopped nothing.
pub fn find_cause(evidence: &Evidence) -> Option<Diagnosis> {
    let of = |text: &str| CAUSES.iter().find_map(|cause| cause(text, evidence));
    of(&evidence.libvirt).or_else(|| of(&evidence.log))
}

/// The cause, from libvirt's message alone.
pub fn of_words(libvirt: &str) -> Option<Diagnosis> {
    find_cause(&Evidence { libvirt: libvirt.to_owned(), ..Evidence::default() })
}
