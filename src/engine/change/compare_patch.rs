//! Compares `spec.xmlPatch`.

use foundry_core::plan::VmPlan;
use foundry_core::xml_patch::{PatchEntry, pending_entries};
use foundry_host::View;

use super::sides::{Differences, Ruling, Sides, Values};
use crate::Context;
use crate::vm::handle::VmHandle;
use foundry_core::error::Error;

/// Compares the entries. New ones at the end can be applied to the definition; nothing else can, because nothing says
/// what the definition was before.
pub(super) fn compare_patch(sides: &Sides<'_>, differences: &mut Differences) {
    let (wanted, recorded) = (&sides.wanted.xml_patch, &sides.recorded.xml_patch);
    let is_extended = wanted.starts_with(recorded);
    for index in 0..wanted.len().max(recorded.len()) {
        let text = |entries: &[PatchEntry]| entries.get(index).map(PatchEntry::summary);
        let is_pending = sides.pending_patches.contains(&index);
        let values = Values {
            wanted: text(wanted),
            recorded: text(recorded),
            persistent: None,
            live: is_pending.then_some(None),
        };
        let ruling = match is_extended {
            true => Ruling::NEXT_START,
            false => Ruling::refused(
                "what a patch did cannot be taken back in place; only new entries at the end can be applied",
            ),
        };
        differences.add(format!("spec.xmlPatch[{index}]"), values, ruling);
    }
}

/// The entries of the applied patch that wait for a restart.
pub(super) fn pending_patches(
    context: &Context,
    handle: &VmHandle,
    recorded: &VmPlan,
) -> Result<Vec<usize>, Error> {
    if handle.live.is_none() || recorded.xml_patch.is_empty() {
        return Ok(Vec::new());
    }
    let xml = |view| context.host.domain_xml(handle.domain.uuid, view);
    let (Some(live), Some(next)) = (xml(View::Current)?, xml(View::Config)?) else { return Ok(Vec::new()) };
    Ok(pending_entries(&recorded.xml_patch, &next, &live))
}
