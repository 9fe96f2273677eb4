//! Disks of domains through libvirt.

use uuid::Uuid;
use virt::error::ErrorNumber;
use virt::sys as c;

use super::domains::name_of;
use super::{Asked, Libvirt, libvirt_xml, storage, sys, vm};
use crate::{Affect, Disks, Domains, Result, View};
use foundry_core::units::Bytes;

impl Libvirt {
    fn unplug_from(&self, domain: Uuid, target: &str, view: View, flag: u32) -> Result<()> {
        let handle = self.handle(domain)?;
        let Some(described) = self.domain_xml(domain, view)? else { return Ok(()) };
        let Some(disk) = libvirt_xml::disk_element(&described, target)? else { return Ok(()) };
        let asked = vm(format!("detach disk '{target}' from domain '{}'", name_of(&handle)));
        match self.raw("virDomainDetachDeviceFlags", &asked, || handle.detach_device_flags(disk, flag)) {
            // The guest released the disk meanwhile.
            Err(e) if e.code().is(ErrorNumber::DeviceMissing) => Ok(()),
            Err(e) => Err(self.failed(&asked, &e)),
            Ok(()) => Ok(()),
        }
    }
}

impl Disks for Libvirt {
    fn attach_disk(&self, domain: Uuid, xml: &str, affect: Affect) -> Result<()> {
        self.on_domain(domain, "virDomainAttachDeviceFlags", "attach a disk to", |d| {
            d.attach_device_flags(xml, flags(affect))
        })
    }

    /// libvirt accepts the disk's own XML element for every kind of disk, and finds the disk by its target.
    fn detach_disk(&self, domain: Uuid, target: &str, affect: Affect) -> Result<()> {
        // One call for each definition: libvirt refuses a combined call if one of the two does not have the disk.
        let views: &[(View, u32)] = match affect {
            Affect::Live => &[(View::Current, c::VIR_DOMAIN_AFFECT_LIVE)],
            Affect::Config => &[(View::Config, c::VIR_DOMAIN_AFFECT_CONFIG)],
            Affect::Both => {
                &[(View::Current, c::VIR_DOMAIN_AFFECT_LIVE), (View::Config, c::VIR_DOMAIN_AFFECT_CONFIG)]
            }
        };
        views.iter().try_for_each(|(view, flag)| self.unplug_from(domain, target, *view, *flag))
    }

    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = storage(format!("resize disk '{target}' of domain '{}'", name_of(&handle)));
        // Without this flag, libvirt takes the size in KiB.
        self.call("virDomainBlockResize", &asked, || {
            handle.block_resize(target, capacity.0, c::VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        })
    }

    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool> {
        let handle = self.handle(domain)?;
        let asked: Asked =
            vm(format!("look for block jobs on disk '{target}' of domain '{}'", name_of(&handle)));
        self.call("virDomainGetBlockJobInfo", &asked, || sys::has_block_job(&handle, target))
    }
}

fn flags(affect: Affect) -> u32 {
    match affect {
        Affect::Live => c::VIR_DOMAIN_AFFECT_LIVE,
        Affect::Config => c::VIR_DOMAIN_AFFECT_CONFIG,
        Affect::Both => c::VIR_DOMAIN_AFFECT_LIVE | c::VIR_DOMAIN_AFFECT_CONFIG,
    }
}
