//! Takes over a domain that foundry did not make: its record is written into the domain's metadata, and nothing else is
//! changed.
//!
//! A manifest is made from the persistent definition. What no field says becomes entries of `spec.xmlPatch`, as far as
//! these can say it. Then the comparison of `diff` decides: a domain is taken over if it differs from that manifest in
//! nothing. Its disks were there before, so they are never deleted with it.

use super::adopt_manifest::{DraftManifest, draft_manifest, virt_type};
use super::handle::{VmHandle, refused_unchanged, saved_memory_error, whole_record};
use super::lookup::{find_vm, removed_meanwhile, vm_not_found};
use crate::change::{FieldDiff, compare_recorded, recorded_defaults};
use crate::{Context, disk, lock};
use foundry_core::domain_xml::{DiskLocation, Placement, protected_parts, render_domain};
use foundry_core::error::{Code, Error, Issue};
use foundry_core::manifest::{VirtualMachine, XmlPatch};
use foundry_core::plan::{Arch, Problems, VmPlan};
use foundry_core::record::{self, Owner, Record, RecordState, VolumeRef};
use foundry_core::xml_patch::{UnsaidPart, derive_patch};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::{Domain, View};

/// What an adoption found.
#[derive(Debug, Clone, PartialEq)]
pub struct AdoptPlan {
    /// The domain's name.
    pub vm: String,
    /// Whether it is foundry's already.
    pub is_own: bool,
    /// The manifest that says what it can of the domain.
    pub manifest: VirtualMachine,
    /// The parts that it has no field for.
    pub unsaid: Vec<UnsaidPart>,
    /// What prevents that the domain is taken over.
    pub issues: Vec<Issue>,
    /// The volumes of its disks, which a destroy keeps.
    pub volumes: Vec<VolumeRef>,
    domain: Domain,
    record: Option<Record>,
}

/// Makes the manifest of a domain, and looks whether foundry can take it over; changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such domain, or it has a record that this foundry cannot act on.
pub fn plan_adopt(context: &Context, name: &str) -> Result<AdoptPlan, Error> {
    let Some(domain) = find_vm(context, name)? else { return Err(vm_not_found(context, name)?) };
    if !matches!(domain.owner(), Owner::Foreign) {
        return own_already(domain);
    }
    if !domain.persistent {
        return Err(refused_unchanged(Code::Vm, format!("domain '{}' is transient", domain.name))
            .because("without a definition, it is gone once it stops")
            .hint("virsh define makes it persistent"));
    }
    if domain.saved {
        let why = "its guest continues where it stopped, with the definition that it had then";
        return Err(saved_memory_error(&domain, why, "it can be taken over"));
    }
    let live = match domain.state.is_active() {
        true => context.host.describe(domain.uuid, View::Current)?,
        false => None,
    };
    let xml = context.host.domain_xml(domain.uuid, View::Config)?;
    let xml = xml.ok_or_else(|| removed_meanwhile(&domain.name))?;
    let next = DomainDescription::read(&xml)?;
    let draft = draft_manifest(context, &domain, &next)?;
    finish_plan(context, domain, draft, live, next, &xml)
}

/// A domain with a record: foundry's own, or one that cannot be read.
fn own_already(domain: Domain) -> Result<AdoptPlan, Error> {
    let record = whole_record(&domain)?;
    Ok(AdoptPlan {
        vm: domain.name.clone(),
        is_own: true,
        manifest: record.manifest.clone(),
        unsaid: Vec::new(),
        issues: Vec::new(),
        volumes: record.volumes.iter().map(|volume| volume.reference()).collect(),
        domain,
        record: None,
    })
}

fn finish_plan(
    context: &Context,
    domain: Domain,
    draft: DraftManifest,
    live: Option<DomainDescription>,
    next: DomainDescription,
    xml: &str,
) -> Result<AdoptPlan, Error> {
    let DraftManifest { mut manifest, volumes, mut issues } = draft;
    issues.extend(snapshot_issue(context, &domain)?);
    let defaults = recorded_defaults(&context.settings);
    let mut unsaid = Vec::new();
    match VmPlan::from_manifest(&manifest, &defaults) {
        Ok(plan) => {
            unsaid = find_unsaid(&plan, &next, xml)?;
            manifest.spec.xml_patch = unsaid.iter().filter_map(to_manifest).collect();
        }
        Err(problems) => issues.extend(issues_of(problems)),
    }
    unsaid.extend(volumes.iter().filter(|v| v.backing.is_none()).map(|volume| UnsaidPart {
        path: format!("/domain/devices/disk[target/@dev='{}']", volume.target.as_deref().unwrap_or_default()),
        what: format!("the content of {}", volume.reference()),
        entry: None,
    }));
    let record = new_record(context, &domain, &manifest, volumes, next.console_log.clone());
    if issues.is_empty() {
        let handle = VmHandle { domain: domain.clone(), record: record.clone(), live, next };
        match VmPlan::from_manifest(&manifest, &defaults) {
            Ok(_) => issues.extend(compare_recorded(context, handle)?.iter().map(difference_issue)),
            Err(problems) => issues.extend(issues_of(problems)),
        }
    }
    Ok(AdoptPlan {
        vm: domain.name.clone(),
        is_own: false,
        manifest,
        unsaid,
        issues,
        volumes: record.volumes.iter().map(|volume| volume.reference()).collect(),
        domain,
        record: Some(record),
    })
}

