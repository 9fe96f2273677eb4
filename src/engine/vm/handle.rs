//! Finds a VM that is to be changed: its definitions, its record, and why it may not be changed.

use crate::Context;
use crate::advice::{destroy_command, interrupted_creation};
use crate::disk::own_disk::follow_moves;
use crate::disk::ownership::Ownership;
use crate::storage::file_locks;
use crate::vm::lookup::{find_vm, vm_not_found};
use crate::vm::record_pair::RecordPair;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Liveness, Owner, Record, RecordState, RecordedVolume};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::local::check_liveness;
use foundry_host::{Domain, View};

/// A complete foundry VM, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VmHandle {
    pub(crate) domain: Domain,
    pub(crate) record: Record,
    /// The running definition; `None` if the VM is off.
    pub(crate) live: Option<DomainDescription>,
    /// The persistent definition, used at the next start.
    pub(crate) next: DomainDescription,
}

impl VmHandle {
    /// Finds a VM that is to be changed.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Vm`] if there is none, foundry did not create it, or it is incomplete.
    pub(crate) fn find(context: &Context, name: &str) -> Result<Self, Error> {
        match find_vm(context, name)? {
            Some(domain) => Self::of_domain(context, domain),
            None => Err(vm_not_found(context, name)?),
        }
    }

    /// As [`Self::find`], for a domain that was just found.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) fn of_domain(context: &Context, domain: Domain) -> Result<Self, Error> {
        let record = whole_record(&domain)?;
        if !domain.persistent {
            return Err(undefined_meanwhile(&domain));
        }
        if domain.saved {
            let why = "its guest continues where it stopped, with the disks that it had then";
            return Err(saved_memory_error(&domain, why, "its disks can change"));
        }
        let described = |view| context.host.describe(domain.uuid, view);
        let live = if domain.state.is_active() { described(View::Current)? } else { None };
        let Some(next) = described(View::Config)? else { return Err(vm_not_found(context, &domain.name)?) };
        let mut record = RecordPair::of(&domain, record, live.is_some().then_some(&next)).merge_volumes();
        let views: Vec<&DomainDescription> = live.iter().chain([&next]).collect();
        follow_moves(context, &mut record, &views)?;
        Ok(Self { domain, record, live, next })
    }

    /// The domain's name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.domain.name
    }

    /// Returns whether the guest executes, and so can react to changes of its disks.
    pub(crate) fn is_executing(&self) -> bool {
        self.domain.state.is_executing()
    }

    /// Checks that no program holds a lock on a disk of a VM that is off here. The VM may run on another host; its
    /// QEMU then holds the lock.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Storage`] if a program has it open and locked.
    pub(crate) fn check_not_locked(&self, context: &Context, volume: &RecordedVolume) -> Result<(), Error> {
        if self.live.is_some() || !file_locks::is_locked(context, &volume.path) {
            return Ok(());
        }
        Err(file_locks::open_elsewhere(self.name(), &volume.reference()).unchanged())
    }

    /// The names and paths that distinguish its own volumes from others.
    pub(crate) fn ownership(&self) -> Ownership<'_> {
        Ownership::of(&self.domain, self.live.iter().chain([&self.next]), &[])
    }
}

/// The error for a VM with saved memory: why it is in the way, and what is possible once the VM has resumed.
pub(crate) fn saved_memory_error(domain: &Domain, why: &str, then: &str) -> Error {
    let (vm, word) = (&domain.name, domain.shell_name());
    refused_unchanged(Code::SavedMemoryInTheWay, format!("VM '{vm}' is off with its memory saved"))
        .because(why)
        .hint(Advice::from(Verb::Start { vm: domain.command_name() }).text(format!(
            " resumes it, and then {then}; \
             virsh managedsave-remove {word} discards its memory, as a power failure would"
        )))
}

