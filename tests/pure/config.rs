//! The configuration: which value is in effect, where it comes from, what is refused.

mod commands;
mod files;
mod precedence;

use crate::support::command::{Ran, foundry};
use crate::support::deadline::CommandInTime as _;
use foundry::config::{Config, ConfigFile, Inputs, SettingKey, parse_config, resolve_settings};
use foundry::error::Error;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const USER: &str = "/home/u/.config/foundry/config.yaml";

const SYSTEM: &str = "/etc/foundry/config.yaml";

/// Everything that can set something.
#[derive(Default)]
struct Setup {
    flags: BTreeMap<SettingKey, (String, String)>,
    context: Option<&'static str>,
    variables: Vec<(&'static str, &'static str)>,
    user: &'static str,
    system: &'static str,
}

impl Setup {
    fn resolved(&self) -> (Config, Vec<Error>) {
        let files: Vec<ConfigFile> = [(self.user, USER), (self.system, SYSTEM)]
            .map(|(text, path)| parse_config(text, Path::new(path)).unwrap())
            .into();
        let variable = |name: &str| {
            self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        resolve_settings(&Inputs {
            flags: &self.flags,
            context: self.context,
            variable: &variable,
            files: &files,
            default: &|key| key.default().map(str::to_owned),
        })
    }

    /// The value and the origin of a setting, where nothing is wrong.
    fn says(&self, key: SettingKey) -> (String, String) {
        let (config, wrong) = self.resolved();
        assert!(wrong.is_empty(), "{wrong:?}");
        let found = config.get(key).unwrap();
        (found.text.clone(), found.origin.to_string())
    }

    fn with_flag(mut self, key: SettingKey, flag: &str, value: &str) -> Self {
        self.flags.insert(key, (flag.into(), value.into()));
        self
    }
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

/// A home with a configuration in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        fs::write(home.file(), config).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/foundry/config.yaml")
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = foundry(args);
        command.env("HOME", self.0.path()).envs(variables.iter().copied());
        Ran::from(command.output_in_time().unwrap())
    }

    fn says(&self, args: &[&str]) -> String {
        let ran = self.run(args, &[]);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }
}
