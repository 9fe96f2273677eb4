//! The settings: where each value comes from, and which one is in effect.
//!
//! ```text
//!  flag ▸ variable ▸ context ▸ user's file ▸ system's file ▸ default          highest precedence first
//!                    └── ConfigFile: parse_config() of a text, with the line of each value
//! ```
//!
//! Nothing here reads the process's own state: flags, variables and files are passed in, so a [`Config`] is a function
//! of them. Programs that use the library can do without it and make [`Settings`](foundry_engine::Settings) themselves.

mod config_files;
mod edit;
mod file;
mod key;
mod resolve;
pub mod schema;

pub use config_files::{ConfigPlace, catalog_path, config_places, user_file};
pub use edit::{save_current_context, with_current_context};
pub(crate) use file::read_trusted;
pub use file::{ConfigFile, ContextName, load_file, parse_config, why_ignored};
pub use key::{COLOR_WORDS, OUTPUT_WORDS, PROGRESS_WORDS, SettingKey, VIRT_TYPE_WORDS};
pub use resolve::{Inputs, resolve_settings};

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use foundry_core::error::{Code, Error};

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingOrigin {
    /// A flag of the command line, with its dashes.
    Flag(String),
    /// A variable of the environment.
    Variable(&'static str),
    /// A line of a configuration file.
    File {
        /// Path of the configuration file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The context that contains it, if any.
        context: Option<ContextName>,
    },
    /// The built-in default.
    Default,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, context: None } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, context: Some(name) } => {
                write!(f, "{}:{line} (context {name})", path.display())
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value with its origin. A list is separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced {
    /// The value as it was written.
    pub text: String,
    /// The origin of the value.
    pub origin: SettingOrigin,
}

impl Sourced {
    /// The elements of a list.
    pub fn list_elements(&self) -> impl Iterator<Item = &str> {
        key::split_list(&self.text)
    }

    /// Parses the value into the type of the setting.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Configuration`] if it is invalid, with its origin.
    pub fn parse_value<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, Error> {
        self.text.parse().map_err(|e: T::Err| {
            Error::new(Code::SettingWrong, format!("{}: {:?} {e}", self.origin, self.text))
        })
    }
}

/// Contexts by name, each with its settings.
pub type Contexts = BTreeMap<ContextName, BTreeMap<SettingKey, Sourced>>;

/// All effective settings, with their origins.
#[derive(Debug, Clone, Default)]
pub struct Config {
    values: BTreeMap<SettingKey, Sourced>,
    /// The current context, if there is one.
    context: Option<Sourced>,
    contexts: Contexts,
}

impl Config {
    /// The value of a setting and its origin; `None` if it is not set and has no default.
    pub fn get(&self, key: SettingKey) -> Option<&Sourced> {
        self.values.get(&key)
    }

    /// The value of a setting as text; see [`get`](Self::get).
    pub fn setting_text(&self, key: SettingKey) -> Option<&str> {
        self.get(key).map(|value| value.text.as_str())
    }

    /// The values of a setting that is a list.
    pub fn list_values(&self, key: SettingKey) -> impl Iterator<Item = &str> {
        self.get(key).into_iter().flat_map(Sourced::list_elements)
    }

    /// The current context, if there is one.
    pub fn current_context(&self) -> Option<&Sourced> {
        self.context.as_ref()
    }

    /// The contexts of all files, by name, with their settings.
    pub fn all_contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Checks that a context exists.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Configuration`] if it does not, with the most similar name.
    pub fn check_context(&self, name: &str) -> Result<(), Error> {
        resolve::check_context("", name, &self.contexts)
    }
}
