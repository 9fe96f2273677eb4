//! Waits for volumes that libvirt may still be creating for a foundry process that has ended.
//!
//! libvirt finishes a call even if its caller has ended. A volume whose creating program, such as qemu-img, has just
//! started has no file yet, so libvirt reports that there is no such volume, and a cleanup would miss it. libvirt
//! refuses to refresh a pool while a volume is being created in it, so a successful refresh comes after all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::usage::{is_directory_away, refresh_pool};
use crate::poll::{Poll, Waited};
use crate::{Context, Step};
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordState, RepaveStage};

/// The limit, because another program may be creating something large in the same pool.
const WITHIN: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Waits for the volumes of an interrupted creation, attach or repave.
///
/// # Errors
/// An error of the host, or an interruption by the user.
pub(crate) fn wait_for_volumes(context: &Context, record: &Record) -> Result<(), Error> {
    let begun =
        record.volumes.iter().filter(|v| record.state == RecordState::Creating || v.attaching.is_some());
    let repave = record.repave.iter().filter(|note| note.stage == RepaveStage::Preparing);
    let begun = begun.chain(repave.flat_map(|note| &note.spare));
    let pools: BTreeSet<&str> = begun.map(|v| v.pool.as_str()).collect();
    let until = context.clock.elapsed().saturating_add(WITHIN);
    for pool in pools {
        let is_settled = || -> Result<Option<()>, Error> {
            Ok((!is_usable(context, pool)? || refresh_pool(context, pool)?).then_some(()))
        };
        // One limit for all pools. What libvirt has not finished by then is left to the caller.
        let waited = Poll::new(context, POLL_EVERY)
            .within(until.saturating_sub(context.clock.elapsed()))
            .unless(|| context.cancel.is_requested())
            .announce(Step::WaitForVolumes { pool: pool.to_string() })
            .until(is_settled)?;
        if waited == Waited::Cancelled {
            context.cancel.check_unchanged()?;
        }
    }
    Ok(())
}

/// Returns whether the pool can be refreshed. A stopped or missing one is reported when its volumes are looked up.
fn is_usable(context: &Context, pool: &str) -> Result<bool, Error> {
    Ok(context.host.pool(pool)?.is_some_and(|p| p.active && !is_directory_away(context, &p)))
}
