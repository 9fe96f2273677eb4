//! The facts about a host, before they are judged.

use crate::Settings;
use crate::storage::status::StorageStatus;
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Error, Kind};
use foundry_core::plan::Arch;
use foundry_host::local::LocalFacts;
use foundry_host::{Bridge, Capabilities, Domain, GuestMachine, Machine, Network, Pool};

/// What was asked of the host, or why it did not say.
pub(super) type HostAnswer<T> = Result<T, String>;

/// A refusal is a fact like any other; a connection that broke leaves nothing to go on with.
pub(super) fn answer_of<T>(answer: Result<T, impl Into<Error>>) -> Result<HostAnswer<T>, Error> {
    match answer.map_err(Into::into) {
        Ok(value) => Ok(Ok(value)),
        Err(error) if matches!(error.kind(), Kind::Connection | Kind::Interrupted) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// What came of the probe guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// Nobody asked for it.
    NotRun,
    /// There is no way to.
    Impossible(String),
    /// libvirt could not start it.
    Refused(String),
    /// The hypervisor stopped it.
    Stopped(VirtType),
    /// It ran to the end of the probe.
    Ran(VirtType),
}

/// All that the checks look at.
pub(super) struct HostFacts {
    pub(super) uri: String,
    /// Whether it is a user's own libvirt, whose guests run as that user.
    pub(super) is_session: bool,
    pub(super) settings: Settings,
    pub(super) capabilities: Capabilities,
    pub(super) machine: HostAnswer<Machine>,
    /// What a guest of the host's own architecture can have; of no other is anything promised.
    pub(super) guest_machine: HostAnswer<GuestMachine>,
    pub(super) pools: HostAnswer<Vec<Pool>>,
    pub(super) storage: HostAnswer<StorageStatus>,
    pub(super) domains: HostAnswer<Vec<Domain>>,
    /// Names; `None` where they cannot be known.
    pub(super) bridges: HostAnswer<Option<Vec<Bridge>>>,
    pub(super) networks: HostAnswer<Vec<Network>>,
    pub(super) probe: Probe,
    /// Only of this machine.
    pub(super) local: Option<LocalFacts>,
}

impl HostFacts {
    /// The two pools in which VMs and images are by default.
    pub(super) fn default_pools(&self) -> [&str; 2] {
        [self.settings.vm_pool.as_str(), self.settings.image_pool.as_str()]
    }

    /// Pools that are started and whose volumes are files in a directory of theirs, with it.
    pub(super) fn directory_pools(&self) -> Vec<(&Pool, &str)> {
        let files = |pool: &&Pool| pool.active && matches!(pool.kind.as_str(), "dir" | "fs" | "netfs");
        let pools = self.pools.as_deref().unwrap_or_default().iter().filter(files);
        pools.filter_map(|pool| Some((pool, pool.target.as_deref()?))).collect()
    }
}

/// The host's own architecture, where foundry knows it.
pub(super) fn arch_of(capabilities: &Capabilities) -> Option<Arch> {
    Arch::ALL.into_iter().find(|arch| arch.as_str() == capabilities.arch)
}

/// How guests run by default, as `create` chooses.
pub(super) fn virt_type_of(settings: &Settings, capabilities: &Capabilities) -> Option<VirtType> {
    let offered = capabilities.guests.get(&capabilities.arch);
    let offers = |wanted: &VirtType| offered.is_some_and(|types| types.iter().any(|t| t == wanted.as_str()));
    let wanted = match settings.virt_type {
        Some(wanted) => vec![wanted],
        None => vec![VirtType::Kvm, VirtType::Qemu],
    };
    wanted.into_iter().find(offers)
}
