//! Creates the files of a seed from a plan.

use super::check::SeedError;
use super::meta_data::build_meta_data;
use super::network_config::build_network_config;
use super::user_data::build_user_data;
use crate::plan::{SeedPlan, VmPlan};

/// The files of a NoCloud seed (cloud-init's NoCloud page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFiles {
    /// Content of `user-data`.
    pub user_data: String,
    /// Content of `meta-data`.
    pub meta_data: String,
    /// Content of `network-config`: version 2, or the user's own.
    pub network_config: String,
    /// Content of `vendor-data`, with the guest's host key; `None` if the seed has no such file. cloud-init merges it
    /// below the user-data, whatever the format of that is.
    pub vendor_data: Option<String>,
}

/// Creates the seed's files for one instance of a VM, without vendor-data. The same plan and id give the same text.
///
/// # Errors
/// The user's cloud-config cannot be merged. [`super::check_user_data`] detects this earlier.
pub fn build_seed_files(plan: &VmPlan, seed: &SeedPlan, instance_id: &str) -> Result<SeedFiles, SeedError> {
    Ok(SeedFiles {
        user_data: build_user_data(seed)?,
        meta_data: build_meta_data(instance_id, &seed.hostname),
        network_config: match &seed.network_config {
            Some(own) => own.clone(),
            None => build_network_config(&plan.interfaces),
        },
        vendor_data: None,
    })
}
