//! Deletes what an interrupted creation left, before a new creation uses the name.

use std::sync::Arc;
use std::time::Duration;

use super::destroy::execute_destroy;
use super::destroy_plan::{DestroyOptions, DestroyPlan, refuse_locked};
use super::plan_destroy::plan_destroy;
use crate::{Context, Task, advice};
use foundry_core::error::{Advice, Code, Error};
use foundry_host::Domain;

/// Deletes what an interrupted creation left, before its name is used again, and reports the volumes first. Another
/// process may do the same meanwhile.
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
        context.report_begun(Task::RemoveInterrupted(volumes));
    }
    let quiet = context.with_progress(Arc::new(()));
    execute_destroy(&quiet, &plan)
}

/// Plans the deletion of an interrupted creation; changes nothing.
///
/// # Errors
/// If it was replaced meanwhile, or a part of it must be kept.
pub(crate) fn plan_leftover(context: &Context, domain: &Domain) -> Result<DestroyPlan, Error> {
    let options = DestroyOptions { force: true, keep_disks: false, timeout: Duration::ZERO };
    let mut plan = plan_destroy(context, &domain.name, options)?;
    // Saved memory with its name belongs to an earlier domain.
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
