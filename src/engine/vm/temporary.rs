//! A VM that exists only while something is done with it.

use super::blueprint::draw_blueprint;
use super::create::{CreatedVm, cause_of, execute_creation, prepare_pool};
use super::journal::Journal;
use super::leftover;
use crate::preflight::ReadyVm;
use crate::{Context, Step};
use foundry_core::error::{Code, Error, Outcome};

/// Creates a VM whose memory is to be saved, calls `work` while it is there, and deletes it in any case.
///
/// # Errors
/// The failure of the creation or of `work`, after a rollback; or that the VM could not be deleted.
pub(crate) fn with_temporary_vm<T>(
    context: &Context,
    ready: &ReadyVm,
    work: &dyn Fn(&CreatedVm) -> Result<T, Error>,
) -> Result<T, Error> {
    context.report_finished(Step::Validate);
    context.cancel.check_unchanged()?;
    prepare_pool(context, ready)?;
    if let Some(leftover) = &ready.leftover {
        leftover::remove_leftover(context, leftover)?;
        context.report_finished(Step::RemoveInterrupted);
    }
    let blueprint = draw_blueprint(context, ready)?;
    let _leaves = context.cancel.announce_leftovers(blueprint.possible_leftovers());
    let mut creation = Journal::default();
    let vm = CreatedVm { uuid: blueprint.uuid, record: blueprint.record.clone() };
    let made = execute_creation(context, ready, &blueprint, &mut creation, &|| Ok(()));
    let worked = made.and_then(|()| work(&vm));
    let cause = match &worked {
        Ok(_) => Error::new(Code::Vm, format!("VM '{}' could not be deleted", ready.plan.name)),
        Err(failed) => cause_of(context, ready, failed.clone()),
    };
    let undone = creation.roll_back(context, cause);
    match worked {
        // The definition is deleted last. On another machine, the console log is left.
        Ok(result) if matches!(context.host.state(vm.uuid), Ok(None)) => {
            let left = undone.outcomes().iter().filter_map(|outcome| match outcome {
                Outcome::Left(remainders) => Some(remainders),
                _ => None,
            });
            left.flatten().for_each(|left| context.warn(format!("left: {}: {}", left.object, left.why)));
            Ok(result)
        }
        _ => Err(undone),
    }
}
