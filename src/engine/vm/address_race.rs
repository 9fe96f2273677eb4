//! Decides which of two simultaneous creations gets an address.
//!
//! libvirt does not refuse a second domain with the same address, and the preflight cannot see a domain that is defined
//! right after it. So each creation checks again, after its volumes exist and right before the VM is marked as
//! complete. It has announced itself by its definition before it checks, and its mark says that it has checked.
//!
//! If two creations see each other, the one with the lower UUID gets the address and the other is rolled back. The
//! higher one may have checked before the lower one was defined; so the lower one waits until the higher one has marked
//! itself (then the lower one is rolled back) or is gone. Therefore no two VMs keep the same address. One of them
//! keeps it, unless the lowest one fails for another reason while the others check: until its definition is gone, they
//! cannot distinguish it from a creation in progress, and are rolled back, too.

use std::time::Duration;

use uuid::Uuid;

use crate::poll::{Poll, Waited};
use crate::preflight::conflicts;
use crate::{Context, Step};
use foundry_core::error::{Code, Error};
use foundry_core::plan::VmPlan;
use foundry_core::record::{Liveness, Owner, RecordState};
use foundry_host::Domain;
use foundry_host::local::check_liveness;

/// Time between two looks at a rival that has not decided yet.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long to wait for a creator on another machine, whose liveness cannot be checked.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(30);

/// Returns when the addresses of a newly defined VM certainly belong to it.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if another VM has one of them.
pub(crate) fn resolve_addresses(context: &Context, plan: &VmPlan, own: Uuid) -> Result<(), Error> {
    if plan.interfaces.iter().all(|i| i.ip.is_none() && i.addresses.is_empty()) {
        return Ok(());
    }
    let until = context.clock.elapsed().saturating_add(STRANGERS_PATIENCE);
    let is_decided = || {
        let domains = context.host.domains(false)?;
        let rivals = conflicts::find_conflicts(plan, &domains);
        let patient = context.clock.elapsed() < until;
        for (rival, finding) in &rivals {
            if has_address(context, rival, own, patient)? {
                return Err(Error::new(Code::AddressTaken, format!("cannot create VM '{}'", plan.name))
                    .because(format!("{}, which was created at the same time", finding.message)));
            }
        }
        Ok(rivals.is_empty().then_some(()))
    };
    let waited = Poll::new(context, POLL_EVERY)
        .unless(|| context.cancel.is_requested())
        .announce(Step::WaitForRival)
        .until(is_decided)?;
    if waited == Waited::Cancelled { context.cancel.check() } else { Ok(()) }
}

/// Returns whether another VM has the address for good, or has priority in getting it.
fn has_address(context: &Context, rival: &Domain, own: Uuid, patient: bool) -> Result<bool, Error> {
    let Owner::Foundry(record) = rival.owner() else {
        return Ok(true);
    };
    if record.state != RecordState::Creating {
        return Ok(true);
    }
    Ok(match check_liveness(&record.maker) {
        Liveness::Alive => rival.uuid < own,
        Liveness::Elsewhere => rival.uuid < own || !patient,
        // A creation that gave way undefines its domain before its process ends. If the domain is still there, the
        // process was killed and the leftover keeps the address.
        Liveness::Dead => context.host.state(rival.uuid)?.is_some(),
    })
}
