//! Starts a VM from the memory of a warm image.

use std::path::Path;

use uuid::Uuid;

use super::guest_identity::renew_identity;
use crate::preflight::ReadyVm;
use crate::preflight::warm::ReadyMemory;
use crate::vm::blueprint::Blueprint;
use crate::{Context, Step};
use foundry_core::error::{Code, Error};
use foundry_core::record::VolumeRole;
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::libvirt_xml::edit::{interface_element, set_interface_state};
use foundry_host::libvirt_xml::edit_warm::{WarmIdentity, as_other_domain, unlinked_interface};
use foundry_host::{Domain, View};

/// Restores the memory as this VM's, and gives the guest its identity before it has a link.
pub(crate) fn start_from_memory(
    context: &Context,
    ready: &ReadyVm,
    memory: &ReadyMemory,
    blueprint: &Blueprint,
    uuid: Uuid,
) -> Result<(), Error> {
    let host = &context.host;
    let name = ready.plan.name.as_str();
    let failed = |why: String| {
        Error::new(Code::WarmStartFailed, format!("VM '{name}' cannot start from its warm image"))
            .because(why)
    };
    let absent = |what: &str| failed(format!("it has no {what}"));
    let definition = host.full_definition(uuid)?.ok_or_else(|| absent("definition"))?;
    let volume = |role| blueprint.record.volumes.iter().find(move |volume| volume.role == role);
    let boot = volume(VolumeRole::Boot).ok_or_else(|| absent("boot disk"))?;
    let copy = volume(VolumeRole::Memory).ok_or_else(|| absent("volume for its memory"))?;
    let nvram = match DomainDescription::read(&definition)?.nvram {
        Some(path) => Some(path),
        None => variables_beside(&memory.xml, name)?,
    };
    let identity = WarmIdentity {
        name,
        uuid,
        boot_disk: &boot.path,
        console_log: blueprint.record.console_log.as_deref(),
        nvram: nvram.as_deref(),
        record: &blueprint.record.to_text()?,
    };
    let xml = as_other_domain(&memory.xml, &identity)?;
    let header = memory.header.with_xml(&xml, &memory.cookie).map_err(|why| failed(why.to_string()))?;
    host.upload_all(&copy.reference(), &mut &*header, header.len() as u64)?;
    context.cancel.check()?;
    host.restore_memory(&copy.path)?;
    let domain = host.domain(name)?.filter(|domain| domain.uuid == uuid);
    let domain = domain.ok_or_else(|| failed("it ended at once".to_owned()))?;
    for interface in &ready.plan.interfaces {
        context.cancel.check()?;
        host.attach_interface_now(uuid, &unlinked_interface(&definition, &interface.mac.to_string())?)?;
    }
    context.report_started(Step::RenewIdentity);
    let (Some(plan), Some(key)) = (&ready.plan.warm, &blueprint.warm_key) else {
        return Err(absent("identity"));
    };
    renew_identity(context, &domain, plan, key)?;
    connect(context, ready, &domain)?;
    context.report_finished(Step::RenewIdentity);
    Ok(host.delete_volume(&copy.reference())?)
}

/// The file for the EFI variables if the definition leaves it to libvirt: in the same directory as those of the saved
/// domain, named as libvirt names it.
fn variables_beside(saved: &str, name: &str) -> Result<Option<String>, Error> {
    let saved = DomainDescription::read(saved)?.nvram;
    let directory = saved.as_deref().and_then(|path| Path::new(path).parent());
    Ok(directory.map(|directory| directory.join(format!("{name}_VARS.fd")).display().to_string()))
}

/// Connects the interfaces of a guest that is itself by now.
fn connect(context: &Context, ready: &ReadyVm, domain: &Domain) -> Result<(), Error> {
    let host = &context.host;
    for interface in &ready.plan.interfaces {
        let mac = interface.mac.to_string();
        let xml = host.domain_xml(domain.uuid, View::Current)?.unwrap_or_default();
        let changed = set_interface_state(&xml, &mac, true)?;
        if let Some(element) = interface_element(&changed, &mac)? {
            host.update_interface_now(domain.uuid, element)?;
        }
    }
    Ok(())
}
