//! Where configuration files are.

use std::path::{Path, PathBuf};

/// A configuration file that may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPlace {
    /// The file.
    pub path: PathBuf,
    /// Whether somebody named it: then it must be there.
    pub required: bool,
}

/// The system's configuration.
const SYSTEM: &str = "/etc/foundry/config.yaml";

/// The files that are read, the one that counts most first. One that is named (`--config`, `FOUNDRY_CONFIG`) takes the
/// place of all others.
pub fn config_places(named: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Vec<ConfigPlace> {
    if let Some(path) = named {
        return vec![ConfigPlace { path: path.to_owned(), required: true }];
    }
    let standard = [user_file(variable), Some(SYSTEM.into())];
    standard.into_iter().flatten().map(|path| ConfigPlace { path, required: false }).collect()
}

/// A user's own configuration; `None` if the user's home is unknown.
pub fn user_file(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    Some(user_folder(variable)?.join("config.yaml"))
}

/// Where a user's own catalogue is, unless it is set.
pub fn catalog_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    Some(user_folder(variable)?.join("catalog.yaml"))
}

/// `$XDG_CONFIG_HOME/foundry`, by the XDG Base Directory Specification: a relative path there is none.
fn user_folder(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    Some(base.or_else(|| Some(set("HOME")?.join(".config")))?.join("foundry"))
}
