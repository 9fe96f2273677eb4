//! Destroys a VM: mark, stop, delete the recorded volumes, undefine last.
//!
//! It has two halves. [`plan_destroy`] says exactly what would go and what would stay; the user
//! sees that and agrees. [`execute_destroy`] does it. The definition goes last because it holds the record:
//! killed anywhere, a second `destroy` finds the rest and finishes. Where the guest was not stopped and still runs,
//! nothing has gone yet: the mark is taken back, and the VM is whole.
//!
//! As long as the definition is there, its name is taken and no other foundry VM can have volumes of these names. So
//! before each deletion it is looked for again: somebody else may have finished this work while a guest was waited for,
//! and made a new VM.

use std::sync::Arc;
use std::time::Duration;

use super::stop::{StopMethod, stop_domain};
use super::{console, lookup};
use crate::storage::file_locks;
use crate::{Context, Event, advice, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::record::{Maker, Record, RecordState, RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::{Domain, HostError, KeptOnUndefine};

pub use super::plan_destroy::plan_destroy;

/// How to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestroyOptions {
    /// No graceful shutdown; and domains without foundry's record too.
    pub force: bool,
    /// Boot and data disks stay.
    pub keep_disks: bool,
    /// How long the guest may take to shut down.
    pub timeout: Duration,
}

/// Something of a VM that nobody claims any more and that foundry does not delete.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftBehind {
    /// The volume, or the path of a file.
    pub what: String,
    /// Why it is left.
    pub why: String,
    /// What removes it.
    pub advice: Option<Advice>,
}

/// What would go and what would stay.
#[derive(Debug, Clone, PartialEq)]
pub struct DestroyPlan {
    /// The domain.
    pub domain: Domain,
    /// The volumes that go.
    pub volumes: Vec<VolumeToDelete>,
    /// The disks that stay because the user wants them.
    pub kept: Vec<VolumeToDelete>,
    /// What stays because it is not, or not surely, the VM's: a volume and the reason.
    pub kept_back: Vec<(String, String)>,
    /// What of the VM foundry does not delete and nobody uses: it is told when all is done.
    pub left: Vec<LeftBehind>,
    /// What its record lists and was not found: one sentence each.
    pub missing: Vec<String>,
    pub(crate) record: Option<Record>,
    /// The volumes that only an older record names, which a restored or an old description brought back.
    pub(crate) only_older: Vec<RecordedVolume>,
    /// Whether what runs has another record than what starts next.
    pub(crate) has_two_records: bool,
    /// The file with its EFI variables.
    pub(crate) nvram: Option<String>,
    /// What is not removed with the definition.
    pub(crate) kept_on_undefine: KeptOnUndefine,
    pub(crate) console_log: Option<String>,
    pub(crate) options: DestroyOptions,
}

impl DestroyPlan {
    /// The volumes that go, as `POOL/VOLUME`.
    pub fn named_volumes(&self) -> Vec<String> {
        self.volumes.iter().map(|v| format!("{}/{}", v.pool, v.name)).collect()
    }
}

/// A volume that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeToDelete {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// What the guest sees of it.
    pub capacity: Bytes,
    /// What it is for; `None` for an overlay that a snapshot made.
    pub role: Option<VolumeRole>,
}

/// The mark that a VM is being destroyed.
struct DestroyMark {
    /// The text of the record before it.
    before: String,
    /// Who destroys it.
    maker: Maker,
}

/// How far the mark came.
enum MarkOutcome {
    /// It stands; nothing to take back where the VM has no record.
    Written(Option<DestroyMark>),
    /// Something else is working on the VM, and libvirt refuses changes.
    Held,
    /// There is no room for it.
    NoRoom,
}

impl MarkOutcome {
    fn mark(&self) -> Option<&DestroyMark> {
        match self {
            Self::Written(mark) => mark.as_ref(),
            Self::Held | Self::NoRoom => None,
        }
    }
}

