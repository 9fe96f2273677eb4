//! Snapshots through libvirt.

use std::time::Duration;

use uuid::Uuid;
use virt::domain::Domain as Handle;
use virt::domain_snapshot::DomainSnapshot;
use virt::sys as c;

use super::domains::name_of;
use super::{Libvirt, sys, vm};
use crate::{Result, Snapshots};

impl Libvirt {
    /// Deletes a snapshot; flags say what of it.
    fn delete_with(&self, domain: Uuid, name: &str, flags: u32) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("delete snapshot '{name}' of domain '{}'", name_of(&handle)));
        let look_up = || Handle::lookup_snapshot_by_name(&handle, name, 0);
        let Some(snapshot) = self.find("virDomainSnapshotLookupByName", &asked, look_up)? else {
            return Ok(());
        };
        self.find("virDomainSnapshotDelete", &asked, || snapshot.delete(flags)).map(drop)
    }

    /// Limits libvirt's commands to the agent, so that a freeze which hangs in the guest ends. A daemon that cannot limit
    /// them waits, and then the call's own limit counts.
    fn limit_agent(&self, domain: Uuid, limit: Option<Duration>) -> Result<()> {
        let limited = self.on_domain(
            domain,
            "virDomainAgentSetResponseTimeout",
            "limit the time of the guest agent of",
            |d| sys::set_agent_timeout(d, limit),
        );
        match limited {
            Err(lost) if lost.outcome_unknown() => Err(lost),
            _ => Ok(()),
        }
    }
}

impl Snapshots for Libvirt {
    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        self.on_domain(domain, "virDomainListAllSnapshots", "list the snapshots of", |d| {
            d.list_all_snapshots(0)?.iter().map(DomainSnapshot::name).collect()
        })
    }

    fn describe_snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("describe the snapshots of domain '{}'", name_of(&handle)));
        let listed = self.call("virDomainListAllSnapshots", &asked, || {
            handle.list_all_snapshots(c::VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL)
        })?;
        let mut all = Vec::new();
        for snapshot in &listed {
            // One that is deleted meanwhile is skipped.
            all.extend(self.find("virDomainSnapshotGetXMLDesc", &asked, || snapshot.xml_desc(0))?);
        }
        Ok(all)
    }

    /// Makes only one call if there are none. A domain or a snapshot that disappears meanwhile is skipped.
    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>> {
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

    fn full_snapshot(&self, domain: Uuid, name: &str) -> Result<Option<String>> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("describe snapshot '{name}' of domain '{}'", name_of(&handle)));
        let look_up = || Handle::lookup_snapshot_by_name(&handle, name, 0);
        let Some(snapshot) = self.find("virDomainSnapshotLookupByName", &asked, look_up)? else {
            return Ok(None);
        };
        let flags = c::VIR_DOMAIN_SNAPSHOT_XML_SECURE;
        self.find("virDomainSnapshotGetXMLDesc", &asked, || snapshot.xml_desc(flags))
    }

    /// libvirtd itself freezes and thaws: it thaws even if this process is killed meanwhile or its connection breaks.
    fn create_snapshot(&self, domain: Uuid, xml: &str, freeze_within: Option<Duration>) -> Result<()> {
        if freeze_within.is_some() {
            self.limit_agent(domain, freeze_within)?;
        }
        let freeze = if freeze_within.is_some() { c::VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE } else { 0 };
        let flags = c::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | c::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC | freeze;
        let made = self.on_domain(domain, "virDomainSnapshotCreateXML", "make a snapshot of", |d| {
            d.create_snapshot_xml(xml, flags).map(drop)
        });
        if freeze_within.is_some() && !made.as_ref().is_err_and(crate::HostError::outcome_unknown) {
            self.limit_agent(domain, None)?;
        }
        made
    }

    fn redefine_snapshot(&self, domain: Uuid, xml: &str) -> Result<()> {
        let flags = c::VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | c::VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT;
        self.on_domain(domain, "virDomainSnapshotCreateXML", "describe a snapshot of", |d| {
            d.create_snapshot_xml(xml, flags).map(drop)
        })
    }

    fn delete_snapshot(&self, domain: Uuid, name: &str) -> Result<()> {
        self.delete_with(domain, name, 0)
    }

    fn forget_snapshot(&self, domain: Uuid, name: &str) -> Result<()> {
        self.delete_with(domain, name, c::VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
    }
}