fn issues_of(problems: Problems) -> Vec<Issue> {
    problems.list.iter().map(|problem| Issue::new(problem.code, problem.to_string())).collect()
}

/// External snapshots put overlays on the disks, which no record names.
fn snapshot_issue(context: &Context, domain: &Domain) -> Result<Option<Issue>, Error> {
    let snapshots = context.host.snapshots(domain.uuid)?;
    let Some(first) = snapshots.first() else { return Ok(None) };
    let issue = Issue::new(Code::SnapshotInTheWay, format!("it has snapshots: {}", snapshots.join(", ")));
    Ok(Some(issue.hint(disk::advise_snapshot_delete(domain, first, false))))
}

/// Where the domain is not as its manifest says.
fn difference_issue(field: &FieldDiff) -> Issue {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let (has, says) = (text(&field.persistent), text(&field.wanted));
    if field.pending {
        let message =
            format!("{}: the running domain has {}, its definition {says}", field.path, text(&field.live));
        return Issue::new(Code::ChangeRefused, message).hint("turn it off and on again");
    }
    let message = format!("{}: the domain has {has}, and a manifest can say {says}", field.path);
    Issue::new(Code::ChangeRefused, message)
}

/// Compares what foundry would define with what is defined.
fn find_unsaid(plan: &VmPlan, next: &DomainDescription, xml: &str) -> Result<Vec<UnsaidPart>, Error> {
    let location = |target: &str| match next.disk(target).map(|disk| &disk.source) {
        Some(DiskSource::Block(path)) => DiskLocation::Block(path.clone()),
        Some(source) => DiskLocation::File(source.path().unwrap_or_default().to_owned()),
        None => DiskLocation::File(String::new()),
    };
    let data = plan.data_disks.iter().map(|disk| location(disk.target.as_str()));
    let placement = Placement {
        uuid: next.uuid,
        virt_type: virt_type(next),
        arch: arch_of(next),
        native: plan.arch.is_none(),
        disks: std::iter::once(location("vda")).chain(data).collect(),
        console_log: next.console_log.as_deref(),
        record: None,
    };
    let rendered = render_domain(plan, &placement)?;
    derive_patch(&rendered, xml, &protected_parts(plan))
        .map_err(|cause| Error::new(Code::Vm, format!("cannot read domain '{}'", plan.name)).because(cause))
}

fn arch_of(next: &DomainDescription) -> Arch {
    let is_it = |arch: &Arch| Some(arch.as_str()) == next.arch.as_deref();
    Arch::ALL.into_iter().find(is_it).unwrap_or(Arch::X86_64)
}

fn to_manifest(part: &UnsaidPart) -> Option<XmlPatch> {
    part.entry.as_ref().map(|entry| entry.to_manifest())
}

fn new_record(
    context: &Context,
    domain: &Domain,
    manifest: &VirtualMachine,
    volumes: Vec<record::RecordedVolume>,
    console_log: Option<String>,
) -> Record {
    let now = context.clock.timestamp();
    Record {
        version: record::VERSION,
        domain: domain.uuid,
        state: RecordState::Created,
        manifest: manifest.clone(),
        secrets: Default::default(),
        volumes,
        maker: context.lease.maker(),
        created_at: now.clone(),
        changed_at: now,
        generation: 1,
        instance_id: None,
        console_log,
        image: None,
        image_origin: None,
        history: Vec::new(),
        ssh: None,
        repave: None,
        runner: None,
    }
}

/// Takes over a domain as it was planned.
///
/// # Errors
/// What prevents it, before any change; [`Code::ChangedMeanwhile`] if the domain is another one than it was; or the
/// failure of the call that writes the record. The same again finds out whether it was written.
pub fn adopt_vm(context: &Context, plan: &AdoptPlan) -> Result<(), Error> {
    check_possible(plan)?;
    let Some(record) = &plan.record else { return Ok(()) };
    let _lock = lock::lock_vm(context, plan.domain.uuid, &plan.vm).map_err(Error::unchanged)?;
    let now = plan_adopt(context, &plan.vm)?;
    if now.is_own {
        return Ok(());
    }
    if now.domain.uuid != plan.domain.uuid || now.manifest != plan.manifest || now.volumes != plan.volumes {
        let message = format!("domain '{}' was changed by another program meanwhile", plan.vm);
        return Err(refused_unchanged(Code::ChangedMeanwhile, message).hint("run the same command again"));
    }
    check_possible(&now)?;
    context.cancel.check_unchanged()?;
    context.host.set_record(plan.domain.uuid, &record.to_text()?)?;
    Ok(())
}

fn check_possible(plan: &AdoptPlan) -> Result<(), Error> {
    if plan.issues.is_empty() {
        return Ok(());
    }
    let title = format!("domain '{}' cannot be taken over", plan.vm);
    Err(Error::of_issues(title, plan.issues.clone()).unchanged())
}
