//! Writes changed fields into a definition and into the running VM.

use foundry_core::domain_xml::{VirtType, boot_orders, cpu_mode};
use foundry_core::names::DiskSerial;
use foundry_core::plan::{InterfacePlan, Link, VmPlan};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::libvirt_xml::edit::{self, InterfaceLink};
use foundry_host::libvirt_xml::edit_screen::set_screen;

use super::compare_devices::find_interface;
use super::field::FieldDiff;

/// The new values of a definition's fields.
pub(super) struct DefinitionChange<'a> {
    /// The fields to change.
    pub(super) fields: &'a [&'a FieldDiff],
    /// The VM as it is to be, with what the host knows about its interfaces.
    pub(super) wanted: &'a VmPlan,
    /// The interfaces of the manifest that was applied last: the domain's are found by their MAC addresses.
    pub(super) recorded: &'a [InterfacePlan],
    /// The definition that is changed.
    pub(super) described: &'a DomainDescription,
    /// Whether the guest's architecture is the host's.
    pub(super) native: bool,
}

impl DefinitionChange<'_> {
    fn touches(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.path == path)
    }

    /// The first new entry of the patch.
    pub(super) fn first_patch(&self) -> Option<usize> {
        (0..self.wanted.xml_patch.len()).find(|index| self.touches(&format!("spec.xmlPatch[{index}]")))
    }

    /// The definition with all fields but the patch changed; the same text if no field is in it.
    ///
    /// # Errors
    /// If the text is not a definition, or lacks what is to be changed.
    pub(super) fn write_into(&self, xml: &str) -> foundry_host::Result<String> {
        let Self { wanted, described, .. } = self;
        let mut xml = xml.to_owned();
        if self.touches("spec.vcpus") || self.touches("spec.resources.maxVcpus") {
            xml = edit::set_vcpus(&xml, wanted.vcpus, wanted.max_vcpus)?;
        }
        if self.touches("spec.memoryGiB") || self.touches("spec.resources.maxMemoryGiB") {
            xml = edit::set_memory(&xml, wanted.memory, wanted.max_memory)?;
        }
        if self.touches("spec.cpuMode") {
            let virt_type = if described.domain_type == "kvm" { VirtType::Kvm } else { VirtType::Qemu };
            xml = edit::set_cpu_mode(&xml, cpu_mode(wanted.cpu_mode, virt_type, self.native))?;
        }
        if self.touches("spec.graphics") {
            xml = set_screen(&xml, wanted.graphics)?;
        }
        for disk in &wanted.data_disks {
            let target = disk.target.as_str();
            if self.touches(&format!("spec.dataDisks[{target}].serial")) {
                let serial = disk.serial.as_ref().map_or(target, DiskSerial::as_str);
                xml = edit::set_disk_serial(&xml, target, serial)?;
            }
        }
        let orders = boot_orders(wanted);
        for (index, interface) in wanted.interfaces.iter().enumerate() {
            xml = self.write_interface(xml, index, interface, orders.get(index).copied().flatten())?;
        }
        Ok(xml)
    }

    fn write_interface(
        &self,
        xml: String,
        index: usize,
        interface: &InterfacePlan,
        boot: Option<u32>,
    ) -> foundry_host::Result<String> {
        let touches = |field| self.touches(&format!("spec.networkInterfaces[{index}].{field}"));
        let found = find_interface(self.described, self.recorded, index);
        let Some(mac) = found.and_then(|found| found.mac.clone()) else { return Ok(xml) };
        let mut xml = xml;
        if self.moves(index) || touches("virtualport") {
            xml = edit::set_interface_link(&xml, &mac, link_of(interface))?;
            // The MTU follows the bridge's, unless the manifest names one.
            xml = edit::set_interface_mtu(&xml, &mac, interface.mtu.or(interface.link_mtu))?;
        } else if touches("mtu") {
            xml = edit::set_interface_mtu(&xml, &mac, interface.mtu.or(interface.link_mtu))?;
        }
        // The tap is named after the address; a new VM with the old address has a tap of the old name.
        if touches("ip") {
            xml = edit::set_interface_tap(&xml, &mac, interface.tap.as_deref())?;
        }
        if touches("vlan") {
            xml = edit::set_interface_vlan(&xml, &mac, interface.vlan)?;
        }
        // The orders of all follow from those that boot.
        if self.fields.iter().any(|field| field.path.ends_with(".pxeBoot")) {
            xml = edit::set_interface_boot(&xml, &mac, boot)?;
        }
        Ok(xml)
    }

    /// Whether an interface gets another bridge or network.
    pub(super) fn moves(&self, index: usize) -> bool {
        ["bridge", "network"].iter().any(|f| self.touches(&format!("spec.networkInterfaces[{index}].{f}")))
    }

    /// The `<interface>` element of the running domain with the new bridge or network.
    pub(super) fn moved_interface(&self, live: &str, index: usize) -> foundry_host::Result<Option<String>> {
        let described = DomainDescription::read(live)?;
        let found = find_interface(&described, self.recorded, index);
        let (Some(mac), Some(interface)) =
            (found.and_then(|i| i.mac.clone()), self.wanted.interfaces.get(index))
        else {
            return Ok(None);
        };
        let moved = edit::set_interface_link(live, &mac, link_of(interface))?;
        Ok(edit::interface_element(&moved, &mac)?.map(str::to_owned))
    }
}

fn link_of(interface: &InterfacePlan) -> InterfaceLink<'_> {
    match &interface.link {
        Link::Bridge(name) => {
            InterfaceLink::Bridge { name: name.as_str(), is_open_vswitch: interface.on_open_vswitch }
        }
        Link::Network(name) => InterfaceLink::Network(name.as_str()),
    }
}
