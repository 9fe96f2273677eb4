//! Executes a cleanup; checks each object again before it is deleted.

use super::{CleanupStep, Leftover, LeftoverAction, NvramFile, nvram, vms, volumes};
use crate::storage::usage::Usage;
use crate::vm::destroy::{self, DestroyPlan};
use crate::vm::repave;
use crate::{Cleanup, Step};
use crate::{Context, disk, image, snapshot, warm};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::RecordState;
use foundry_core::record::VolumeRef;
use foundry_core::text::describe_io_error;
use foundry_host::local::DomainDirectories;
use foundry_host::{Domain, Volume};

/// Cleans up the chosen leftovers and calls `done` after each. It continues after a failure, so that one stubborn
/// leftover does not keep the others; all failures are returned.
///
/// # Errors
/// All failures. Another run finishes what was interrupted.
pub fn execute_cleanup(
    context: &Context,
    paths: Option<&DomainDirectories>,
    chosen: &[&Leftover],
    mut done: impl FnMut(&Leftover),
) -> Result<(), Vec<Error>> {
    let failures = context.run_for_all(chosen, |leftover| {
        execute_step(context, paths, leftover)?;
        done(leftover);
        Ok(())
    });
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn execute_step(
    context: &Context,
    paths: Option<&DomainDirectories>,
    leftover: &Leftover,
) -> Result<(), Error> {
    let done = match &leftover.step {
        CleanupStep::Nothing => None,
        CleanupStep::Destroy(plan) => destroy_half(context, plan)?,
        CleanupStep::FinishAttach(attempt) => disk::finish_attach(context, attempt)?,
        CleanupStep::FinishRepave(domain) => repave::finish_spare(context, domain).map(|()| None)?,
        CleanupStep::FinishSnapshots(domain) => {
            snapshot::finish_snapshots(context, domain)?;
            Some(Cleanup::Snapshot(leftover.name.clone()))
        }
        CleanupStep::DeletePartialImage { volume, mark } => {
            delete_partial_image(context, leftover, volume, mark)?
        }
        CleanupStep::DeleteWarmLeftover(found) => {
            warm::delete_warm_leftover(context, found)?;
            Some(Cleanup::PartialImage(found.image.name.clone()))
        }
        CleanupStep::ForgetNote { pool, image } => forget_note(context, leftover, pool, image)?,
        CleanupStep::DeleteVolume(volume) => delete_volume(context, leftover, volume)?,
        CleanupStep::DeleteNvram(file) => delete_nvram(context, paths, leftover, file)?,
    };
    done.into_iter().for_each(|done| context.report_finished(Step::CleanUp(done)));
    Ok(())
}

/// The final message, or `None` if the step reports its own messages.
type StepResult = Result<Option<Cleanup>, Error>;

/// Destroys a half-made VM, unless another process is finishing it or has finished it.
fn destroy_half(context: &Context, plan: &DestroyPlan) -> StepResult {
    let Domain { uuid, name, state, .. } = &plan.domain;
    let now = context.host.domain(name)?.filter(|d| d.uuid == *uuid);
    let Some((now, record)) = now.and_then(|now| now.own_record().map(|record| (now, record))) else {
        return Ok(Some(Cleanup::VmRemovedMeanwhile(name.clone())));
    };
    let was_started = now.state.is_active() && !state.is_active();
    let busy = vms::reason_if_vm_busy(&record)
        .or((record.state == RecordState::Created).then(|| "it is complete now".into()))
        .or(was_started.then(|| "it is running now".into()));
    if let Some(cause) = busy {
        return Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{name}' has changed since it was checked"),
        )
        .because(cause)
        .outcome(format!("VM '{name}' was not changed")));
    }
    destroy::execute_destroy(context, plan)?;
    Ok(Some(Cleanup::Vm(name.clone(), plan.named_volumes())))
}

fn delete_partial_image(context: &Context, leftover: &Leftover, volume: &Volume, mark: &[u8]) -> StepResult {
    let Some(now) = look_again(context, leftover, volume)? else {
        return Ok(Some(Cleanup::AlreadyGone(leftover.to_string())));
    };
    match image::read_partial_image(context, &now)? {
        Some(image::PartialImage::Marked { mark: found, .. }) if found == mark => {
            context.report_started(Step::CleanUp(Cleanup::Leftover(leftover.to_string())));
            image::remove_with_note(context, &volume.reference())?;
            Ok(Some(Cleanup::PartialImage(volume.name.clone())))
        }
        _ => Err(leftover_changed(leftover, "it is not a partial image any more")),
    }
}

fn forget_note(context: &Context, leftover: &Leftover, pool: &str, image: &str) -> StepResult {
    let noted = VolumeRef::new(pool, image);
    if context.host.volume(&noted)?.is_some() {
        return Err(leftover_changed(leftover, &format!("there is an image '{image}' again")));
    }
    image::forget_note(context, &noted)?;
    Ok(Some(Cleanup::Note(image.to_owned())))
}

fn delete_volume(context: &Context, leftover: &Leftover, volume: &Volume) -> StepResult {
    let Some(now) = look_again(context, leftover, volume)? else {
        return Ok(Some(Cleanup::AlreadyGone(leftover.to_string())));
    };
    let judged = volumes::judge_volume(context, &now)?;
    if judged.is_none_or(|r| !matches!(r.step, CleanupStep::DeleteVolume(_))) {
        return Err(leftover_changed(
            leftover,
            "it is not an unused volume any more, or a program has it open and locked",
        ));
    }
    context.report_started(Step::CleanUp(Cleanup::Leftover(leftover.to_string())));
    context.host.delete_volume(&volume.reference())?;
    Ok(Some(Cleanup::Volume(volume.name.clone())))
}

/// The volume as it is now, if it is still the same and unused; `None` if it was deleted.
fn look_again(context: &Context, leftover: &Leftover, volume: &Volume) -> Result<Option<Volume>, Error> {
    let Some(now) = context.host.volume(&volume.reference())? else { return Ok(None) };
    if (&now.path, &now.format, now.capacity) != (&volume.path, &volume.format, volume.capacity) {
        return Err(leftover_changed(leftover, "it is another volume now"));
    }
    match Usage::collect(context, None)?.reason_if_used(&now) {
        Some(reason) => Err(leftover_changed(leftover, &reason)),
        None => Ok(Some(now)),
    }
}

fn delete_nvram(
    context: &Context,
    paths: Option<&DomainDirectories>,
    leftover: &Leftover,
    file: &NvramFile,
) -> StepResult {
    let is_free = paths.map_or(Ok(false), |paths| nvram::is_still_free(context, paths, file))?;
    if !is_free {
        return Err(leftover_changed(leftover, "it is gone, was replaced, or belongs to a domain now"));
    }
    // Safe against links: unlink(2) does not follow them.
    std::fs::remove_file(&file.path).map_err(|e| {
        Error::new(Kind::Vm, format!("cannot delete {leftover}")).because(describe_io_error(&e))
    })?;
    Ok(Some(Cleanup::Nvram(file.path.clone())))
}

fn leftover_changed(leftover: &Leftover, cause: &str) -> Error {
    let only = (leftover.fate == LeftoverAction::WhenNamed).then(|| leftover.name.clone());
    Error::new(Code::VolumeChanged, format!("{leftover} has changed since it was checked"))
        .because(cause)
        .hint(Advice::from(Verb::Gc { only }).text(" checks again"))
        .outcome("it was not changed")
}
