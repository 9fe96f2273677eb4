//! The host: its name, whether it is this machine, its capabilities.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Libvirt, libvirt_xml, vm};
use crate::local::daemon;
use crate::local::lock::LockDirectories;
use crate::uri::{driver_of, is_local_uri};
use crate::{Capabilities, GuestMachine, HostInfo, HostLock, LockError, Machine, Result};
use foundry_core::units::Bytes;

/// The host's capabilities, cached for one connection.
#[derive(Default)]
pub(super) struct CapabilityCache {
    /// `<capabilities>`, and how long libvirt took to answer.
    capabilities: OnceLock<(String, Duration)>,
    hypervisor_version: OnceLock<u32>,
    /// `<domainCapabilities>`, by architecture, machine type and virtualization type.
    guests: Mutex<BTreeMap<[String; 3], GuestMachine>>,
}

impl Libvirt {
    /// The host's own name, which does not depend on the address used. If libvirt does not report it, the URI.
    fn host_name(&self) -> &str {
        self.name.get_or_init(|| {
            let asked = vm("ask for the host's name");
            let name = self.call("virConnectGetHostname", &asked, || self.connection.hostname());
            name.unwrap_or_else(|_| self.uri.clone())
        })
    }

    /// Whether the daemon runs on this machine and in its mount namespace. If the kernel does not identify the peer,
    /// only the URI decides.
    fn leads_here(&self) -> bool {
        let asked = vm("ask for the host's name");
        let has_same_name = || {
            let name = self.call("virConnectGetHostname", &asked, || self.connection.hostname());
            name.is_ok_and(|name| daemon::is_own_host_name(&name))
        };
        let peers = self.sockets.peers();
        peers.is_empty() || peers.into_iter().any(|peer| daemon::is_local_daemon(peer, has_same_name))
    }

    /// `<capabilities>`, queried once for each connection.
    pub(super) fn capabilities_xml(&self) -> Result<&(String, Duration)> {
        if let Some(known) = self.capability_cache.capabilities.get() {
            return Ok(known);
        }
        let begun = Instant::now();
        let asked = vm("ask for the host's capabilities");
        let xml = self.call("virConnectGetCapabilities", &asked, || self.connection.capabilities())?;
        Ok(self.capability_cache.capabilities.get_or_init(|| (xml, begun.elapsed())))
    }

    fn hypervisor_version(&self) -> Result<u32> {
        if let Some(known) = self.capability_cache.hypervisor_version.get() {
            return Ok(*known);
        }
        let asked = vm("ask for the hypervisor's version");
        let version = self.call("virConnectGetVersion", &asked, || self.connection.hyp_version())?;
        Ok(*self.capability_cache.hypervisor_version.get_or_init(|| version))
    }
}

impl HostInfo for Libvirt {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_local(&self) -> bool {
        *self.is_here.get_or_init(|| is_local_uri(&self.uri) && self.leads_here())
    }

    fn lock(&self, thing: &str) -> std::result::Result<HostLock, LockError> {
        let driver = driver_of(&self.uri);
        // Several URIs lead to this machine's libvirt, so the URI must not be part of the lock's name.
        let host = if self.is_local() { "this machine" } else { self.host_name() };
        // Only its own user can reach a session's libvirt, so nobody else has to see the lock.
        let is_users = self.is_local() && driver == "/session";
        let places = if is_users { LockDirectories::of_user() } else { LockDirectories::of_all() };
        HostLock::take(&places, &format!("{thing} of {host}{driver}"))
    }

    fn capabilities(&self) -> Result<Capabilities> {
        let hostname = self
            .call("virConnectGetHostname", &vm("ask for the host's name"), || self.connection.hostname())?;
        let libvirt_version =
            self.call("virConnectGetLibVersion", &vm("ask for libvirt's version"), || {
                self.connection.lib_version()
            })?;
        let (xml, took) = self.capabilities_xml()?;
        let (arch, guests) = libvirt_xml::read_capabilities(xml)?;
        let cpu = libvirt_xml::read_host_cpu(xml)?;
        let (security, _) = libvirt_xml::host_machine(xml)?;
        Ok(Capabilities { hostname, libvirt_version, arch, cpu, guests, security, took: *took })
    }

    fn machine(&self) -> Result<Machine> {
        let asked = vm("ask for what the host has");
        let hypervisor_version = self.hypervisor_version()?;
        let node = self.call("virNodeGetInfo", &asked, || self.connection.node_info())?;
        // libvirt's test driver does not support this call.
        let free = self.raw("virNodeGetFreeMemory", &asked, || self.connection.free_memory()).unwrap_or(0);
        let (_, iommu) = libvirt_xml::host_machine(&self.capabilities_xml()?.0)?;
        let memory = Bytes(node.memory.saturating_mul(1024));
        Ok(Machine { hypervisor_version, memory, free_memory: Bytes(free), iommu })
    }

    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine> {
        let key = [arch, machine, virt_type].map(str::to_owned);
        // Each change is one call on the map, so a panic cannot leave it half changed.
        let known = || self.capability_cache.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&key) {
            return Ok(known.clone());
        }
        let asked = vm(format!("ask for what {arch} guests of machine type {machine} can have"));
        let xml = self.call("virConnectGetDomainCapabilities", &asked, || {
            self.connection.domain_capabilities(None, Some(arch), Some(machine), Some(virt_type), 0)
        })?;
        let found = libvirt_xml::guest_machine(&xml)?;
        known().insert(key, found.clone());
        Ok(found)
    }

    fn memory(&self) -> Result<Bytes> {
        let asked = vm("ask for what the host has");
        let node = self.call("virNodeGetInfo", &asked, || self.connection.node_info())?;
        Ok(Bytes(node.memory.saturating_mul(1024)))
    }
}
