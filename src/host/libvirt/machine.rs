//! The machine under libvirt, and guests that live as long as the connection.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;
use virt::sys as c;

use super::{Libvirt, libvirt_xml, vm};
use crate::{GuestMachine, Machine, Result};
use foundry_core::units::Bytes;

/// What libvirt reported about the host, cached for a connection.
#[derive(Default)]
pub(super) struct Told {
    /// `<capabilities>`, and how long they took.
    capabilities: OnceLock<(String, Duration)>,
    hypervisor_version: OnceLock<u32>,
    /// `<domainCapabilities>` by what was asked for.
    guests: Mutex<BTreeMap<[String; 3], GuestMachine>>,
}

impl Libvirt {
    /// `<capabilities>`, asked once.
    pub(super) fn capabilities_xml(&self) -> Result<&(String, Duration)> {
        if let Some(known) = self.told.capabilities.get() {
            return Ok(known);
        }
        let begun = Instant::now();
        let asked = vm("ask for the host's capabilities");
        let xml = self.call("virConnectGetCapabilities", &asked, || self.connection.capabilities())?;
        Ok(self.told.capabilities.get_or_init(|| (xml, begun.elapsed())))
    }

    fn hypervisor_version(&self) -> Result<u32> {
        if let Some(known) = self.told.hypervisor_version.get() {
            return Ok(*known);
        }
        let asked = vm("ask for the hypervisor's version");
        let version = self.call("virConnectGetVersion", &asked, || self.connection.hyp_version())?;
        Ok(*self.told.hypervisor_version.get_or_init(|| version))
    }

    pub(super) fn look_at_machine(&self) -> Result<Machine> {
        let asked = vm("ask for what the host has");
        let hypervisor_version = self.hypervisor_version()?;
        let node = self.call("virNodeGetInfo", &asked, || self.connection.node_info())?;
        // libvirt's test driver does not know it.
        let free = self.raw("virNodeGetFreeMemory", &asked, || self.connection.free_memory()).unwrap_or(0);
        let (_, iommu) = libvirt_xml::host_machine(&self.capabilities_xml()?.0)?;
        let memory = Bytes(node.memory.saturating_mul(1024));
        Ok(Machine { hypervisor_version, memory, free_memory: Bytes(free), iommu })
    }

    pub(super) fn look_at_guest_machine(
        &self,
        arch: &str,
        machine: &str,
        virt_type: &str,
    ) -> Result<GuestMachine> {
        let key = [arch, machine, virt_type].map(str::to_owned);
        // No step in between leaves it half changed.
        let known = || self.told.guests.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// libvirt itself stops it when the connection ends, in whatever way.
    pub(super) fn run_for_this_connection(&self, xml: &str) -> Result<Uuid> {
        let asked = vm("start a guest for a moment");
        let started = self.call("virDomainCreateXML", &asked, || {
            self.connection.create_domain_xml(xml, c::VIR_DOMAIN_START_AUTODESTROY)
        })?;
        self.call("virDomainGetUUID", &asked, || started.uuid())
    }
}
