//! The machine under libvirt, and guests that live as long as the connection.

use uuid::Uuid;
use virt::sys as c;

use super::{Libvirt, libvirt_xml, vm};
use crate::host::{GuestMachine, Machine, Result};
use crate::units::Bytes;

impl Libvirt {
    pub(super) fn look_at_machine(&self) -> Result<Machine> {
        let asked = vm("ask for what the host has");
        let hypervisor_version =
            self.call("virConnectGetVersion", &vm("ask for the hypervisor's version"), || {
                self.connection.hyp_version()
            })?;
        let node = self.call("virNodeGetInfo", &asked, || self.connection.node_info())?;
        // libvirt's test driver does not know it.
        let free = self.raw("virNodeGetFreeMemory", &asked, || self.connection.free_memory()).unwrap_or(0);
        let xml = self.call("virConnectGetCapabilities", &asked, || self.connection.capabilities())?;
        let (security, iommu) = libvirt_xml::host_machine(&xml)?;
        let memory = Bytes(node.memory.saturating_mul(1024));
        Ok(Machine { hypervisor_version, memory, free_memory: Bytes(free), security, iommu })
    }

    pub(super) fn look_at_guest_machine(
        &self,
        arch: &str,
        machine: &str,
        virt_type: &str,
    ) -> Result<GuestMachine> {
        let asked = vm(format!("ask for what {arch} guests of machine type {machine} can have"));
        let xml = self.call("virConnectGetDomainCapabilities", &asked, || {
            self.connection.domain_capabilities(None, Some(arch), Some(machine), Some(virt_type), 0)
        })?;
        libvirt_xml::guest_machine(&xml)
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
