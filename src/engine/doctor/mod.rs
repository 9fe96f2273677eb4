//! Checks whether a host can run VMs or, with a manifest, whether it can run that VM.
//!
//! First `gather` asks libvirt and, where the host is this machine, its kernel; what they say is `Facts`.
//! Everything after that is pure: each file judges one group of facts. Nothing is changed, but that a trial
//! guest runs for a moment where the caller asks for it.

mod access;
mod confinement;
mod facts;
mod firmware;
mod gather;
mod kvm;
mod links;
mod local;
mod manifest;
mod memory;
mod permission;
mod pool_hands;
mod pools;
mod room;
mod trial;
mod versions;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Context;
use facts::Facts;
use foundry_core::error::{Advice, Code, Error};
pub use manifest::{Preflight, examine_vm};

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was looked at; the same word in each version of foundry.
    pub name: Cow<'static, str>,
    /// Of which pool, bridge, VM, …; where there can be several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// How it is.
    pub state: State,
    /// What was found, for people.
    pub found: String,
    /// Of a problem: the code of the error that it is or will be, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What to do about it.
    #[serde(skip)]
    pub advice: Vec<Advice>,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// VMs run, and something about them is worse than it could be, or will be.
    Warning,
    /// VMs cannot be made, or some that exist cannot run.
    Problem,
    /// It cannot be checked from here, or was not tested.
    Unknown,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the order in which one thing needs another.
    pub checks: Vec<Check>,
    /// What could not be looked at because the host is another machine.
    pub left_out: Vec<&'static str>,
}

/// What only this machine's own kernel and files can tell.
const LOCAL_ONLY: [&str; 5] = [
    "who may use libvirt's sockets and /dev/kvm",
    "whether QEMU's user reaches the directories of the pools",
    "inodes left on their file systems",
    "bridges",
    "virtlogd",
];

impl Check {
    fn new(name: impl Into<Cow<'static, str>>, state: State, found: impl Into<String>) -> Self {
        Self { name: name.into(), object: None, state, found: found.into(), code: None, advice: Vec::new() }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Ok, found)
    }

    fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Warning, found)
    }

    fn problem(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Problem, found)
    }

    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, found)
    }

    fn of(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    fn known_as(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    fn todo(mut self, what: impl Into<Advice>) -> Self {
        self.advice.push(what.into());
        self
    }

    /// Its name with what it is about.
    pub fn title(&self) -> String {
        self.object.as_ref().map_or_else(|| self.name.to_string(), |object| format!("{} {object}", self.name))
    }
}

impl Report {
    /// Whether VMs can be made, and those that exist can run.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] with the names of the checks that found a problem.
    pub fn outcome(&self) -> Result<(), Error> {
        let problems: Vec<String> =
            self.checks.iter().filter(|c| c.state == State::Problem).map(Check::title).collect();
        match problems.len() {
            0 => Ok(()),
            1 => Err(Error::new(
                Code::HostProblems,
                format!("there is a problem on this host: {}", problems[0]),
            )),
            n => Err(Error::new(
                Code::HostProblems,
                format!("there are {n} problems on this host: {}", problems.join(", ")),
            )),
        }
    }
}

/// Looks at a host. With `probe`, a guest without disks is started for two seconds.
///
/// # Errors
/// Where the connection breaks, or somebody interrupts.
pub fn examine(context: &Context, probe: bool) -> Result<Report, Error> {
    Ok(judge(&gather::facts(context, probe)?))
}

/// Looks at this machine as far as that goes without libvirt, which answered with `error`.
pub fn examine_without_libvirt(uri: &str, is_local: bool, error: &Error) -> Report {
    let mut checks = vec![access::unreachable(uri, error)];
    if is_local {
        let local = local::Local::read(std::path::Path::new("/"), &[]);
        checks.extend(access::socket(uri, &local));
        checks.extend(kvm::without_libvirt(&local));
    }
    Report { checks, left_out: if is_local { Vec::new() } else { LOCAL_ONLY.to_vec() } }
}

fn judge(facts: &Facts) -> Report {
    let groups: [fn(&Facts) -> Vec<Check>; 12] = [
        access::check,
        versions::check,
        kvm::check,
        kvm::devices,
        firmware::check,
        confinement::check,
        pools::check,
        permission::check,
        pool_hands::check,
        room::check,
        links::check,
        memory::check,
    ];
    let checks = groups.iter().flat_map(|group| group(facts)).collect();
    Report { checks, left_out: if facts.local.is_some() { Vec::new() } else { LOCAL_ONLY.to_vec() } }
}
