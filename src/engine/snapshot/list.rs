//! Lists snapshots.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::view::is_own_snapshot;
use crate::Context;
use crate::vm::inspect::VmView;
use crate::vm::lookup::{find_vm_to_show, vm_not_found};
use foundry_core::error::Error;
use foundry_core::manifest::VmSnapshot;
use foundry_host::Domain;
use foundry_host::libvirt_xml::SnapshotDescription;

/// A snapshot of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// The name of the VM.
    pub vm: String,
    /// The name of the snapshot.
    pub name: String,
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The snapshot that was made before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The tool that made it.
    pub made_by: SnapshotMaker,
    /// Device names of the disks that are in it, if each of them continued in an overlay.
    pub disks: Vec<String>,
    /// Whether it has the memory of the guest, too.
    pub memory: bool,
    /// What its maker says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The tool that made a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMaker {
    /// Foundry: the record names its overlays.
    Foundry,
    /// Another tool.
    Other,
}

impl SnapshotMaker {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foundry => "foundry",
            Self::Other => "other",
        }
    }
}

/// Lists the snapshots of one VM, or of all, parents first. Changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such VM; or a failed call to the host.
pub fn list_snapshots(context: &Context, vm: Option<&str>) -> Result<Vec<SnapshotView>, Error> {
    let Some(name) = vm else { return list_all(context) };
    let Some(domain) = find_vm_to_show(context, name)? else { return Err(vm_not_found(context, name)?) };
    let described = context.host.describe_snapshots(domain.uuid)?;
    described.iter().map(|xml| read_view(&domain, xml)).collect()
}

fn list_all(context: &Context) -> Result<Vec<SnapshotView>, Error> {
    let mut all: Vec<(Uuid, String)> = context.host.all_snapshots()?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let domains = context.host.domains(false)?;
    let mut views = Vec::new();
    for domain in &domains {
        let (of_it, others) = all.into_iter().partition(|(uuid, _)| *uuid == domain.uuid);
        all = others;
        let of_it: Vec<(Uuid, String)> = of_it;
        let mut listed =
            of_it.iter().map(|(_, xml)| read_view(domain, xml)).collect::<Result<Vec<_>, Error>>()?;
        listed.sort_by(|a, b| a.created_at.cmp(&b.created_at));
        views.push(listed);
    }
    views.sort_by(|a, b| a.first().map(|s| &s.vm).cmp(&b.first().map(|s| &s.vm)));
    Ok(views.into_iter().flatten().collect())
}

fn read_view(domain: &Domain, xml: &str) -> Result<SnapshotView, Error> {
    let snapshot = SnapshotDescription::read(xml)?;
    let record = domain.own_record();
    let is_own = record.is_some_and(|record| is_own_snapshot(&record.volumes, &snapshot));
    Ok(SnapshotView {
        vm: domain.name.clone(),
        created_at: snapshot.created.and_then(rfc3339),
        made_by: if is_own { SnapshotMaker::Foundry } else { SnapshotMaker::Other },
        disks: snapshot.disks.into_iter().map(|disk| disk.target).collect(),
        memory: snapshot.has_memory,
        name: snapshot.name,
        parent: snapshot.parent,
        description: snapshot.description,
    })
}

/// Adds its snapshots to the status of a VM.
///
/// # Errors
/// A failed call to the host.
pub fn add_snapshots(context: &Context, seen: &mut VmView) -> Result<(), Error> {
    let described = context.host.describe_snapshots(seen.domain.uuid)?;
    set_snapshots(seen, &described)
}

/// Adds their snapshots to the statuses of several VMs. It takes one call if the host has no snapshots.
///
/// # Errors
/// A failed call to the host.
pub fn add_snapshots_to_all(context: &Context, seen: &mut [VmView]) -> Result<(), Error> {
    let mut all: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for (uuid, xml) in context.host.all_snapshots()? {
        all.entry(uuid).or_default().push(xml);
    }
    for vm in seen {
        let described = all.remove(&vm.domain.uuid).unwrap_or_default();
        set_snapshots(vm, &described)?;
    }
    Ok(())
}

fn set_snapshots(seen: &mut VmView, described: &[String]) -> Result<(), Error> {
    let Some(status) = &mut seen.vm.status else { return Ok(()) };
    for xml in described {
        let snapshot = SnapshotDescription::read(xml)?;
        let created_at = snapshot.created.and_then(rfc3339);
        status.snapshots.push(VmSnapshot { name: snapshot.name, created_at });
    }
    // libvirt lists those of all domains in no order.
    status.snapshots.sort_by(|a, b| a.created_at.cmp(&b.created_at));
    Ok(())
}

fn rfc3339(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(crate::context::format_rfc3339)
}
