//! The facts about a host, as collected; nothing is judged here.

use crate::Settings;
use crate::storage::status::StorageStatus;
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Error;
use foundry_core::plan::Arch;
use foundry_host::local::LocalFacts;
use foundry_host::{Bridge, Capabilities, Domain, GuestMachine, Machine, Network, Pool};

/// A value from the host, or the reason why there is none.
pub(super) type HostAnswer<T> = Result<T, String>;

/// Turns a result into an answer: a refusal is a fact like any other.
///
/// # Errors
/// A broken connection or an interruption, after which no further question makes sense.
pub(super) fn answer_of<T>(answer: Result<T, impl Into<Error>>) -> Result<HostAnswer<T>, Error> {
    match answer.map_err(Into::into) {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind().ends_run() => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The result of running a test guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// It was not requested.
    NotRun,
    /// This host cannot run one, and why.
    Impossible(String),
    /// libvirt could not start it, and why.
    Refused(String),
    /// The hypervisor stopped it.
    Stopped(VirtType),
    /// It ran for the whole time.
    Ran(VirtType),
}

/// Everything that the checks look at.
pub(super) struct HostFacts {
    pub(super) uri: String,
    /// Whether this is a session libvirt, whose guests run as the user.
    pub(super) is_session: bool,
    pub(super) settings: Settings,
    pub(super) capabilities: Capabilities,
    pub(super) machine: HostAnswer<Machine>,
    /// What a guest of the host's own architecture can have. Other architectures are not checked.
    pub(super) guest_machine: HostAnswer<GuestMachine>,
    pub(super) pools: HostAnswer<Vec<Pool>>,
    pub(super) storage: HostAnswer<StorageStatus>,
    pub(super) domains: HostAnswer<Vec<Domain>>,
    /// The VMs that an interrupted command left half done.
    pub(super) interrupted: Vec<String>,
    /// `None` on a remote host, where bridges cannot be listed.
    pub(super) bridges: HostAnswer<Option<Vec<Bridge>>>,
    pub(super) networks: HostAnswer<Vec<Network>>,
    pub(super) probe: Probe,
    /// `None` if the host is another machine.
    pub(super) local: Option<LocalFacts>,
}

impl HostFacts {
    /// The default pools for VMs and for images.
    pub(super) fn default_pools(&self) -> [&str; 2] {
        [self.settings.vm_pool.as_str(), self.settings.image_pool.as_str()]
    }

    /// Started pools whose volumes are files in a directory, each with its directory.
    pub(super) fn directory_pools(&self) -> Vec<(&Pool, &str)> {
        let files = |pool: &&Pool| pool.active && matches!(pool.kind.as_str(), "dir" | "fs" | "netfs");
        let pools = self.pools.as_deref().unwrap_or_default().iter().filter(files);
        pools.filter_map(|pool| Some((pool, pool.target.as_deref()?))).collect()
    }
}

/// The host's own architecture, if foundry supports it.
pub(super) fn arch_of(capabilities: &Capabilities) -> Option<Arch> {
    Arch::ALL.into_iter().find(|arch| arch.as_str() == capabilities.arch)
}

/// How guests run by default; the same choice as in `create`.
pub(super) fn virt_type_of(settings: &Settings, capabilities: &Capabilities) -> Option<VirtType> {
    let offered = capabilities.guests.get(&capabilities.arch);
    let offers = |wanted: &VirtType| offered.is_some_and(|types| types.iter().any(|t| t == wanted.as_str()));
    let wanted = match settings.virt_type {
        Some(wanted) => vec![wanted],
        None => vec![VirtType::Kvm, VirtType::Qemu],
    };
    wanted.into_iter().find(offers)
}
