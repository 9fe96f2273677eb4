//! Deletes the spare volumes of a repave that is decided, or that never came to a decision.

use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{RecordedVolume, RepaveStage, VolumeRef};

use crate::disk::own_disk::{is_on, is_same_file};
use crate::disk::ownership::differs_from_plan;
use crate::disk::update_locked_record;
use crate::storage::file_locks;
use crate::storage::usage::Usage;
use crate::vm::handle::VmHandle;
use crate::{Context, Step};

/// Deletes the spare volumes and removes the note from the record. Of these, `strangers` are known to be another
/// program's. The caller holds the VM's lock.
///
/// # Errors
/// A failed call to the host. The note is kept then, and another run finishes the work.
pub(super) fn delete_spare(
    context: &Context,
    handle: &VmHandle,
    strangers: &[VolumeRef],
) -> Result<(), Error> {
    let Some(note) = &handle.record.repave else { return Ok(()) };
    let usage = Usage::collect(context, Some(handle.domain.uuid))?;
    for volume in note.spare.iter().filter(|volume| !strangers.contains(&volume.reference())) {
        let is_planned = note.stage == RepaveStage::Preparing;
        match reason_to_keep(context, handle, (volume, is_planned), &usage)? {
            SpareState::Nothing => {}
            SpareState::Own => {
                let reference = volume.reference();
                context.report_started(Step::DeleteVolume(reference.clone()));
                context.host.delete_volume(&reference)?;
                context.report_finished(Step::DeleteVolume(reference));
            }
            SpareState::Doubtful(reason) => {
                let remove = Verb::Gc { only: Some(volume.reference().to_argument()) };
                context.warn_about(
                    format!("left: {}: {reason}", volume.reference()),
                    Some(Advice::from(remove).text(" removes it if nobody needs it")),
                );
            }
        }
    }
    update_locked_record(context, &handle.domain, |record| record.repave = None).map(drop)
}

/// What a spare volume is.
enum SpareState {
    /// It does not exist.
    Nothing,
    /// It is the VM's, and nothing uses it.
    Own,
    /// It is kept, for this reason.
    Doubtful(String),
}

fn reason_to_keep(
    context: &Context,
    handle: &VmHandle,
    (spare, is_planned): (&RecordedVolume, bool),
    usage: &Usage,
) -> Result<SpareState, Error> {
    let Some(found) = context.host.volume(&spare.reference())? else {
        return match context.host.pool(&spare.pool)? {
            Some(pool) if !pool.active => {
                let message = format!("pool '{}' with volume '{}' is not started", spare.pool, spare.name);
                Err(Error::new(Code::PoolInactive, message)
                    .hint(Verb::PoolStart { pool: spare.pool.clone() }))
            }
            _ => Ok(SpareState::Nothing),
        };
    };
    let views = || handle.live.iter().chain([&handle.next]);
    let is_below = |path: &String| *path == spare.path;
    let is_in_use = views()
        .flat_map(|view| &view.disks)
        .any(|disk| is_on(disk, spare) || disk.backing_chain.iter().any(is_below));
    let reason = if is_in_use {
        Some("the VM uses it".to_owned())
    } else if !is_same_file(context, &found.path, &spare.path) {
        Some(format!("it is at {} and not at {}", found.path, spare.path))
    } else if file_locks::is_locked(context, &found.path) {
        Some("a program has it open and locked".to_owned())
    } else {
        let differs = || if is_planned { differs_from_plan(spare, &found) } else { None };
        let used = || usage.reason_to_keep_of(&spare.reference(), &spare.path, &[]);
        handle.ownership().reason_to_doubt(spare, &found).or_else(differs).or_else(used)
    };
    Ok(reason.map_or(SpareState::Own, SpareState::Doubtful))
}
