//! Makes the seed of a repaved VM.
//!
//! The secrets (password hash, user data) are in the old seed only. So the new seed has the old one's files, with a new
//! instance-id, by which cloud-init sets the guest up again. The guest keeps its SSH host key, and known_hosts stays
//! valid.

use std::collections::BTreeMap;

use uuid::Uuid;

use foundry_core::cloud_init::{self, SeedFiles, append_salt, read_salt};
use foundry_core::error::{Code, Error};
use foundry_core::plan::{SeedPlan, VmPlan};
use foundry_core::record::{Salt, SshAccess};

use crate::Context;
use crate::vm::blueprint::{make_seed, seed_failed};
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::seed_content::read_seed;

/// The seed of a repaved VM, and what the record says about it.
pub(super) struct NewSeed {
    pub(super) iso: Vec<u8>,
    pub(super) instance_id: String,
    pub(super) ssh: Option<SshAccess>,
    pub(super) secrets: BTreeMap<String, String>,
}

/// Makes the new seed of a VM that keeps its manifest; `None` if the VM is to have none.
///
/// # Errors
/// If the old seed had secrets and cannot be read.
pub(super) fn plan_seed(
    context: &Context,
    handle: &VmHandle,
    target: &VmPlan,
) -> Result<Option<NewSeed>, Error> {
    let Some(seed) = &target.seed else { return Ok(None) };
    let instance_id = format!("{}-{}", target.name, Uuid::new_v4());
    if handle.record.instance_id.is_some() && !handle.record.is_seed_gone() {
        return copy_seed(context, handle, (target, seed), instance_id).map(Some);
    }
    if let Some(secret) = handle.record.secrets.keys().next() {
        let message = format!("the seed of VM '{}' was ejected, and with it {secret}", handle.name());
        return Err(refused_unchanged(Code::SeedUnreadable, message)
            .because("a new seed would not have it, and the record has its digest only"));
    }
    let made = make_seed(target, &instance_id, &Salt::generate(), None)?;
    Ok(made.map(|(iso, ssh)| NewSeed { iso, instance_id, ssh: Some(ssh), secrets: BTreeMap::new() }))
}

/// The files of the old seed for a new instance.
fn copy_seed(
    context: &Context,
    handle: &VmHandle,
    (target, seed): (&VmPlan, &SeedPlan),
    instance_id: String,
) -> Result<NewSeed, Error> {
    let old = read_seed(context, &handle.record, handle.name()).map_err(Error::unchanged)?;
    let failed = |cause: &dyn ToString| seed_failed(target, cause.to_string());
    let new = cloud_init::build_seed_files(target, seed, &instance_id).map_err(|e| failed(&e))?;
    let meta_data = match read_salt(&old.meta_data) {
        Some(salt) => append_salt(&new.meta_data, &salt),
        None => new.meta_data,
    };
    let iso = cloud_init::write_iso(&SeedFiles { meta_data, ..old }).map_err(|e| failed(&e))?;
    let record = &handle.record;
    Ok(NewSeed { iso, instance_id, ssh: record.ssh.clone(), secrets: record.secrets.clone() })
}