/// Checks that a VM is off: neither active nor saved. `then` is what is possible once it is off.
///
/// # Errors
/// [`Code::VmRuns`] or [`Code::SavedMemoryInTheWay`].
pub(crate) fn check_off(domain: &Domain, then: &str) -> Result<(), Error> {
    if domain.saved {
        let why = "its guest continues where it stopped";
        return Err(saved_memory_error(domain, why, &format!("off, {then}")));
    }
    if !domain.state.is_active() {
        return Ok(());
    }
    let stop = Verb::Stop { vm: domain.command_name(), force: false };
    Err(refused_unchanged(Code::VmRuns, format!("VM '{}' is {}", domain.name, domain.state))
        .hint(Advice::from(stop).text(format!(" shuts it down; {then}"))))
}

/// Finds a complete foundry VM by its name, with its record; its definitions are not read.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is none, foundry did not create it, or it is incomplete.
pub(crate) fn find_own_vm(context: &Context, name: &str) -> Result<(Domain, Record), Error> {
    let Some(domain) = find_vm(context, name)? else { return Err(vm_not_found(context, name)?) };
    let record = whole_record(&domain)?;
    Ok((domain, record))
}

/// The error for a VM that runs without a persistent definition.
pub(crate) fn undefined_meanwhile(domain: &Domain) -> Error {
    refused_unchanged(Code::ChangedMeanwhile, format!("VM '{}' has no definition any more", domain.name))
        .because("somebody undefined it while it runs")
}

/// The record of a complete VM; fails if the VM is being created or destroyed.
pub(crate) fn whole_record(domain: &Domain) -> Result<Record, Error> {
    let name = &domain.name;
    let record = read_own_record(domain).map_err(|error| match domain.owner() {
        Owner::Foreign if domain.persistent && !domain.saved => {
            let adopt = Verb::Adopt { vm: domain.command_name() };
            error.hint(Advice::from(adopt).text(" takes it over; without that, virsh changes it"))
        }
        Owner::Foreign | Owner::FirstFoundry(_) => error.hint("virsh changes it"),
        _ => error,
    })?;
    match record.state {
        RecordState::Created => Ok(record),
        RecordState::Destroying => {
            Err(refused_unchanged(Code::HalfDestroyed, format!("VM '{name}' is half destroyed"))
                .hint(Advice::from(destroy_command(domain, false)).text(" finishes it")))
        }
        RecordState::Creating if check_liveness(&record.maker) == Liveness::Dead => {
            Err(refused_unchanged(Code::HalfCreated, format!("the creation of VM '{name}' was interrupted"))
                .hint(interrupted_creation(domain)))
        }
        RecordState::Creating => {
            Err(refused_unchanged(Code::BeingCreated, format!("VM '{name}' is being created"))
                .hint("wait for it"))
        }
    }
}

/// Reads foundry's record of a domain.
///
/// # Errors
/// Why there is none that this program may act on: foundry did not create the domain, an older or newer one did, or it
/// cannot be read. Nothing was changed.
pub(crate) fn read_own_record(domain: &Domain) -> Result<Record, Error> {
    let name = &domain.name;
    Err(match domain.owner() {
        Owner::Foundry(record) => return Ok(*record),
        Owner::FirstFoundry(_) => {
            refused_unchanged(Code::NotFoundrys, format!("VM '{name}' was made by the first foundry"))
                .because("its record does not say which volumes are its own")
        }
        Owner::Foreign => {
            refused_unchanged(Code::NotFoundrys, format!("domain '{name}' was not made by foundry"))
        }
        Owner::Newer(version) => {
            refused_unchanged(Code::RecordUnreadable, format!("VM '{name}' was made by a newer foundry"))
                .because(format!("its record has version {version}"))
                .hint("use that foundry")
        }
        Owner::Unreadable(reason) => {
            let message = format!("foundry's record of VM '{name}' cannot be read");
            refused_unchanged(Code::RecordUnreadable, message).because(reason)
        }
    })
}

/// An error before any change.
pub(crate) fn refused_unchanged(code: Code, message: impl Into<String>) -> Error {
    Error::new(code, message).unchanged()
}
