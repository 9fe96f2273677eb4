//! Renames a VM that is off.
//!
//! ```text
//!   [lock ▸ name the EFI variables' file ▸ rename ▸ name the new console log ▸ move the log ▸ write the record]
//! ```
//!
//! The record is written last: until then it has the old name, so the same command again finds what is left to do.
//! Nothing is undone. The volumes keep their names, because libvirt cannot rename volumes; the record names them.

use super::handle::{check_off, read_own_record, refused_unchanged, undefined_meanwhile, whole_record};
use super::lookup::{find_vm, or_removed_meanwhile, removed_meanwhile, vm_not_found};
use super::repave::refuse_if_busy;
use super::{console, efi_variables};
use crate::disk::update_locked_record;
use crate::preflight::stale_variables::stale_memory_issue;
use crate::storage::usage::Usage;
use crate::{Context, Step, Task, lock};
use foundry_core::error::{Code, Error};
use foundry_core::names::VmName;
use foundry_core::plan::pin_mac_addresses;
use foundry_core::record::{Liveness, Record, VolumeRef};
use foundry_host::libvirt_xml::edit;
use foundry_host::local::check_liveness;
use foundry_host::{Domain, View};

/// A VM that was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedVm {
    /// The name before.
    pub from: String,
    /// The name now.
    pub to: String,
    /// Whether an earlier command had renamed it.
    pub was_renamed: bool,
    /// Its volumes, which keep their names.
    pub volumes: Vec<VolumeRef>,
}

/// Renames a VM that is off: domain, record, console log. Its UUID, MAC addresses and EFI variables stay.
///
/// # Errors
/// Before any change: [`Code::VmRuns`], [`Code::SavedMemoryInTheWay`], [`Code::NameTaken`], or
/// [`foundry_core::error::Kind::Vm`] if there is no such VM or foundry did not create it. Otherwise the failure of a
/// step; the same again finishes the work.
pub fn rename_vm(context: &Context, name: &str, new: &VmName) -> Result<RenamedVm, Error> {
    let domain = find_subject(context, name, new)?;
    let record = whole_record(&domain)?;
    let is_renamed = domain.name == new.as_str();
    if is_renamed && recorded_name(&record) == Some(new.as_str()) {
        return Ok(RenamedVm { was_renamed: true, ..renamed(name, new, &record) });
    }
    let from = recorded_name(&record).filter(|_| is_renamed).unwrap_or(&domain.name).to_owned();
    check_renamable(context, &domain, &record, new)?;
    context.report_begun(Task::RenameVm { from: domain.name.clone(), to: new.to_string() });
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers([half_renamed(&domain.name)]);
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    let record = execute_rename(context, &domain, new)
        .map_err(|error| or_removed_meanwhile(context, &domain, error))?;
    context.report_finished(Step::RenameDomain);
    Ok(renamed(&from, new, &record))
}

fn renamed(from: &str, to: &VmName, record: &Record) -> RenamedVm {
    let volumes = record.volumes.iter().map(|volume| volume.reference()).collect();
    RenamedVm { from: from.to_owned(), to: to.to_string(), was_renamed: false, volumes }
}

fn recorded_name(record: &Record) -> Option<&str> {
    record.manifest.metadata.name.as_deref()
}

fn half_renamed(vm: &str) -> foundry_core::error::Outcome {
    format!("VM '{vm}' may be renamed in part; the same command again finishes it").into()
}

/// Finds the VM by its name; or by the new one, if an interrupted or earlier command has renamed it.
fn find_subject(context: &Context, name: &str, new: &VmName) -> Result<Domain, Error> {
    if let Some(domain) = find_vm(context, name)? {
        return Ok(domain);
    }
    let was_named = |domain: &Domain| {
        read_own_record(domain).is_ok_and(|record| {
            let earlier = record.history.iter().filter_map(|revision| revision.manifest.as_deref());
            let mut names = earlier.chain([&record.manifest]).map(|m| m.metadata.name.as_deref());
            names.any(|known| known == Some(name))
        })
    };
    match context.host.domain(new.as_str())?.filter(was_named) {
        Some(domain) => Ok(domain),
        None => Err(vm_not_found(context, name)?),
    }
}

