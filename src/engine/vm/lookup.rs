//! Finds a VM by the name that a user types.

use uuid::Uuid;

use crate::Context;
use crate::preflight::suggest_names;
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::names::VmName;
use foundry_host::Domain;

/// The domain of exactly that name. libvirt knows names that foundry would never give, with blanks and capitals: to
/// what changes something, another spelling is another VM. Where no domain has it, it may be one's UUID, as
/// virsh takes it: what a command to be copied has for a name in which something is not seen.
pub(crate) fn find_vm(context: &Context, name: &str) -> Result<Option<Domain>, Error> {
    if let Some(found) = context.host.domain(name)? {
        return Ok(Some(found));
    }
    let Ok(uuid) = name.parse::<Uuid>() else { return Ok(None) };
    Ok(context.host.domains(false)?.into_iter().find(|domain| domain.uuid == uuid))
}

/// For who only looks: the domain of that name; where there is none, the one that a manifest with that name makes.
pub(crate) fn find_vm_to_show(context: &Context, name: &str) -> Result<Option<Domain>, Error> {
    if let Some(found) = find_vm(context, name)? {
        return Ok(Some(found));
    }
    match VmName::parse_normalized(name) {
        Ok(normalized) if normalized.as_str() != name => find_vm(context, normalized.as_str()),
        _ => Ok(None),
    }
}

/// The error for a VM that was there when the work on it began.
pub(crate) fn removed_meanwhile(name: &str) -> Error {
    Error::new(Code::ChangedMeanwhile, format!("VM '{name}' was taken away by somebody else meanwhile"))
}

/// A failure, or, where the VM is gone by now, that: what libvirt says of a domain that it does not find helps
/// nobody, and what would finish the work is for nothing.
pub(crate) fn or_removed_meanwhile(context: &Context, domain: &Domain, error: Error) -> Error {
    let is_refusal = matches!(error.kind(), Kind::Vm | Kind::Storage);
    if is_refusal && is_gone(context, domain.uuid) { removed_meanwhile(&domain.name) } else { error }
}

/// Whether a domain surely is gone by now.
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
