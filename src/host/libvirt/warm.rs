//! Saved memory and hot-plugged interfaces through libvirt.

use uuid::Uuid;
use virt::error::ErrorNumber;
use virt::sys as c;

use super::domains::name_of;
use super::{Libvirt, sys, vm};
use crate::libvirt_xml::edit_warm::with_room;
use crate::{Result, WarmStarts};

impl WarmStarts for Libvirt {
    fn save_memory(&self, domain: Uuid, path: &str, room: usize) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("save the memory of domain '{}'", name_of(&handle)));
        // What a migration would send: without what libvirt chooses anew on each host.
        let flags = c::VIR_DOMAIN_XML_MIGRATABLE | c::VIR_DOMAIN_XML_SECURE;
        let xml = self.call("virDomainGetXMLDesc", &asked, || handle.xml_desc(flags))?;
        let roomy = with_room(&xml, room)?;
        self.call("virDomainSaveFlags", &asked, || sys::save_to(&handle, path, &roomy))
    }

    fn restore_memory(&self, path: &str) -> Result<()> {
        let asked = vm(format!("restore the domain in {path}"));
        self.call("virDomainRestore", &asked, || self.connection.restore_domain(path))
    }

    fn attach_interface_now(&self, domain: Uuid, xml: &str) -> Result<()> {
        self.on_domain(domain, "virDomainAttachDeviceFlags", "attach an interface to", |d| {
            d.attach_device_flags(xml, c::VIR_DOMAIN_AFFECT_LIVE)
        })
    }

    fn detach_interface_now(&self, domain: Uuid, xml: &str) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("detach an interface from domain '{}'", name_of(&handle)));
        let flags = c::VIR_DOMAIN_AFFECT_LIVE;
        match self.raw("virDomainDetachDeviceFlags", &asked, || handle.detach_device_flags(xml, flags)) {
            Err(e) if e.code().is(ErrorNumber::DeviceMissing) => Ok(()),
            Err(e) => Err(self.failed(&asked, &e)),
            Ok(()) => Ok(()),
        }
    }
}
