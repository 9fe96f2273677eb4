//! Maps libvirt's error text to a code, a cause and a hint.
//!
//! libvirt's texts name functions, file descriptors and command lines of QEMU, and often say only that something was
//! not permitted. What else was seen (QEMU's log, what the kernel denied meanwhile, who may pass which directory) is
//! gathered elsewhere and comes in as [`Evidence`]; here it is judged, without asking anybody. Where nothing fits,
//! nothing is said, and libvirt's own words stand.

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

/// Longest sentence that is made of others' words.
const LONGEST: usize = 600;

/// What is known of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// libvirt's words.
    pub libvirt: String,
    /// What QEMU said in the domain's log since the operation began, a line each, without its command line.
    pub log: String,
    /// What was asked for.
    pub asked: RequestedVm,
    /// What the kernel denied since the operation began.
    pub denials: Vec<Denial>,
    /// The first directory or file on the way to a refused one that QEMU's user has no right to.
    pub barrier: Option<Barrier>,
    /// Which processes have a locked file open.
    pub holders: Vec<Holder>,
    /// The MTUs of the host's bridges that the guest is attached to.
    pub mtus: Vec<(String, u32)>,
}

/// What was asked for, as far as a cause depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedVm {
    /// The domain's name.
    pub vm: String,
    /// The domain's UUID, as text.
    pub uuid: String,
    /// Whether only signed boot loaders are to start.
    pub secure_boot: bool,
    /// The bridges that the guest is attached to.
    pub bridges: Vec<String>,
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// By its code.
    pub code: Code,
    /// In a sentence that names the object.
    pub cause: String,
    /// What to do about it.
    pub advice: Option<Advice>,
}

impl Diagnosis {
    /// Paths and names in it may be anybody's: what a terminal would obey of them is written out.
    fn new(code: Code, cause: impl AsRef<str>) -> Self {
        let cause = escape_unseen(&cause.as_ref().replace('\n', " ")).chars().take(LONGEST).collect();
        Self { code, cause, advice: None }
    }

    /// A command in it is for a name that is seen as what it is; for another there is none.
    fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.advice = Some(advice.into()).filter(Advice::is_plain);
        self
    }
}

impl Diagnosis {
    /// An error with this cause. What it says failed, and what became of it, stays.
    #[must_use]
    pub fn apply_to(self, error: Error) -> Error {
        let error = error.with_code(self.code).because(self.cause);
        match self.advice {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }
}

/// A cause that a text may have, beside all else that is known.
type Cause = fn(&str, &Evidence) -> Option<Diagnosis>;

/// The more precise ones come first.
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

/// The cause of a refusal, where it is known. libvirt's own words count before those in QEMU's log, which may be about
/// something that went wrong without stopping anything.
pub fn find_cause(evidence: &Evidence) -> Option<Diagnosis> {
    let of = |text: &str| CAUSES.iter().find_map(|cause| cause(text, evidence));
    of(&evidence.libvirt).or_else(|| of(&evidence.log))
}

/// The cause as libvirt's words alone tell it.
pub fn of_words(libvirt: &str) -> Option<Diagnosis> {
    find_cause(&Evidence { libvirt: libvirt.to_owned(), ..Evidence::default() })
}
