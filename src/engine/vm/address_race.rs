//! Decides which of two simultaneous creations gets an address.
//!
//! Nothing at libvirt refuses a second domain with the same address: the look before the definition cannot see one
//! that is defined right after it. So there is a second look when all is made, right before the VM is marked as
//! whole. Each has announced itself by its definition before it looks, and says by its mark that it has looked.
//! Of two that see each other the one with the lower UUID has the address. A higher one may not have seen it: so
//! the lower one waits until that has marked itself, and then goes, or has gone. So no two stay, however many there
//! are and whenever they come. One stays, unless the lowest is undone for another reason while the others look: until
//! its definition is gone, they cannot tell it from one that goes on, and leave too.

use std::time::Duration;

use uuid::Uuid;

use crate::Context;
use crate::poll::{Poll, Waited};
use crate::preflight::conflicts;
use foundry_core::error::{Code, Error};
use foundry_core::plan::VmPlan;
use foundry_core::record::{Liveness, Owner, RecordState};
use foundry_host::Domain;

/// Time between two looks at a rival that has not decided yet.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long to wait for a creator on another machine, whose liveness cannot be checked.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(30);

/// Returns when the addresses of a VM that was defined are surely its own.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] where another VM has one of them.
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
                    .because(format!("{}, which was made at the same moment", finding.message)));
            }
        }
        Ok(rivals.is_empty().then_some(()))
    };
    let waited = Poll::new(context, POLL_EVERY)
        .unless(|| context.cancel.is_requested())
        .announce("Waiting for another VM that wants the same address")
        .until(is_decided)?;
    if waited == Waited::Cancelled { context.cancel.check() } else { Ok(()) }
}

/// Whether another VM has the address, and does not only want it.
fn has_address(context: &Context, rival: &Domain, own: Uuid, patient: bool) -> Result<bool, Error> {
    let Owner::Foundry(record) = rival.owner() else {
        return Ok(true);
    };
    if record.state != RecordState::Creating {
        return Ok(true);
    }
    Ok(match record.maker.check_liveness() {
        Liveness::Alive => rival.uuid < own,
        Liveness::Elsewhere => rival.uuid < own || !patient,
        // One that gave way has ended, too, and its domain went before it did: since we looked.
        Liveness::Dead => context.host.state(rival.uuid)?.is_some(),
    })
}
