//! Lists the disks of VMs, with what libvirt and the record know about each.

use foundry_core::record::VolumeRef;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Context;
use crate::disk::own_disk::{disk_on, follow_moves, is_on, recorded_of};
use crate::storage::usage;
use crate::vm::lookup::{find_vm_to_show, vm_not_found};
use foundry_core::error::Error;
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::{DiskDescription, DiskDevice, DiskSource, DomainDescription};
use foundry_host::{Domain, View, Volume};

/// One disk of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskView {
    /// The name of the domain that has the disk.
    pub vm: String,
    /// The target device, such as `vdb`.
    pub device: String,
    /// Its role in foundry's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<VolumeRole>,
    /// When the guest has it.
    pub presence: Presence,
    /// The pool of its volume, if that is in a started pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The volume's name in its pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Its file or device on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its format in the domain's XML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Bytes that the guest sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Bytes that it takes on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<Bytes>,
    /// The path of its backing file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// When a guest has a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Now, if it runs, and at its next start.
    Attached,
    /// From its next start on.
    NextStart,
    /// Until the running guest stops.
    UntilStop,
    /// Not at all: an attach or a detach was interrupted.
    Unfinished,
    /// Not at all: a repave keeps it beside the present one, or is making it.
    Spare,
}

impl Presence {
    /// The words in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::NextStart => "at next start",
            Self::UntilStop => "until stop",
            Self::Unfinished => "unfinished",
            Self::Spare => "spare",
        }
    }
}

/// Lists the disks of one VM or of all, sorted by VM. Changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such VM; or a failed call to the host.
pub fn list_disks(context: &Context, vm: Option<&str>) -> Result<Vec<DiskView>, Error> {
    let domains = match vm {
        None => context.host.domains(false)?,
        Some(name) => match find_vm_to_show(context, name)? {
            Some(domain) => vec![domain],
            None => return Err(vm_not_found(context, name)?),
        },
    };
    let mut disks = Vec::new();
    for domain in &domains {
        disks.extend(disks_of(context, domain)?);
    }
    disks.sort_by(|a: &DiskView, b: &DiskView| (&a.vm, &a.device).cmp(&(&b.vm, &b.device)));
    Ok(disks)
}

fn disks_of(context: &Context, domain: &Domain) -> Result<Vec<DiskView>, Error> {
    let Some((live, next)) = describe_both(context, domain)? else { return Ok(Vec::new()) };
    let views: Vec<&DomainDescription> = live.iter().chain(&next).collect();
    let mut record = domain.own_record();
    if let Some(record) = &mut record {
        follow_moves(context, record, &views)?;
    }
    let volumes: &[RecordedVolume] = record.as_ref().map_or(&[], |record| &record.volumes);
    let mut disks = Vec::new();
    let only_next = next.iter().flat_map(|n| &n.disks).filter(|d| !has_disk(live.as_ref(), &d.target));
    for disk in live.iter().flat_map(|l| &l.disks).chain(only_next) {
        let presence = match (has_disk(live.as_ref(), &disk.target), has_disk(next.as_ref(), &disk.target)) {
            (true, false) if domain.persistent => Presence::UntilStop,
            (false, true) if live.is_some() => Presence::NextStart,
            _ => Presence::Attached,
        };
        disks.push(view_disk(context, domain, recorded_of(volumes, &views, disk), disk, presence)?);
    }
    for volume in volumes {
        let has_its_place = |d: &DiskView| volume.disk_target().as_ref() == Some(&d.device);
        let is_used = views.iter().any(|described| disk_on(described, volume).is_some());
        if !is_used && !disks.iter().any(has_its_place) {
            disks.push(view_apart(context, domain, volume, Presence::Unfinished)?);
        }
    }
    for spare in record.iter().flat_map(|record| &record.repave).flat_map(|note| &note.spare) {
        disks.push(view_apart(context, domain, spare, Presence::Spare)?);
    }
    Ok(disks)
}

/// The running and the persistent definition, as far as the domain has them.
type LiveAndConfig = (Option<DomainDescription>, Option<DomainDescription>);

fn describe_both(context: &Context, domain: &Domain) -> Result<Option<LiveAndConfig>, Error> {
    let view = |view| context.host.describe(domain.uuid, view);
    let live = if domain.state.is_active() { view(View::Current)? } else { None };
    let next = if domain.persistent { view(View::Config)? } else { None };
    Ok((live.is_some() || next.is_some()).then_some((live, next)))
}

fn has_disk(described: Option<&DomainDescription>, target: &str) -> bool {
    described.is_some_and(|d| d.disk(target).is_some())
}

fn view_disk(
    context: &Context,
    domain: &Domain,
    recorded: Option<&RecordedVolume>,
    disk: &DiskDescription,
    presence: Presence,
) -> Result<DiskView, Error> {
    let named = disk.source.path().map(str::to_owned);
    let volume = match (&named, &disk.source) {
        (Some(path), _) => context.host.volume_at(path)?,
        (None, DiskSource::Volume { pool, volume }) => context.host.volume(&VolumeRef::new(pool, volume))?,
        (None, _) => None,
    };
    // A snapshot's overlay is another file: the record does not name it, and libvirt lists it only after a rescan.
    let same = recorded.filter(|r| is_on(disk, r));
    let volume = match (volume, &named, recorded) {
        (None, Some(path), Some(recorded)) if same.is_none() => {
            usage::refresh_pool(context, &recorded.pool)?;
            context.host.volume_at(path)?
        }
        (volume, ..) => volume,
    };
    let known = DiskView::of(domain, &disk.target, same, volume, presence);
    Ok(DiskView {
        role: recorded.map(|r| r.role),
        path: named.or(known.path),
        format: disk.format.clone().or(known.format),
        backing: disk.backing_chain.first().cloned().or(known.backing),
        read_only: disk.readonly || disk.device == DiskDevice::Cdrom,
        ..known
    })
}

/// A volume that no definition has.
fn view_apart(
    context: &Context,
    domain: &Domain,
    recorded: &RecordedVolume,
    presence: Presence,
) -> Result<DiskView, Error> {
    let volume = context.host.volume(&recorded.reference())?;
    let target = recorded.disk_target().unwrap_or_else(|| "-".into());
    Ok(DiskView::of(domain, &target, Some(recorded), volume, presence))
}

impl DiskView {
    /// Fills in the fields from the volume, or from the record if libvirt does not list the volume.
    fn of(
        domain: &Domain,
        target: &str,
        recorded: Option<&RecordedVolume>,
        volume: Option<Volume>,
        presence: Presence,
    ) -> Self {
        Self {
            vm: domain.name.clone(),
            device: target.to_owned(),
            role: recorded.map(|r| r.role),
            presence,
            size: volume.as_ref().map(|v| v.capacity).or(recorded.map(|r| r.capacity)),
            allocated: volume.as_ref().map(|v| v.allocation),
            format: recorded.map(|r| r.format.clone()).or(volume.as_ref().map(|v| v.format.clone())),
            backing: volume.as_ref().and_then(|v| v.backing.clone()),
            path: volume.as_ref().map(|v| v.path.clone()).or(recorded.map(|r| r.path.clone())),
            pool: volume.as_ref().map(|v| v.pool.clone()).or(recorded.map(|r| r.pool.clone())),
            volume: volume.map(|v| v.name).or(recorded.map(|r| r.name.clone())),
            read_only: false,
        }
    }
}
