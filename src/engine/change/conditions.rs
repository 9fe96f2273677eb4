//! Shows in a VM's status what waits for a restart, and what another program changed.

use std::collections::BTreeMap;

use foundry_core::error::{Error, Kind};
use foundry_core::manifest::Condition;
use foundry_core::record::RecordState;
use foundry_host::Domain;

use super::applied::pending_fields;
use super::compare::compare;
use super::compare_patch::pending_patches;
use super::field::FieldDiff;
use super::look::{is_native, recorded_plan};
use super::sides::Sides;
use crate::Context;
use crate::vm::handle::VmHandle;
use crate::vm::inspect::VmView;

/// The condition of a VM that does not run as it is defined.
pub const RESTART_REQUIRED: &str = "RestartRequired";

/// The condition of a VM that another program changed.
pub const DRIFTED: &str = "Drifted";

/// Adds the conditions [`RESTART_REQUIRED`] and [`DRIFTED`] to a VM, if they are true. Only a complete VM of foundry
/// has them.
///
/// # Errors
/// If the connection is lost.
pub fn add_change_conditions(context: &Context, seen: &mut VmView) -> Result<(), Error> {
    let is_whole = seen.record().is_some_and(|record| record.state == RecordState::Created);
    if !is_whole || !seen.domain.persistent || seen.domain.saved {
        return Ok(());
    }
    let fields = match look_at_record(context, seen.domain.clone()) {
        Ok(fields) => fields,
        Err(lost) if lost.kind() == Kind::Connection => return Err(lost),
        // A VM that cannot be compared is shown without these conditions.
        Err(_) => return Ok(()),
    };
    let changed_at = seen.record().map(|record| record.changed_at.clone());
    let drift: Vec<&str> = fields.iter().filter(|f| f.drift).map(|f| f.path.as_str()).collect();
    let found = [
        (RESTART_REQUIRED, "DefinitionChanged", "restart required", pending_fields(&fields).join(", ")),
        (DRIFTED, "ChangedElsewhere", "changed by another program", drift.join(", ")),
    ];
    for (kind, reason, sentence, names) in found.into_iter().filter(|(.., names)| !names.is_empty()) {
        let condition = Condition {
            kind: kind.to_owned(),
            status: "True".to_owned(),
            last_transition_time: changed_at.clone(),
            reason: reason.to_owned(),
            message: format!("{sentence}: {names}"),
        };
        seen.vm.status.iter_mut().for_each(|status| status.conditions.push(condition.clone()));
    }
    Ok(())
}

/// Compares a VM with the manifest that was applied last. The sizes of its disks are not looked up: a listing would
/// make one call for each.
fn look_at_record(context: &Context, domain: Domain) -> Result<Vec<FieldDiff>, Error> {
    let handle = VmHandle::of_domain(context, domain)?;
    let recorded = recorded_plan(context, &handle, None)?;
    Ok(compare(&Sides {
        wanted: &recorded,
        recorded: &recorded,
        next: &handle.next,
        live: handle.live.as_ref(),
        autostart: handle.domain.autostart,
        native: is_native(context, &handle, &[&recorded])?,
        volumes: &handle.record.volumes,
        capacities: &BTreeMap::new(),
        is_same_image: true,
        changed_secrets: &[],
        pending_patches: &pending_patches(context, &handle, &recorded)?,
    }))
}