/// Does what a survey said.
///
/// # Errors
/// What failed, and what is left; the record then stays, so that another `destroy` finishes.
pub fn execute_destroy(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    context.progress.on_event(Event::Begins(format!("Destroying VM '{name}'...")));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(possible_leftovers(plan));
    let marking = mark_destroying(context, plan)?;
    let unfinished = |error: Error| explain_unfinished(context, plan, error);
    let patience =
        if plan.options.force { StopMethod::Force } else { StopMethod::Graceful(plan.options.timeout) };
    stop_domain(context, plan.domain.uuid, name, patience)
        .map_err(|error| explain_failed_stop(context, plan, marking.mark(), error))?;
    context.report_done("VM stopped");
    // What was found to be this VM's may be another's of the same name as soon as somebody else is done with it.
    let _lock = lock::lock_vm(context, plan.domain.uuid, name).map_err(unfinished)?;
    if !plan.options.force {
        refuse_locked(context, plan).map_err(unfinished)?;
    }
    if !matches!(marking, MarkOutcome::Written(_)) {
        mark_stopped(context, plan)?;
    }
    delete_volumes(context, plan).map_err(unfinished)?;
    if !plan.volumes.is_empty() {
        let only_seed = plan.volumes.iter().all(|volume| volume.role == Some(VolumeRole::Seed));
        context.report_done(if only_seed { "Seed removed" } else { "Storage removed" });
    }
    // Before the definition: that names the log, and after a kill in between nothing else would.
    let log = remove_log(context, plan);
    undefine_domain(context, plan).map_err(unfinished)?;
    context.report_done("Domain undefined");
    let kept_back = plan.kept_back.iter().map(|(what, why)| format!("{what}: {why}"));
    for left in log.into_iter().chain(kept_back) {
        context.warn(format!("left: {left}"));
    }
    for left in &plan.left {
        context.warn_about(format!("left: {}: {}", left.what, left.why), left.advice.clone());
    }
    for missing in &plan.missing {
        let back = Advice::from("if it comes back, ").run(Verb::Gc { only: None }).text(" finds it");
        context.warn_about(missing, Some(back));
    }
    Ok(())
}

/// Writes what is going on into the record, and only the volumes that go: nothing that happens from here
/// on may delete one that was decided to stay.
fn mark_destroying(context: &Context, plan: &DestroyPlan) -> Result<MarkOutcome, Error> {
    let Domain { uuid, name, .. } = &plan.domain;
    // Also without a record: who cannot have the turn now had better not stop the guest.
    let _lock = lock::lock_vm(context, *uuid, name).map_err(|e| e.outcome("nothing was removed"))?;
    if plan.record.is_none() {
        return Ok(MarkOutcome::Written(None));
    }
    let marking = write_mark(context, plan)?;
    if matches!(marking, MarkOutcome::Held) {
        context.warn(format!("something else works on VM '{name}', and its plug is pulled all the same"));
    }
    Ok(marking)
}

/// Now that the guest is off, nothing holds its VM any more. Where there still is no room for the mark, deleting makes
/// some: the definition goes last anyway, and until then it names all that is left.
fn mark_stopped(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    match write_mark(context, plan).map_err(|e| e.outcome(format!("VM '{name}' is off")))? {
        MarkOutcome::Written(_) => Ok(()),
        MarkOutcome::NoRoom => {
            context.warn(format!("the host has no room to note that VM '{name}' is being destroyed"));
            Ok(())
        }
        MarkOutcome::Held => Err(Error::new(Code::VmHeld, format!("something else works on VM '{name}'"))
            .hint(job_hint(&plan.domain))
            .outcome(format!("nothing was removed; VM '{name}' is off"))),
    }
}

fn job_hint(domain: &Domain) -> String {
    let word = domain.shell_name();
    format!("virsh domjobinfo {word} shows what it is, virsh domjobabort {word} ends it")
}

fn write_mark(context: &Context, plan: &DestroyPlan) -> Result<MarkOutcome, Error> {
    let Some(record) = &plan.record else { return Ok(MarkOutcome::Written(None)) };
    let Domain { uuid, .. } = &plan.domain;
    let before = check_nothing_came(context, plan, record)?;
    let mut marked = record.with_state(RecordState::Destroying, &context.clock.timestamp());
    // From here on the VM is this process's work in progress.
    marked.maker = Maker::this_process();
    marked.volumes.retain(|v| plan.volumes.iter().any(|goes| goes.pool == v.pool && goes.name == v.name));
    let text = marked.to_text()?;
    // A refusal may come after one of the two places was written: the mark is there then, and nothing else.
    match context.host.set_record(*uuid, &text) {
        Ok(()) => Ok(MarkOutcome::Written(before.map(|before| DestroyMark { before, maker: marked.maker }))),
        Err(refused) => explain_refused_mark(context, plan, refused),
    }
}

/// What a refusal of the mark means. Of a VM whose QEMU hangs nothing can be written while it runs, and on a full file
/// system nothing before something is deleted: a destruction that insisted on its mark would never come about. What is to
/// stay of a VM's disks stays only by the mark.
fn explain_refused_mark(
    context: &Context,
    plan: &DestroyPlan,
    refused: HostError,
) -> Result<MarkOutcome, Error> {
    let DestroyOptions { force, keep_disks, .. } = plan.options;
    if matches!(is_still_there(context, plan), Ok(false)) {
        return Err(taken_away(plan));
    }
    let is_full = refused.code() == Code::OutOfSpace;
    match &refused {
        HostError::Busy { .. } if force => return Ok(MarkOutcome::Held),
        HostError::Busy { .. } => {
            let hint = job_hint(&plan.domain);
            return Err(Error::from(refused)
                .hint(
                    Advice::from(hint)
                        .text("; ")
                        .run(advice::destroy_command(&plan.domain, true))
                        .text(" pulls the plug first"),
                )
                .outcome("nothing was removed"));
        }
        _ if is_full && !keep_disks && !plan.volumes.is_empty() => return Ok(MarkOutcome::NoRoom),
        _ => {}
    }
    let error = Error::from(refused).outcome("nothing was removed");
    Err(if is_full {
        error
    } else {
        error.outcome(Advice::from(advice::destroy_command(&plan.domain, false)).text(" finishes it"))
    })
}

