//! Checks the host's memory, and how much of it is assigned to VMs.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::units::Bytes;
use foundry_host::Domain;

const NAME: &str = "memory";

/// With less free memory than this, even a small guest makes the host swap.
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
        HostCheck::warning(NAME, format!("running VMs are assigned {running}, but the host has only {all}"))
            .add_advice("stop some, or assign less: the host swaps, or kills a VM")
    } else if starting > all {
        HostCheck::warning(
            NAME,
            format!("the VMs that start with the host are assigned {starting}, but it has only {all}"),
        )
        .add_advice("virsh autostart --disable NAME disables autostart for one")
    } else if machine.free_memory > Bytes(0) && machine.free_memory < TOO_LITTLE {
        HostCheck::warning(NAME, format!("{} of {all} free", machine.free_memory))
            .add_advice("stop a VM, or other programs")
    } else {
        HostCheck::ok(NAME, format!("{all}, {running} assigned to running VMs"))
    }]
}

fn sum_memory<'a>(domains: impl Iterator<Item = &'a Domain>) -> Bytes {
    domains.fold(Bytes(0), |sum, domain| sum.saturating_add(domain.memory))
}
