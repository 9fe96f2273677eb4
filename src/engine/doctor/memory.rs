//! Checks the host's memory, and how much of it is assigned to VMs.

use super::Check;
use super::facts::Facts;
use foundry_core::units::Bytes;
use foundry_host::Domain;

const NAME: &str = "memory";

/// With less left than this, the smallest guest starts at others' cost.
const TOO_LITTLE: Bytes = Bytes(512 << 20);

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let (machine, domains) = match (&facts.machine, &facts.domains) {
        (Ok(machine), Ok(domains)) => (machine, domains),
        (Err(why), _) | (_, Err(why)) => return vec![Check::unknown(NAME, why.clone())],
    };
    let running = sum(domains.iter().filter(|d| d.state.is_active()));
    let starting = sum(domains.iter().filter(|d| d.autostart));
    let all = machine.memory;
    vec![if running > all {
        Check::warning(NAME, format!("running VMs may take {running}, and the host has {all}"))
            .todo("stop some, or give them less: what does not fit is swapped, or a VM is killed")
    } else if starting > all {
        Check::warning(NAME, format!("the VMs that start with the host take {starting}, and it has {all}"))
            .todo("virsh autostart --disable NAME takes one out")
    } else if machine.free_memory > Bytes(0) && machine.free_memory < TOO_LITTLE {
        Check::warning(NAME, format!("{} of {all} are free", machine.free_memory))
            .todo("stop a VM, or other programs")
    } else {
        Check::ok(NAME, format!("{all}, of which running VMs may take {running}"))
    }]
}

fn sum<'a>(domains: impl Iterator<Item = &'a Domain>) -> Bytes {
    domains.fold(Bytes(0), |sum, domain| sum.saturating_add(domain.memory))
}
