//! Reads the seed of a VM: what cloud-init got, and the secrets that only the seed has.

use foundry_core::cloud_init::{self, SeedFiles};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::CloudInit;
use foundry_core::record::{Owner, Record, VolumeRole, is_recorded};
use foundry_core::units::Bytes;

use super::inspect::VmView;
use crate::Context;

/// Reads the secrets of a VM from its seed volume, the only place on the host that has them, into the manifest. A
/// secret that is missing there, or differs from the recorded digest, stays in the list of omitted secrets.
///
/// # Errors
/// If the seed is gone or cannot be read.
pub fn add_secrets(context: &Context, seen: &mut VmView) -> Result<(), Error> {
    let mut missing = Vec::new();
    if let Owner::FirstFoundry(manifest) = &seen.owner {
        seen.vm.spec = manifest.spec.clone();
    } else if let Some(record) = seen.record().cloned().filter(|r| !r.secrets.is_empty()) {
        missing = add_from_seed(context, seen, &record)?;
    }
    if let Some(status) = &mut seen.vm.status {
        status.secrets_left_out = missing;
    }
    Ok(())
}

/// Fills in the secrets from the seed. Returns the paths of those that could not be restored.
fn add_from_seed(context: &Context, seen: &mut VmView, record: &Record) -> Result<Vec<String>, Error> {
    let seed = read_seed(context, record, &seen.domain.name)?;
    let cloud_init = seen.vm.spec.cloud_init.get_or_insert_default();
    Ok(fill_secrets(cloud_init, &seed, &record.secrets))
}

/// Fills in these secrets, given by their paths and digests, from the files of a seed. Returns the paths of those that
/// could not be restored.
pub(crate) fn fill_secrets<'a>(
    cloud_init: &mut CloudInit,
    seed: &SeedFiles,
    secrets: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<String> {
    let SeedFiles { user_data, network_config, meta_data, .. } = seed;
    let salt = cloud_init::read_salt(meta_data);
    let mut missing = Vec::new();
    for (path, recorded) in secrets {
        let same = |found: &String| is_recorded(found, recorded, salt.as_ref());
        let place = match path.as_str() {
            "spec.cloudInit.passwordHash" => {
                // The user's own user-data may have another hash, or none.
                cloud_init.password_hash =
                    cloud_init::read_seed_secrets(user_data).password_hash.filter(same);
                &cloud_init.password_hash
            }
            "spec.cloudInit.userData" => {
                // This is the merged document. Merging it with the generated one again does not change it.
                cloud_init.user_data = Some(user_data.clone());
                &cloud_init.user_data
            }
            "spec.cloudInit.rawUserData" => {
                cloud_init.raw_user_data = Some(user_data.clone()).filter(same);
                &cloud_init.raw_user_data
            }
            "spec.cloudInit.networkConfig" => {
                cloud_init.network_config = Some(network_config.clone()).filter(same);
                &cloud_init.network_config
            }
            _ => &None,
        };
        missing.extend(place.is_none().then(|| path.clone()));
    }
    missing
}

pub(crate) fn read_seed(context: &Context, record: &Record, name: &str) -> Result<SeedFiles, Error> {
    let failed = |cause: String| {
        Error::new(Code::SeedUnreadable, format!("the seed of VM '{name}' cannot be read")).because(cause)
    };
    let seed = record
        .volumes
        .iter()
        .find(|v| v.role == VolumeRole::Seed)
        .ok_or_else(|| failed("it was ejected".into()))?;
    let volume = context
        .host
        .volume(&seed.reference())?
        .ok_or_else(|| failed(format!("{} is gone", seed.reference())))?;
    // A block device may be larger than what was written to it.
    let is_device = volume.path.starts_with("/dev/");
    let size = if is_device { volume.capacity.min(seed.capacity) } else { volume.capacity };
    if size > LARGEST_SEED {
        return Err(failed(format!("it has {size}, more than a seed can have")));
    }
    let mut bytes = Vec::new();
    context.host.download(&seed.reference(), &mut bytes, size.0)?;
    cloud_init::read_iso(&bytes).map_err(|e| failed(e.to_string()))
}

/// The size limit for a seed. It contains the text of a manifest (at most 1 MiB) a few times.
const LARGEST_SEED: Bytes = Bytes(16 << 20);
