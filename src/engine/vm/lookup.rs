//! Finds a VM by the name that a user types.

use uuid::Uuid;

use crate::Context;
use crate::preflight::suggest_names;
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::names::VmName;
use foundry_host::Domain;

/// Finds the domain with exactly that name, for commands that change it. libvirt permits names that foundry would not
/// give, with spaces and capitals, so another spelling is another VM. If no domain has the name, it is tried as a UUID,
/// as virsh does; advice uses the UUID if a name has invisible characters.
pub(crate) fn find_vm(context: &Context, name: &str) -> Result<Option<Domain>, Error> {
    if let Some(found) = context.host.domain(name)? {
        return Ok(Some(found));
    }
    let Ok(uuid) = name.parse::<Uuid>() else { return Ok(None) };
    Ok(context.host.domains(false)?.into_iter().find(|domain| domain.uuid == uuid))
}

/// Finds a domain for commands that only show it: by its name, else by the name that a manifest with it would get.
pub(crate) fn find_vm_to_show(context: &Context, name: &str) -> Result<Option<Domain>, Error> {
    if let Some(found) = find_vm(context, name)? {
        return Ok(Some(found));
    }
    match VmName::parse_normalized(name) {
        Ok(normalized) if normalized.as_str() != name => find_vm(context, normalized.as_str()),
        _ => Ok(None),
    }
}

/// The error for a VM that was deleted by another process during the operation.
pub(crate) fn removed_meanwhile(name: &str) -> Error {
    Error::new(Code::ChangedMeanwhile, format!("VM '{name}' was deleted by another process meanwhile"))
}

/// Replaces a failure if its cause is that the VM is gone: libvirt's message about a missing domain does not help, and
/// there is nothing left to finish.
pub(crate) fn or_removed_meanwhile(context: &Context, domain: &Domain, error: Error) -> Error {
    let is_refusal = matches!(error.kind(), Kind::Vm | Kind::Storage);
    if is_refusal && is_gone(context, domain.uuid) { removed_meanwhile(&domain.name) } else { error }
}

/// Returns whether a domain is certainly gone.
pub(crate) fn is_gone(context: &Context, domain: Uuid) -> bool {
    matches!(context.host.state(domain), Ok(None))
}

/// The error for a name that no domain has.
pub(crate) fn vm_not_found(context: &Context, name: &str) -> Result<Error, Error> {
    let names: Vec<String> = context.host.domains(false)?.into_iter().map(|d| d.name).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = Error::new(Code::VmMissing, format!("there is no VM '{name}'"));
    Ok(match foundry_core::names::find_nearest(name, known.iter().copied()) {
        Some(near) => error.hint(suggest_names(name, &[near])),
        None => error.hint(Advice::from(Verb::ListAll).text(" shows all VMs")),
    })
}
