//! Where configuration files are.

use std::path::{Path, PathBuf};

/// A configuration file that may exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPlace {
    /// Absolute path, or as the user typed it.
    pub path: PathBuf,
    /// Whether the user named it. Then it must exist.
    pub required: bool,
}

/// The configuration of the machine, for all users.
const SYSTEM: &str = "/etc/foundry/config.yaml";

/// The files to read, in order of precedence. A named file (`--config`, `FOUNDRY_CONFIG`) replaces all others.
pub fn config_places(named: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Vec<ConfigPlace> {
    if let Some(path) = named {
        return vec![ConfigPlace { path: path.to_owned(), required: true }];
    }
    let standard = [user_file(variable), Some(SYSTEM.into())];
    standard.into_iter().flatten().map(|path| ConfigPlace { path, required: false }).collect()
}

/// The user's configuration; `None` if the home directory is unknown.
pub fn user_file(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    Some(user_folder(variable)?.join("config.yaml"))
}

/// The default path of the user's catalogue.
pub fn catalog_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    Some(user_folder(variable)?.join("catalog.yaml"))
}

/// `$XDG_CONFIG_HOME/foundry`, where a relative path is ignored (XDG Base Directory Specification).
fn user_folder(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    Some(base.or_else(|| Some(set("HOME")?.join(".config")))?.join("foundry"))
}
