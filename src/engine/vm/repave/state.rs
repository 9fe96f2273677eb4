//! Who works on a repave, and what a user can do about one that has not ended.

use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Liveness, Maker, Record, Repave, RepaveStage};
use foundry_host::Domain;
use foundry_host::local::check_liveness;

use super::RepaveSource;

/// Refuses if another process works on the repave. With `force`, one of another machine counts as ended.
pub(in crate::vm) fn refuse_if_busy(domain: &Domain, note: &Repave, force: bool) -> Result<(), Error> {
    if note.stage == RepaveStage::Kept {
        return Ok(());
    }
    let vm = &domain.name;
    let Maker { pid, .. } = note.maker;
    let message =
        |how: &str| Error::new(Code::VmTurnTaken, format!("VM '{vm}' is being repaved {how}")).unchanged();
    match check_liveness(&note.maker) {
        Liveness::Dead => Ok(()),
        Liveness::Elsewhere if force => Ok(()),
        Liveness::Alive => Err(message(&format!("by process {pid}"))
            .hint("wait for it, or stop that process; it then brings the previous boot disk back")),
        Liveness::Elsewhere => Err(message("from another machine").hint(
            Advice::from("if that was given up: ")
                .run(Verb::RepaveRollBack { vm: domain.command_name(), force: true }),
        )),
    }
}

/// The error for a VM whose previous boot disk is still there.
pub(super) fn undecided_error(domain: &Domain) -> Error {
    let message = format!("VM '{}' still has the boot disk from before its last repave", domain.name);
    Error::new(Code::RepaveUnsettled, message).unchanged().hint(decide_advice(domain))
}

/// Refuses as long as a VM may get another boot disk.
pub(crate) fn refuse_undecided(domain: &Domain, record: &Record) -> Result<(), Error> {
    let Some(note) = &record.repave else { return Ok(()) };
    refuse_if_busy(domain, note, false)?;
    if note.stage == RepaveStage::Kept {
        return Err(undecided_error(domain));
    }
    let message = format!("a repave of VM '{}' was interrupted", domain.name);
    Err(Error::new(Code::RepaveUnsettled, message).unchanged().hint(next_advice(domain, note.stage)))
}

/// The ways to end a repave that no process works on.
pub(crate) fn next_advice(domain: &Domain, stage: RepaveStage) -> Advice {
    let vm = domain.command_name();
    match stage {
        RepaveStage::Kept => decide_advice(domain),
        // The record does not name the image of that repave.
        RepaveStage::Preparing => {
            Advice::from(Verb::RepaveRollBack { vm, force: false }).text(" takes it back")
        }
        _ => again_advice(domain, &RepaveSource::Recorded),
    }
}

/// The ways to end a repave from this source.
pub(super) fn again_advice(domain: &Domain, source: &RepaveSource) -> Advice {
    let vm = domain.command_name();
    Advice::from(source.again(domain))
        .text(" finishes it, ")
        .run(Verb::RepaveRollBack { vm, force: false })
        .text(" takes it back")
}

/// The two ways to end a repave whose previous boot disk is kept.
pub(super) fn decide_advice(domain: &Domain) -> Advice {
    let vm = domain.command_name();
    Advice::from(Verb::RepaveAccept { vm: vm.clone() })
        .text(" deletes it; ")
        .run(Verb::RepaveRollBack { vm, force: false })
        .text(" brings it back")
}

/// Whether a record has a repave whose process ended, and of which only the spare volumes are left to delete.
pub(crate) fn has_work_to_finish(record: &Record) -> bool {
    record.repave.as_ref().is_some_and(|note| {
        let is_idle = note.stage.is_decided() || note.stage == RepaveStage::Preparing;
        is_idle && check_liveness(&note.maker) == Liveness::Dead
    })
}
