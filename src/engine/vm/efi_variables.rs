//! The file with a domain's EFI variables.
//!
//! Older versions of libvirt leave its path out of the definition and derive it from the name at each start, so a renamed
//! domain would start with new variables and leave the old file behind. Newer ones write the path into the definition.

use crate::Context;
use crate::preflight::stale_variables::derived_path;
use crate::vm::lookup::removed_meanwhile;
use foundry_core::error::{Code, Error};
use foundry_host::libvirt_xml::edit;
use foundry_host::{Domain, View};

/// Writes the path of the file into the definition of a domain that is off, unless it is there.
///
/// # Errors
/// If the path is unknown, or the host refuses.
pub(crate) fn keep_file(context: &Context, domain: &Domain) -> Result<(), Error> {
    let described = context.host.describe(domain.uuid, View::Config)?;
    let described = described.ok_or_else(|| removed_meanwhile(&domain.name))?;
    if described.firmware.as_deref() != Some("efi") || described.nvram.is_some() {
        return Ok(());
    }
    let Some(path) = derived_path(context, &domain.name) else {
        let message = format!("VM '{}' cannot be renamed", domain.name);
        return Err(Error::new(Code::ChangeRefused, message)
            .because("libvirt does not say where its EFI variables are, and would start it with new ones"));
    };
    let full = context.host.full_definition(domain.uuid)?;
    let full = full.ok_or_else(|| removed_meanwhile(&domain.name))?;
    context.cancel.check()?;
    context.host.define_domain(&edit::set_nvram(&full, &path)?)?;
    Ok(())
}
