//! From a file's bytes to manifests.

use super::VirtualMachine;

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's reason.
        cause: String,
    },
    /// The text is not a manifest.
    #[error("{file}: {message}")]
    NotAManifest {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        message: String,
    },
}

/// Reads all manifests of a YAML text; `file` is its name in messages.
///
/// # Errors
/// The first thing that YAML or the field names rule out, with line and column.
pub fn load(text: &str, file: &str) -> Result<Vec<VirtualMachine>, LoadError> {
    crate::yaml::read_all(text).map_err(|message| LoadError::NotAManifest { file: file.to_owned(), message })
}