/// Checks everything that can be known before the first change.
fn check_renamable(context: &Context, domain: &Domain, record: &Record, new: &VmName) -> Result<(), Error> {
    if !domain.persistent {
        return Err(undefined_meanwhile(domain));
    }
    check_off(domain, "then it can be renamed")?;
    if let Some(note) = &record.repave {
        refuse_if_busy(domain, note, false)?;
    }
    let is_busy = |maker| check_liveness(maker) != Liveness::Dead;
    if let Some(maker) = record.volumes.iter().filter_map(|v| v.attaching.as_ref()).find(|m| is_busy(m)) {
        let busy = format!("process {} is attaching a disk to VM '{}'", maker.pid, domain.name);
        return Err(refused_unchanged(Code::DiskBusy, busy).hint("wait for it"));
    }
    if let Some(other) = context.host.domain(new.as_str())?.filter(|other| other.uuid != domain.uuid) {
        let message = format!("a domain '{}' exists", other.name);
        return Err(refused_unchanged(Code::NameTaken, message).hint("choose another name"));
    }
    if let Some(issue) = stale_memory_issue(context, new.as_str()).filter(|_| domain.name != new.as_str()) {
        let title = format!("VM '{}' cannot be renamed to '{new}'", domain.name);
        return Err(Error::of_issues(title, vec![issue]).unchanged());
    }
    check_log_free(context, domain, record, new)
}

/// Two domains with one console log do not start side by side: virtlogd opens it once.
fn check_log_free(context: &Context, domain: &Domain, record: &Record, new: &VmName) -> Result<(), Error> {
    let log = console::log_path(context.host.uri(), new.as_str()).filter(|_| record.console_log.is_some());
    let Some(log) = log else { return Ok(()) };
    let users = Usage::collect(context, Some(domain.uuid))?.domains_using(&log);
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("the console log {log} of VM '{new}' is in use");
    Err(refused_unchanged(Code::NameTaken, message)
        .because(format!("domain '{}' writes to it", users.join("', '")))
        .hint("choose another name"))
}

/// Executes the steps, under the VM's lock. Returns the record afterwards.
fn execute_rename(context: &Context, found: &Domain, new: &VmName) -> Result<Record, Error> {
    let uuid = found.uuid;
    let now = context.host.domain(&found.name)?.filter(|now| now.uuid == uuid);
    let domain = now.ok_or_else(|| removed_meanwhile(&found.name))?;
    check_off(&domain, "then it can be renamed")?;
    let old_log = whole_record(&domain)?.console_log;
    let new_log = old_log.as_ref().and_then(|_| console::log_path(context.host.uri(), new.as_str()));
    let steps = || {
        if domain.name != new.as_str() {
            efi_variables::keep_file(context, &domain)?;
            context.cancel.check()?;
            context.report_started(Step::RenameDomain);
            context.host.rename_domain(uuid, new.as_str())?;
        }
        let domain = Domain { name: new.to_string(), ..domain.clone() };
        context.cancel.check()?;
        if let Some(log) = &new_log {
            redirect_log(context, &domain, log)?;
        }
        move_log(context, &domain, old_log.as_deref(), new_log.as_deref())?;
        context.cancel.check()?;
        update_locked_record(context, &domain, |record| {
            pin_mac_addresses(&mut record.manifest);
            record.manifest.metadata.name = Some(new.to_string());
            if new_log.is_some() {
                record.console_log.clone_from(&new_log);
            }
        })
    };
    steps().map_err(|error| {
        let has_old_name = |now: &Domain| now.uuid == uuid && now.name != new.as_str();
        match context.host.domain(&found.name) {
            // The file with the EFI variables may be named now; it is the same one.
            Ok(Some(now)) if has_old_name(&now) => error.unchanged(),
            _ => error.outcome(half_renamed(&found.name)),
        }
    })
}

/// Writes the new console log into the definition, unless it is there.
fn redirect_log(context: &Context, domain: &Domain, log: &str) -> Result<(), Error> {
    let described = context.host.describe(domain.uuid, View::Config)?;
    let described = described.ok_or_else(|| removed_meanwhile(&domain.name))?;
    if described.console_log.as_deref() == Some(log) || described.console_log.is_none() {
        return Ok(());
    }
    let full = context.host.full_definition(domain.uuid)?;
    let full = full.ok_or_else(|| removed_meanwhile(&domain.name))?;
    context.host.define_domain(&edit::set_console_log(&full, log)?)?;
    Ok(())
}

/// Moves the log of the old name. Others can write the record, so only a log is moved that foundry would have named so,
/// and that no other domain has by its name.
fn move_log(context: &Context, domain: &Domain, from: Option<&str>, to: Option<&str>) -> Result<(), Error> {
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    let record = read_own_record(domain)?;
    let Some(old) = recorded_name(&record).and_then(|name| name.parse::<VmName>().ok()) else {
        return Ok(());
    };
    let own = console::log_path(context.host.uri(), old.as_str());
    if from == to || own.as_deref() != Some(from) || context.host.domain(old.as_str())?.is_some() {
        return Ok(());
    }
    if let Err(left) = console::move_logs(context.host.as_ref(), from, to) {
        context.warn(format!("{left} keeps its name"));
    }
    Ok(())
}
