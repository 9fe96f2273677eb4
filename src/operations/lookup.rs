//! A VM by the name that a user types.

use uuid::Uuid;

use super::Session;
use super::preflight::alternatives;
use crate::error::{Code, Error, Kind};
use crate::host::Domain;

/// The domain of that name; else of the name in lower case, which foundry makes of a manifest's.
pub(super) fn find(session: &Session<'_>, name: &str) -> Result<Option<Domain>, Error> {
    let lower = name.trim().to_lowercase();
    match session.host.domain(name.trim())? {
        None if lower != name.trim() => Ok(session.host.domain(&lower)?),
        found => Ok(found),
    }
}

/// The error for a VM that was there when the work on it began.
pub(super) fn taken_away(name: &str) -> Error {
    Error::new(Code::ChangedMeanwhile, format!("VM '{name}' was taken away by somebody else meanwhile"))
}

/// A failure, or, where the VM is gone by now, that: what libvirt says of a domain that it does not find helps
/// nobody, and what would finish the work is for nothing.
pub(super) fn or_taken_away(session: &Session<'_>, domain: &Domain, error: Error) -> Error {
    let is_refusal = matches!(error.kind(), Kind::Vm | Kind::Storage);
    if is_refusal && is_taken_away(session, domain.uuid) { taken_away(&domain.name) } else { error }
}

/// Whether a domain surely is gone by now.
pub(super) fn is_taken_away(session: &Session<'_>, domain: Uuid) -> bool {
    matches!(session.host.state(domain), Ok(None))
}

/// The error for a name that no domain has.
pub(super) fn absent(session: &Session<'_>, name: &str) -> Result<Error, Error> {
    let names: Vec<String> = session.host.domains(false)?.into_iter().map(|d| d.name).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = Error::new(Code::VmMissing, format!("there is no VM '{name}'"));
    Ok(match crate::names::nearest(name, known.iter().copied()) {
        Some(near) => error.hint(alternatives(name, &[near])),
        None => error.hint("foundry list --all shows all VMs"),
    })
}
