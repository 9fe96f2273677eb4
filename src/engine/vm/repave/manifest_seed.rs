//! Makes the seed of a VM that is repaved from a manifest.
//!
//! The manifest may leave out secrets, as `get` does; the VM keeps those, and only its old seed has them. The guest keeps
//! its SSH host key, too.

use uuid::Uuid;

use foundry_core::cloud_init::{self, SeedFiles};
use foundry_core::error::{Code, Error};
use foundry_core::plan::VmPlan;
use foundry_core::record::{Salt, split_secrets};

use super::new_seed::NewSeed;
use crate::Context;
use crate::change::{RepavedManifest, recorded_defaults};
use crate::vm::blueprint::{KnownHostKey, make_seed};
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::seed_content::{fill_secrets, read_seed};

const USER_DATA: &str = "spec.cloudInit.userData";
const RAW_USER_DATA: &str = "spec.cloudInit.rawUserData";

/// The fields that are merged with the user's own user-data.
const MERGED: [&str; 4] = ["fqdn", "sshAuthorizedKeys", "sshPwauth", "passwordHash"];

/// Makes the new seed; `None` if the VM is to have none.
///
/// # Errors
/// If the manifest leaves out a secret that cannot be kept.
pub(super) fn plan_manifest_seed(
    context: &Context,
    handle: &VmHandle,
    repaved: &RepavedManifest,
) -> Result<Option<NewSeed>, Error> {
    if repaved.plan.seed.is_none() {
        return Ok(None);
    }
    let has_old = handle.record.instance_id.is_some() && !handle.record.is_seed_gone();
    let old = match has_old {
        true => Some(read_seed(context, &handle.record, handle.name()).map_err(Error::unchanged)?),
        false => None,
    };
    let mut plan = repaved.plan.clone();
    let kept = kept_secrets(handle, &repaved.plan);
    if !kept.is_empty() {
        plan = with_kept_secrets(context, handle, repaved, (old.as_ref(), &kept))?;
    }
    let salt = old.as_ref().and_then(|old| cloud_init::read_salt(&old.meta_data));
    let salt = salt.unwrap_or_else(Salt::generate);
    let instance_id = format!("{}-{}", plan.name, Uuid::new_v4());
    let made = make_seed(&plan, &instance_id, &salt, old.and_then(|old| known_host_key(handle, old)))?;
    let (_, all) = split_secrets(&plan.manifest);
    let digest = |path: &String, secret: &String| {
        let recorded = handle.record.secrets.get(path).filter(|_| kept.contains(path));
        recorded.cloned().unwrap_or_else(|| salt.digest_secret(secret))
    };
    let secrets = all.iter().map(|(path, secret)| (path.clone(), digest(path, secret))).collect();
    Ok(made.map(|(iso, ssh)| NewSeed { iso, instance_id, ssh: Some(ssh), secrets }))
}

/// The recorded secrets that the manifest leaves out. One kind of user-data replaces the other.
fn kept_secrets(handle: &VmHandle, plan: &VmPlan) -> Vec<String> {
    let (_, given) = split_secrets(&plan.manifest);
    let has_own = given.contains_key(USER_DATA) || given.contains_key(RAW_USER_DATA);
    let is_replaced = |path: &str| has_own && [USER_DATA, RAW_USER_DATA].contains(&path);
    let left_out = handle.record.secrets.keys().filter(|path| !given.contains_key(*path));
    left_out.filter(|path| !is_replaced(path)).cloned().collect()
}

/// The plan with the secrets that the manifest leaves out, from the old seed.
fn with_kept_secrets(
    context: &Context,
    handle: &VmHandle,
    repaved: &RepavedManifest,
    (old, kept): (Option<&SeedFiles>, &[String]),
) -> Result<VmPlan, Error> {
    let refused = |path: &str, why: &str| {
        let message = format!("the manifest of VM '{}' leaves out {path}", handle.name());
        refused_unchanged(Code::SeedUnreadable, message).because(why).hint("write it into the manifest")
    };
    let is_merged = |path: &str| MERGED.iter().any(|field| path == format!("spec.cloudInit.{field}"));
    let changed = repaved.fields.iter().find(|field| is_merged(&field.path));
    if let Some(changed) = changed.filter(|_| kept.iter().any(|path| path == USER_DATA)) {
        let why = format!("in the old seed it is merged with {}, which changes", changed.path);
        return Err(refused(USER_DATA, &why));
    }
    let Some(old) = old else {
        let path = kept.first().map_or(USER_DATA, String::as_str);
        return Err(refused(path, "the seed that had it was ejected"));
    };
    let mut manifest = repaved.plan.manifest.clone();
    let recorded = handle.record.secrets.iter().filter(|(path, _)| kept.contains(path));
    let missing = fill_secrets(manifest.spec.cloud_init.get_or_insert_default(), old, recorded);
    if let Some(path) = missing.first() {
        return Err(refused(path, "the old seed does not have it any more"));
    }
    VmPlan::from_manifest(&manifest, &recorded_defaults(&context.settings))
        .map_err(|problems| Error::from(problems).unchanged())
}

/// The host key that foundry made for the guest, from the old seed.
fn known_host_key(handle: &VmHandle, old: SeedFiles) -> Option<KnownHostKey> {
    let public = handle.record.ssh.as_ref()?.host_keys.first()?.clone();
    Some(KnownHostKey { vendor_data: old.vendor_data?, public })
}
