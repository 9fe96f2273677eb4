//! Checks whether a host can run VMs or, with a manifest, whether it can run that VM.
//!
//! First `gather` asks libvirt and, if the host is this machine, its kernel; the answers are the `HostFacts`.
//! The rest is pure: each file judges one group of facts. Nothing on the host is changed. On request, a test guest
//! without disks runs for two seconds.

mod access;
mod confinement;
mod facts;
mod firmware;
mod gather;
mod interrupted;
mod kvm;
mod links;
mod manifest;
mod memory;
mod permission;
mod pool_writers;
mod pools;
mod probe;
mod room;
mod versions;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Context;
use facts::HostFacts;
use foundry_core::error::{Advice, Code, Error};
use foundry_host::local::LocalFacts;
pub use manifest::{Preflight, examine_vm};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCheck {
    /// What was checked; a stable identifier.
    pub name: Cow<'static, str>,
    /// The pool, bridge, VM, … that was checked, if there can be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The result.
    pub state: CheckState,
    /// What was found, in words.
    pub found: String,
    /// For a problem: the code of the error that it causes, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What to do about it.
    #[serde(skip)]
    pub advice: Vec<Advice>,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// Nothing is wrong.
    Ok,
    /// VMs run, but something is worse than it could be, or will fail later.
    Warning,
    /// VMs cannot be created, or some existing VMs cannot run.
    Problem,
    /// It cannot be checked from here, or was not tested.
    Unknown,
}

impl CheckState {
    /// The state as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// The results of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// Ordered so that a check comes after the checks that it depends on.
    pub checks: Vec<HostCheck>,
    /// What was not checked because the host is another machine.
    pub left_out: Vec<&'static str>,
}

/// What can be checked only on the host itself.
const LOCAL_ONLY: [&str; 5] = [
    "who may use libvirt's sockets and /dev/kvm",
    "whether QEMU's user can reach the directories of the pools",
    "free inodes on their file systems",
    "bridges",
    "virtlogd",
];

impl HostCheck {
    fn new(name: impl Into<Cow<'static, str>>, state: CheckState, found: impl Into<String>) -> Self {
        Self { name: name.into(), object: None, state, found: found.into(), code: None, advice: Vec::new() }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, CheckState::Ok, found)
    }

    fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, CheckState::Warning, found)
    }

    fn problem(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, CheckState::Problem, found)
    }

    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, CheckState::Unknown, found)
    }

    fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    fn add_advice(mut self, what: impl Into<Advice>) -> Self {
        self.advice.push(what.into());
        self
    }

    /// The name with the object, if there is one.
    pub fn title(&self) -> String {
        self.object.as_ref().map_or_else(|| self.name.to_string(), |object| format!("{} {object}", self.name))
    }
}

impl HostReport {
    /// Succeeds if VMs can be created and the existing ones can run.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] with the names of the checks that found a problem.
    pub fn outcome(&self) -> Result<(), Error> {
        let problems: Vec<String> =
            self.checks.iter().filter(|c| c.state == CheckState::Problem).map(HostCheck::title).collect();
        match problems.len() {
            0 => Ok(()),
            1 => Err(Error::new(Code::HostProblems, format!("1 problem on this host: {}", problems[0]))),
            n => Err(Error::new(
                Code::HostProblems,
                format!("{n} problems on this host: {}", problems.join(", ")),
            )),
        }
    }
}

/// Checks a host. With `probe`, also runs a diskless test guest for two seconds.
///
/// # Errors
/// If the connection breaks or the user interrupts.
pub fn examine_host(context: &Context, probe: bool) -> Result<HostReport, Error> {
    Ok(run_checks(&gather::gather_facts(context, probe)?))
}

/// Runs the checks that are possible without libvirt, which failed with `error`.
pub fn examine_without_libvirt(uri: &str, is_local: bool, error: &Error) -> HostReport {
    let mut checks = vec![access::check_unreachable(uri, error)];
    if is_local {
        let local = LocalFacts::read(std::path::Path::new("/"), &[]);
        checks.extend(access::check_socket(uri, &local));
        checks.extend(kvm::check_without_libvirt(&local));
    }
    HostReport { checks, left_out: if is_local { Vec::new() } else { LOCAL_ONLY.to_vec() } }
}

fn run_checks(facts: &HostFacts) -> HostReport {
    let groups: [fn(&HostFacts) -> Vec<HostCheck>; 13] = [
        access::check_access,
        versions::check_versions,
        kvm::check_kvm,
        kvm::check_devices,
        firmware::check_firmware,
        confinement::check_confinement,
        pools::check_pools,
        permission::check_permissions,
        pool_writers::check_writers,
        room::check_room,
        links::check_links,
        memory::check_memory,
        interrupted::check_interrupted,
    ];
    let checks = groups.iter().flat_map(|group| group(facts)).collect();
    HostReport { checks, left_out: if facts.local.is_some() { Vec::new() } else { LOCAL_ONLY.to_vec() } }
}
