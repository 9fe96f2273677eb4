//! Collects the facts from libvirt and this machine.

use std::path::Path;

use super::facts::{Facts, Said, arch_of, said, virt_type_of};
use super::local::Local;
use super::trial;
use crate::context::is_session;
use crate::storage::status;
use crate::{Context, Settings};
use foundry_core::error::Error;
use foundry_host::{Capabilities, Network, Pool};

pub(super) fn facts(context: &Context, probe: bool) -> Result<Facts, Error> {
    let host = context.host.as_ref();
    let capabilities = host.capabilities()?;
    let machine = said(host.machine())?;
    let guest_machine = guest_machine(context, &capabilities)?;
    let trial = trial::run(context, &capabilities, guest_machine.as_ref().ok(), probe)?;
    let storage = said(status::status(context))?;
    let mut pools = said(host.pools())?;
    pools.iter_mut().for_each(|pools| pools.sort_by(|a, b| a.name.cmp(&b.name)));
    context.cancel.check()?;
    let local = host.is_local().then(|| {
        let targets = targets(&context.settings, host.uri(), pools.as_deref().unwrap_or_default());
        Local::read(Path::new("/"), &targets)
    });
    Ok(Facts {
        uri: host.uri().to_owned(),
        is_session: is_session(host.uri()),
        settings: Settings::clone(&context.settings),
        machine,
        guest_machine,
        pools,
        storage,
        domains: said(host.domains(false))?,
        bridges: said(host.bridges())?,
        networks: networks(context)?,
        trial,
        local,
        capabilities,
    })
}

fn guest_machine(
    context: &Context,
    capabilities: &Capabilities,
) -> Result<Said<foundry_host::GuestMachine>, Error> {
    let Some(arch) = arch_of(capabilities) else {
        return Ok(Err(format!("the host's architecture {} is not supported", capabilities.arch)));
    };
    let Some(virt_type) = virt_type_of(&context.settings, capabilities) else {
        return Ok(Err(format!("the host cannot run {} guests", arch.as_str())));
    };
    said(context.host.guest_machine(arch.as_str(), arch.machine_type(), virt_type.as_str()))
}

fn networks(context: &Context) -> Result<Said<Vec<Network>>, Error> {
    let names = match said(context.host.networks())? {
        Ok(names) => names,
        Err(why) => return Ok(Err(why)),
    };
    let mut networks = Vec::new();
    for name in names {
        if let Ok(Some(network)) = said(context.host.network(&name))? {
            networks.push(network);
        }
    }
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Ok(networks))
}

/// The directories of the pools, those included that are made on first use.
fn targets(settings: &Settings, uri: &str, pools: &[Pool]) -> Vec<String> {
    let missing = [&settings.vm_pool, &settings.image_pool].into_iter().map(|name| name.as_str());
    let missing = missing.filter(|name| !pools.iter().any(|pool| pool.name == *name));
    let planned = missing.filter_map(|name| settings.default_target(name, uri));
    let there = pools.iter().filter_map(|pool| pool.target.clone()).filter(|target| target.starts_with('/'));
    there.chain(planned).collect()
}
