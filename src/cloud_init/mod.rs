//! The seed: what cloud-init is told, and the ISO 9660 image that carries it.

/// The three files of a NoCloud seed (cloud-init's NoCloud page).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// `user-data`.
    pub user_data: String,
    /// `meta-data`.
    pub meta_data: String,
    /// `network-config`, version 2.
    pub network_config: String,
}