/// While the user thought about it, another process may have attached a disk. It was not asked for, and a mark
/// that does not name it would leave it to nobody.
///
/// Returns the record's text.
fn check_nothing_came(
    context: &Context,
    plan: &DestroyPlan,
    record: &Record,
) -> Result<Option<String>, Error> {
    let Domain { uuid, name, .. } = &plan.domain;
    let domain = context.host.domain(name)?.filter(|d| d.uuid == *uuid);
    let now = domain.as_ref().and_then(Domain::own_record);
    let known = || record.volumes.iter().chain(&plan.only_older);
    let is_new = |v: &&RecordedVolume| !known().any(|r| r.pool == v.pool && r.name == v.name);
    match now.iter().flat_map(|n| &n.volumes).find(is_new) {
        // What is taken back goes into both.
        None if plan.has_two_records => record.to_text().map(Some),
        None => Ok(domain.and_then(|d| d.record)),
        Some(new) => Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{name}' has got a disk since it was looked at"),
        )
        .because(format!("volume '{}' in pool '{}' is in its record now", new.name, new.pool))
        .hint(Advice::from(advice::destroy_command(&plan.domain, false)).text(" checks again"))
        .outcome("nothing was removed")),
    }
}

/// What a guest that still runs means, because it could not be stopped or somebody thought better of it: nothing has
/// gone yet, and with its old record the VM is what it was. A mark that stayed would give its disks to `gc`.
fn explain_failed_stop(
    context: &Context,
    plan: &DestroyPlan,
    mark: Option<&DestroyMark>,
    error: Error,
) -> Error {
    let Domain { uuid, name, .. } = &plan.domain;
    let runs = context.host.state(*uuid).is_ok_and(|now| now.is_some_and(|now| now.state.is_active()));
    if !runs || !mark.is_none_or(|mark| restore_record(context, &plan.domain, mark)) {
        return explain_unfinished(context, plan, error);
    }
    let error = error.outcome(format!("nothing was removed; VM '{name}' still runs"));
    match &plan.record {
        Some(record) if record.state != RecordState::Created => {
            error.outcome(Advice::from(advice::destroy_command(&plan.domain, false)).text(" finishes it"))
        }
        _ => error,
    }
}

/// Writes the old record over the mark, unless that is another process's by now; whether it did.
fn restore_record(context: &Context, domain: &Domain, mark: &DestroyMark) -> bool {
    let Ok(_lock) = lock::lock_for_rollback(context, domain.uuid) else { return false };
    let now = context.host.domain(&domain.name).ok().flatten().filter(|d| d.uuid == domain.uuid);
    let is_ours = |record: Record| record.state == RecordState::Destroying && record.maker == mark.maker;
    now.and_then(|d| d.own_record()).is_some_and(is_ours)
        && context.host.set_record(domain.uuid, &mark.before).is_ok()
}

/// What a failure on the way means: that the rest is left to another run, or that there is no rest.
fn explain_unfinished(context: &Context, plan: &DestroyPlan, error: Error) -> Error {
    if matches!(is_still_there(context, plan), Ok(false)) {
        return taken_away(plan);
    }
    possible_leftovers(plan).into_iter().fold(error, Error::outcome)
}

/// What an end in the middle of it leaves.
fn possible_leftovers(plan: &DestroyPlan) -> [Outcome; 2] {
    let name = &plan.domain.name;
    if !plan.domain.persistent {
        return [
            format!("VM '{name}' has no definition, so that nothing names what is left when it is off")
                .into(),
            advice::list_unused().into(),
        ];
    }
    let again = advice::destroy_command(&plan.domain, plan.record.is_none() && plan.options.force);
    [
        format!("VM '{name}' is half destroyed; its definition still names what is left").into(),
        Advice::from(again).text(" finishes it").into(),
    ]
}

