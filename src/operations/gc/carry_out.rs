//! Does what a survey said, each thing after another look at it.

use super::{NvramFile, Places, Remains, Work, held, nvram, vms, volumes};
use crate::error::{Error, Kind};
use crate::host::Volume;
use crate::operations::destroy::{self, Demolition};
use crate::operations::preflight::record_of;
use crate::operations::usage::Usage;
use crate::operations::{Session, disks, images};
use crate::record::State;
use crate::text::shell_word;

/// Finishes and removes; `done` is told of each that is. Goes on after a failure, so that one stubborn thing does
/// not keep the others; all failures are returned.
///
/// # Errors
/// Each that failed. What was broken off is finished by another run.
pub fn carry_out(
    session: &Session<'_>,
    places: Option<&Places>,
    chosen: &[&Remains],
    mut done: impl FnMut(&Remains),
) -> Result<(), Vec<Error>> {
    let mut failures = Vec::new();
    for remains in chosen {
        let outcome = session.cancel.check().and_then(|()| finish(session, places, remains));
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

fn finish(session: &Session<'_>, places: Option<&Places>, remains: &Remains) -> Result<(), Error> {
    match &remains.work {
        Work::Nothing => Ok(()),
        Work::Destroy(demolition) => destroy_half(session, demolition),
        Work::FinishAttach(attempt) => disks::finish_attach(session, attempt),
        Work::DeleteTorso { volume, mark } => delete_torso(session, remains, volume, mark),
        Work::ForgetNote { pool, image } => forget_note(session, remains, pool, image),
        Work::DeleteVolume(volume) => delete_volume(session, remains, volume),
        Work::DeleteNvram(file) => delete_nvram(session, places, remains, file),
    }
}

/// Somebody else may have begun to finish it since.
fn destroy_half(session: &Session<'_>, demolition: &Demolition) -> Result<(), Error> {
    let name = &demolition.domain.name;
    let now = session.host.domain(name)?.filter(|d| d.uuid == demolition.domain.uuid);
    let Some(record) = now.as_ref().and_then(record_of) else {
        return Ok(session.warn(format!("VM '{name}' was taken away by somebody else meanwhile")));
    };
    let refused = |cause: String| {
        let message = format!("VM '{name}' has changed since it was looked at");
        Err(Error::new(Kind::Vm, message).because(cause).outcome(format!("VM '{name}' stays as it is")))
    };
    if record.state == State::Created {
        return refused("it is whole now".into());
    }
    match vms::busy(&record) {
        Some(busy) => refused(busy),
        None => destroy::carry_out(session, demolition),
    }
}

fn delete_torso(session: &Session<'_>, remains: &Remains, volume: &Volume, mark: &[u8]) -> Result<(), Error> {
    let Some(now) = look_again(session, remains, volume)? else { return Ok(()) };
    match images::torso(session, &now)? {
        Some(images::Torso::Marked { mark: found, .. }) if found == mark => {
            session.working(format!("Deleting {remains}"));
            images::remove(session, &volume.pool, &volume.name)?;
            Ok(session.done(format!("Image '{}' removed, of which there was a part", volume.name)))
        }
        _ => Err(changed(remains, "it is something else now")),
    }
}

fn forget_note(session: &Session<'_>, remains: &Remains, pool: &str, image: &str) -> Result<(), Error> {
    if session.host.volume(pool, image)?.is_some() {
        return Err(changed(remains, &format!("there is an image '{image}' again")));
    }
    images::forget_note(session, pool, image)?;
    Ok(session.done(format!("Note on image '{image}' removed")))
}

fn delete_volume(session: &Session<'_>, remains: &Remains, volume: &Volume) -> Result<(), Error> {
    let Some(now) = look_again(session, remains, volume)? else { return Ok(()) };
    if volumes::judge(session, &now)?.is_none_or(|r| !matches!(r.work, Work::DeleteVolume(_))) {
        return Err(changed(remains, "it is something else now"));
    }
    if held::is_held(session, &volume.path) {
        return Err(changed(remains, "a program has it open and locked"));
    }
    session.working(format!("Deleting {remains}"));
    session.host.delete_volume(&volume.pool, &volume.name)?;
    Ok(session.done(format!("Volume '{}' deleted", volume.name)))
}

/// The volume as it is now, if it is the one that was found and still nobody's; `None` where it is gone.
fn look_again(session: &Session<'_>, remains: &Remains, volume: &Volume) -> Result<Option<Volume>, Error> {
    let Some(now) = session.host.volume(&volume.pool, &volume.name)? else {
        session.warn(format!("{remains} is gone already"));
        return Ok(None);
    };
    if (&now.path, &now.format, now.capacity) != (&volume.path, &volume.format, volume.capacity) {
        return Err(changed(remains, "it is another one now"));
    }
    match Usage::look(session, None)?.reason(&now) {
        Some(reason) => Err(changed(remains, &reason)),
        None => Ok(Some(now)),
    }
}

fn delete_nvram(
    session: &Session<'_>,
    places: Option<&Places>,
    remains: &Remains,
    file: &NvramFile,
) -> Result<(), Error> {
    let is_free = places.map_or(Ok(false), |places| nvram::is_still_free(session, places, file))?;
    if !is_free {
        return Err(changed(remains, "it is gone, or another one, or a domain's"));
    }
    // unlink(2) does not follow a link.
    std::fs::remove_file(&file.path)
        .map_err(|e| Error::new(Kind::Vm, format!("cannot remove {remains}")).because(e.to_string()))?;
    Ok(session.done(format!("{} removed", file.path.display())))
}

fn changed(remains: &Remains, cause: &str) -> Error {
    Error::new(Kind::Storage, format!("{remains} has changed since it was looked at"))
        .because(cause)
        .hint(format!("foundry gc looks again{}", named(remains)))
        .outcome("it was left alone")
}

fn named(remains: &Remains) -> String {
    if remains.fate == super::Fate::WhenNamed {
        format!("; then foundry gc {}", shell_word(&remains.name))
    } else {
        String::new()
    }
}
