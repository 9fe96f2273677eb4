//! Checks the host's memory, and how much of it is assigned to VMs.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::units::Bytes;
use foundry_host::Domain;

const NAME: &str = "memory";

/// With less left than this, the smallest guest starts at others' cost.
const TOO_LITTLE: Bytes = Bytes(512 << 20);

pub(super) fn check_memory(facts: &HostFacts) -> Vec<HostCheck> {
    let (machine, domains) = match (&facts.machine, &facts.domains) {
        (Ok(machine), Ok(domains)) => (machine, domains),
        (Err(why), _) | (_, Err(why)) => return vec![HostCheck::unknown(NAME, why.clone())],
    };
    let running = sum_memory(domains.iter().filter(|d| d.state.is_active()));
    let starting = sum_memory(domains.iter().filter(|d| d.autostart));
    let all = machine.memory;
    vec![if running > all {
        HostCheck::warning(NAME, format!("running VMs may take {running}, and the host has {all}"))
            .add_advice("stop some, or give them less: what does not fit is swapped, or a VM is killed")
    } else if starting > all {
        HostCheck::warning(
            NAME,
            format!("the VMs that start with the host take {starting}, and it has {all}"),
        )
        .add_advice("virsh autostart --disable NAME takes one out")
    } else if machine.free_memory > Bytes(0) && machine.free_memory < TOO_LITTLE {
        HostCheck::warning(NAME, format!("{} of {all} are free", machine.free_memory))
            .add_advice("stop a VM, or other programs")
    } else {
        HostCheck::ok(NAME, format!("{all}, of which running VMs may take {running}"))
    }]
}

fn sum_memory<'a>(domains: impl Iterator<Item = &'a Domain>) -> Bytes {
    domains.fold(Bytes(0), |sum, domain| sum.saturating_add(domain.memory))
}
