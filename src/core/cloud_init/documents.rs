//! Makes the three files of a seed from a plan.

use super::check::SeedError;
use super::meta_data::build_meta_data;
use super::network_config::build_network_config;
use super::user_data::build_user_data;
use crate::plan::{SeedPlan, VmPlan};

/// The three files of a NoCloud seed (cloud-init's NoCloud page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFiles {
    /// `user-data`.
    pub user_data: String,
    /// `meta-data`.
    pub meta_data: String,
    /// `network-config`: version 2, or what the user gave.
    pub network_config: String,
}

/// Makes the seed's files for one instance of a VM; the same plan and id give the same text.
///
/// # Errors
/// Where the user's own cloud-config cannot be merged; [`super::check_user_data`] says so beforehand.
pub fn build_seed_files(plan: &VmPlan, seed: &SeedPlan, instance_id: &str) -> Result<SeedFiles, SeedError> {
    Ok(SeedFiles {
        user_data: build_user_data(seed)?,
        meta_data: build_meta_data(instance_id, &seed.hostname),
        network_config: match &seed.network_config {
            Some(own) => own.clone(),
            None => build_network_config(&plan.interfaces),
        },
    })
}
