//! Collects the facts from libvirt and this machine.

use std::path::Path;

use super::facts::{HostAnswer, HostFacts, answer_of, arch_of, virt_type_of};
use super::{interrupted, probe};
use crate::storage::status;
use crate::{Context, Settings};
use foundry_core::error::Error;
use foundry_host::local::{LocalFacts, is_session};
use foundry_host::{Capabilities, Network, Pool};

pub(super) fn gather_facts(context: &Context, probe: bool) -> Result<HostFacts, Error> {
    let host = context.host.as_ref();
    let capabilities = host.capabilities()?;
    let machine = answer_of(host.machine())?;
    let guest_machine = guest_machine(context, &capabilities)?;
    let probe = probe::run_probe(context, &capabilities, guest_machine.as_ref().ok(), probe)?;
    // Before the pools are read: it refreshes them, so their sizes are current.
    let storage = answer_of(status::storage_status(context))?;
    let mut pools = answer_of(host.pools())?;
    pools.iter_mut().for_each(|pools| pools.sort_by(|a, b| a.name.cmp(&b.name)));
    context.cancel.check()?;
    let local = host.is_local().then(|| {
        let targets = pool_directories(&context.settings, host.uri(), pools.as_deref().unwrap_or_default());
        LocalFacts::read(Path::new("/"), &targets)
    });
    let domains = answer_of(host.domains(false))?;
    Ok(HostFacts {
        interrupted: interrupted::find_interrupted(domains.as_deref().unwrap_or_default()),
        uri: host.uri().to_owned(),
        is_session: is_session(host.uri()),
        settings: Settings::clone(&context.settings),
        machine,
        guest_machine,
        pools,
        storage,
        domains,
        bridges: answer_of(host.bridges())?,
        networks: gather_networks(context)?,
        probe,
        local,
        capabilities,
    })
}

fn guest_machine(
    context: &Context,
    capabilities: &Capabilities,
) -> Result<HostAnswer<foundry_host::GuestMachine>, Error> {
    let Some(arch) = arch_of(capabilities) else {
        return Ok(Err(format!("the host's architecture {} is not supported", capabilities.arch)));
    };
    let Some(virt_type) = virt_type_of(&context.settings, capabilities) else {
        return Ok(Err(format!("the host cannot run {} guests", arch.as_str())));
    };
    answer_of(context.host.guest_machine(arch.as_str(), arch.machine_type(), virt_type.as_str()))
}

fn gather_networks(context: &Context) -> Result<HostAnswer<Vec<Network>>, Error> {
    let names = match answer_of(context.host.networks())? {
        Ok(names) => names,
        Err(why) => return Ok(Err(why)),
    };
    let mut networks = Vec::new();
    for name in names {
        if let Ok(Some(network)) = answer_of(context.host.network(&name))? {
            networks.push(network);
        }
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Ok(networks))
}

/// The directories of all pools, including default pools that do not exist yet.
fn pool_directories(settings: &Settings, uri: &str, pools: &[Pool]) -> Vec<String> {
    let missing = [&settings.vm_pool, &settings.image_pool].into_iter().map(|name| name.as_str());
    let missing = missing.filter(|name| !pools.iter().any(|pool| pool.name == *name));
    let planned = missing.filter_map(|name| settings.default_target(name, uri));
    let there = pools.iter().filter_map(|pool| pool.target.clone()).filter(|target| target.starts_with('/'));
    there.chain(planned).collect()
}
