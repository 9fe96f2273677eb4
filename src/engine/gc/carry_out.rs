//! Executes a cleanup; checks each object again before it is deleted.

use super::{Fate, NvramFile, Places, Remains, Work, nvram, vms, volumes};
use crate::storage::usage::Usage;
use crate::vm::destroy::{self, Demolition};
use crate::{Context, disk, image};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::RecordState;
use foundry_core::text::describe_io_error;
use foundry_host::{Domain, Volume};

/// Finishes and removes; `done` is told of each that is. Goes on after a failure, so that one stubborn thing does
/// not keep the others; all failures are returned.
///
/// # Errors
/// Each that failed. What was broken off is finished by another run.
pub fn carry_out(
    context: &Context,
    places: Option<&Places>,
    chosen: &[&Remains],
    mut done: impl FnMut(&Remains),
) -> Result<(), Vec<Error>> {
    let mut failures = Vec::new();
    for remains in chosen {
        let outcome = context.cancel.check().and_then(|()| finish(context, places, remains));
        match outcome {
            Ok(()) => done(remains),
            Err(failed) => {
                let ends = matches!(failed.kind(), Kind::Interrupted | Kind::Connection);
                failures.push(failed);
                if ends {
                    break;
                }
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn finish(context: &Context, places: Option<&Places>, remains: &Remains) -> Result<(), Error> {
    let told = match &remains.work {
        Work::Nothing => None,
        Work::Destroy(demolition) => destroy_half(context, demolition)?,
        Work::FinishAttach(attempt) => disk::finish_attach(context, attempt)?,
        Work::DeleteTorso { volume, mark } => delete_torso(context, remains, volume, mark)?,
        Work::ForgetNote { pool, image } => forget_note(context, remains, pool, image)?,
        Work::DeleteVolume(volume) => delete_volume(context, remains, volume)?,
        Work::DeleteNvram(file) => delete_nvram(context, places, remains, file)?,
    };
    told.into_iter().for_each(|sentence| context.done(sentence));
    Ok(())
}

/// The final message, unless it was already shown.
type Done = Result<Option<String>, Error>;

/// Somebody else may have begun to finish it since, or be done with it.
fn destroy_half(context: &Context, demolition: &Demolition) -> Done {
    let Domain { uuid, name, state, .. } = &demolition.domain;
    let now = context.host.domain(name)?.filter(|d| d.uuid == *uuid);
    let Some((now, record)) = now.and_then(|now| now.own_record().map(|record| (now, record))) else {
        return Ok(Some(format!("VM '{name}' was taken away by somebody else meanwhile")));
    };
    let was_started = now.state.is_active() && !state.is_active();
    let busy = vms::busy(&record)
        .or((record.state == RecordState::Created).then(|| "it is whole now".into()))
        .or(was_started.then(|| "it runs now".into()));
    if let Some(cause) = busy {
        return Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{name}' has changed since it was looked at"),
        )
        .because(cause)
        .outcome(format!("VM '{name}' stays as it is")));
    }
    destroy::carry_out(context, demolition)?;
    let volumes = demolition.named_volumes().join(", ");
    let with = if volumes.is_empty() { String::new() } else { format!(" with {volumes}") };
    Ok(Some(format!("VM '{name}' removed{with}")))
}

fn delete_torso(context: &Context, remains: &Remains, volume: &Volume, mark: &[u8]) -> Done {
    let Some(now) = look_again(context, remains, volume)? else { return Ok(Some(gone(remains))) };
    match image::torso(context, &now)? {
        Some(image::Torso::Marked { mark: found, .. }) if found == mark => {
            context.working(format!("Deleting {remains}"));
            image::remove(context, &volume.pool, &volume.name)?;
            Ok(Some(format!("Image '{}' removed, of which there was a part", volume.name)))
        }
        _ => Err(changed(remains, "it is something else now")),
    }
}

fn forget_note(context: &Context, remains: &Remains, pool: &str, image: &str) -> Done {
    if context.host.volume(pool, image)?.is_some() {
        return Err(changed(remains, &format!("there is an image '{image}' again")));
    }
    image::forget_note(context, pool, image)?;
    Ok(Some(format!("Note on image '{image}' removed")))
}

fn delete_volume(context: &Context, remains: &Remains, volume: &Volume) -> Done {
    let Some(now) = look_again(context, remains, volume)? else { return Ok(Some(gone(remains))) };
    let judged = volumes::judge(context, &now)?;
    if judged.is_none_or(|r| !matches!(r.work, Work::DeleteVolume(_))) {
        return Err(changed(remains, "it is something else now, or a program has it open and locked"));
    }
    context.working(format!("Deleting {remains}"));
    context.host.delete_volume(&volume.pool, &volume.name)?;
    Ok(Some(format!("Volume '{}' deleted", volume.name)))
}

/// The volume as it is now, if it is still the same and unused; `None` if it was deleted.
fn look_again(context: &Context, remains: &Remains, volume: &Volume) -> Result<Option<Volume>, Error> {
    let Some(now) = context.host.volume(&volume.pool, &volume.name)? else { return Ok(None) };
    if (&now.path, &now.format, now.capacity) != (&volume.path, &volume.format, volume.capacity) {
        return Err(changed(remains, "it is another one now"));
    }
    match Usage::look(context, None)?.reason(&now) {
        Some(reason) => Err(changed(remains, &reason)),
        None => Ok(Some(now)),
    }
}

fn delete_nvram(context: &Context, places: Option<&Places>, remains: &Remains, file: &NvramFile) -> Done {
    let is_free = places.map_or(Ok(false), |places| nvram::is_still_free(context, places, file))?;
    if !is_free {
        return Err(changed(remains, "it is gone, or another one, or a domain's"));
    }
    // unlink(2) does not follow a link.
    std::fs::remove_file(&file.path).map_err(|e| {
        Error::new(Kind::Vm, format!("cannot remove {remains}")).because(describe_io_error(&e))
    })?;
    Ok(Some(format!("{} removed", file.path.display())))
}

fn gone(remains: &Remains) -> String {
    format!("{remains} is gone already")
}

fn changed(remains: &Remains, cause: &str) -> Error {
    let only = (remains.fate == Fate::WhenNamed).then(|| remains.name.clone());
    Error::new(Code::VolumeChanged, format!("{remains} has changed since it was looked at"))
        .because(cause)
        .hint(Advice::from(Verb::Gc { only }).text(" looks again"))
        .outcome("it was left alone")
}
