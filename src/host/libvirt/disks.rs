//! Disks of domains through libvirt.

use uuid::Uuid;
use virt::error::ErrorNumber;
use virt::sys as c;

use super::domains::name_of;
use super::{Asked, Libvirt, libvirt_xml, storage, sys, vm};
use crate::{Reach, Result, View};
use foundry_core::units::Bytes;

impl Libvirt {
    pub(super) fn plug(&self, domain: Uuid, xml: &str, reach: Reach) -> Result<()> {
        self.on_domain(domain, "virDomainAttachDeviceFlags", "attach a disk to", |d| {
            d.attach_device_flags(xml, flags(reach))
        })
    }

    /// libvirt takes the disk's own element, whatever kind of disk it is, and finds it by its target.
    pub(super) fn unplug(&self, domain: Uuid, target: &str, reach: Reach) -> Result<()> {
        // One call for each: where one of them does not have the disk, "both" is refused as a whole.
        let views: &[(View, u32)] = match reach {
            Reach::Live => &[(View::Current, c::VIR_DOMAIN_AFFECT_LIVE)],
            Reach::Persistent => &[(View::Persistent, c::VIR_DOMAIN_AFFECT_CONFIG)],
            Reach::Both => {
                &[(View::Current, c::VIR_DOMAIN_AFFECT_LIVE), (View::Persistent, c::VIR_DOMAIN_AFFECT_CONFIG)]
            }
        };
        views.iter().try_for_each(|(view, flag)| self.unplug_from(domain, target, *view, *flag))
    }

    fn unplug_from(&self, domain: Uuid, target: &str, view: View, flag: u32) -> Result<()> {
        let handle = self.handle(domain)?;
        let Some(described) = self.description(domain, view)? else { return Ok(()) };
        let Some(disk) = libvirt_xml::disk_element(&described, target)? else { return Ok(()) };
        let asked = vm(format!("detach disk '{target}' from domain '{}'", name_of(&handle)));
        match self.raw("virDomainDetachDeviceFlags", &asked, || handle.detach_device_flags(disk, flag)) {
            // The guest let go of it since the look.
            Err(e) if e.code().is(ErrorNumber::DeviceMissing) => Ok(()),
            Err(e) => Err(self.failed(&asked, &e)),
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn grow(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = storage(format!("resize disk '{target}' of domain '{}'", name_of(&handle)));
        // Without the flag libvirt counts KiB.
        self.call("virDomainBlockResize", &asked, || {
            handle.block_resize(target, capacity.0, c::VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        })
    }

    pub(super) fn block_job(&self, domain: Uuid, target: &str) -> Result<bool> {
        let handle = self.handle(domain)?;
        let asked: Asked =
            vm(format!("look for block jobs on disk '{target}' of domain '{}'", name_of(&handle)));
        self.call("virDomainGetBlockJobInfo", &asked, || sys::has_block_job(&handle, target))
    }

    pub(super) fn snapshot_names(&self, domain: Uuid) -> Result<Vec<String>> {
        self.on_domain(domain, "virDomainListAllSnapshots", "list the snapshots of", |d| {
            d.list_all_snapshots(0)?.iter().map(virt::domain_snapshot::DomainSnapshot::name).collect()
        })
    }

    /// One call where there are none. A domain or a snapshot that vanishes meanwhile has none.
    pub(super) fn snapshots_of_all(&self) -> Result<Vec<(Uuid, String)>> {
        let asked = vm("describe the snapshots");
        let flag = c::VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT;
        let domains =
            self.call("virConnectListAllDomains", &asked, || self.connection.list_all_domains(flag))?;
        let mut all = Vec::new();
        for domain in &domains {
            let uuid = self.call("virDomainGetUUID", &asked, || domain.uuid())?;
            let listed = self.find("virDomainListAllSnapshots", &asked, || domain.list_all_snapshots(0))?;
            for snapshot in listed.unwrap_or_default() {
                let xml = self.find("virDomainSnapshotGetXMLDesc", &asked, || snapshot.xml_desc(0))?;
                all.extend(xml.map(|xml| (uuid, xml)));
            }
        }
        Ok(all)
    }
}

fn flags(reach: Reach) -> u32 {
    match reach {
        Reach::Live => c::VIR_DOMAIN_AFFECT_LIVE,
        Reach::Persistent => c::VIR_DOMAIN_AFFECT_CONFIG,
        Reach::Both => c::VIR_DOMAIN_AFFECT_LIVE | c::VIR_DOMAIN_AFFECT_CONFIG,
    }
}