/// Goes on after a failure, so that one stubborn volume does not keep the others.
fn delete_volumes(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let mut failures: Vec<Error> = Vec::new();
    for volume in &plan.volumes {
        context.cancel.check()?;
        check_still_there(context, plan)?;
        context.report_working(format!("Deleting volume {}", volume.name));
        if let Err(failed) = context.host.delete_volume(&volume.pool, &volume.name) {
            let lost = failed.outcome_unknown();
            failures.push(failed.into());
            if lost {
                break;
            }
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            Err(Error::new(failures[0].code(), format!("{} volumes cannot be deleted", all.len()))
                .because(all.join("; ")))
        }
    }
}

/// Ends the work if the domain is gone: its name may be another VM's by now, and so may these volumes.
fn check_still_there(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    if is_still_there(context, plan)? { Ok(()) } else { Err(taken_away(plan)) }
}

/// One that was only ever transient is gone when it stops, and then its name must be nobody's.
fn is_still_there(context: &Context, plan: &DestroyPlan) -> Result<bool, Error> {
    let Domain { uuid, name, persistent, .. } = &plan.domain;
    if *persistent {
        return Ok(context.host.state(*uuid)?.is_some());
    }
    Ok(context.host.domain(name)?.is_none_or(|d| d.uuid == *uuid))
}

fn taken_away(plan: &DestroyPlan) -> Error {
    lookup::removed_meanwhile(&plan.domain.name).outcome("nothing more was deleted")
}

/// A definition that is gone afterwards was undefined, whatever the call said.
fn undefine_domain(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    match context.host.undefine_keeping(plan.domain.uuid, plan.kept_on_undefine) {
        Err(failed) if !lookup::is_gone(context, plan.domain.uuid) => Err(failed.into()),
        _ => Ok(()),
    }
}

/// No disk goes that a program has open which this libvirt does not know: a guest of another host or of another libvirt
/// runs from it.
pub(crate) fn refuse_locked(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    let held = plan.volumes.iter().find(|volume| file_locks::is_locked(context, &volume.path));
    let Some(volume) = held else { return Ok(()) };
    Err(file_locks::open_elsewhere(name, &volume.pool, &volume.name)
        .hint(Advice::from("if nobody needs it: ").run(advice::destroy_command(&plan.domain, true))))
}

/// What is left of the console's log, if anything is.
fn remove_log(context: &Context, plan: &DestroyPlan) -> Option<String> {
    let log = plan.console_log.as_deref()?;
    console::remove_logs(context.host.as_ref(), log).err()
}

/// Removes what an interrupted creation left, before its name is used again, and says first which volumes go. Somebody
/// else may do so meanwhile.
pub(crate) fn remove_leftover(context: &Context, domain: &Domain) -> Result<(), Error> {
    match remove_half_made(context, domain) {
        Err(_) if matches!(context.host.domain(&domain.name), Ok(None)) => Ok(()),
        outcome => outcome,
    }
}

fn remove_half_made(context: &Context, domain: &Domain) -> Result<(), Error> {
    let plan = plan_leftover(context, domain)?;
    let volumes = plan.named_volumes();
    if !volumes.is_empty() {
        context.progress.on_event(Event::Begins(format!(
            "Removing what an interrupted creation left: {}",
            volumes.join(", ")
        )));
    }
    let quiet = context.with_progress(Arc::new(()));
    execute_destroy(&quiet, &plan)
}

/// What an interrupted creation left, where all of it may go; changes nothing.
///
/// # Errors
/// Where it is something else by now, or something of it may not go.
pub(crate) fn plan_leftover(context: &Context, domain: &Domain) -> Result<DestroyPlan, Error> {
    let options = DestroyOptions { force: true, keep_disks: false, timeout: Duration::ZERO };
    let mut plan = plan_destroy(context, &domain.name, options)?;
    // What is there under its name, and was not seen as its own, is another one's.
    plan.kept_on_undefine.saved = true;
    refuse_locked(context, &plan).map_err(|e| e.unchanged())?;
    if plan.domain.uuid != domain.uuid {
        return Err(Error::new(
            Code::ChangedMeanwhile,
            format!("domain '{}' was redefined meanwhile", domain.name),
        )
        .unchanged());
    }
    if plan.domain.state.is_active() || plan.domain.saved {
        return Err(Error::new(Code::HalfCreated, format!("VM '{}' was started meanwhile", domain.name))
            .because("its creation was interrupted, and it runs")
            .hint(Advice::from(advice::destroy_command(domain, false)).text(" removes it"))
            .unchanged());
    }
    if let Some((what, reason)) = plan.kept_back.first() {
        return Err(Error::new(
            Code::VolumeTaken,
            format!("an interrupted creation of VM '{}' left {what}", domain.name),
        )
        .because(reason.clone())
        .hint(
            Advice::from("look at it; ")
                .run(advice::destroy_command(domain, false))
                .text(" removes the rest and leaves it"),
        )
        .unchanged());
    }
    Ok(plan)
}
