//! The settings of this run: flags, environment and configuration files merged.

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::config::{self, Config, ConfigFile, Inputs, Key, Origin, Sourced};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Error;
use foundry_core::units::parse_duration;
use foundry_engine::{Settings, is_root};

/// The flags of all settings that every command takes, as far as they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct SettingArgs {
    flags: BTreeMap<Key, (String, String)>,
    context: Option<String>,
    config: Option<PathBuf>,
    found: OnceLock<Found>,
}

/// Where help shows what every command takes.
pub(super) const HEADING: &str = "Global options";

/// The flag of a setting, and what its value is called; command-specific flags are declared by their command.
fn flag(key: Key) -> Option<(&'static str, &'static str)> {
    match key {
        Key::Connect => Some(("connect", "URI")),
        Key::VmPool => Some(("vm-pool", "POOL")),
        Key::ImagePool => Some(("image-pool", "POOL")),
        Key::StoragePath => Some(("storage-path", "DIR")),
        Key::VirtType => Some(("virt-type", "VIRT_TYPE")),
        Key::Bridge => Some(("bridge", "BRIDGE")),
        Key::DnsServers => Some(("dns-servers", "IP,IP")),
        Key::Catalog => Some(("catalog", "FILE")),
        Key::CallTimeout => Some(("call-timeout", "TIME")),
        Key::Color => Some(("color", "WHEN")),
        Key::Progress => Some(("progress", "FORM")),
        Key::WaitTimeout | Key::DestroyTimeout | Key::DetachTimeout | Key::Output => None,
    }
}

/// The default as the help shows it.
fn default_in_words(key: Key) -> Option<&'static str> {
    match key {
        Key::Connect => Some("LIBVIRT_DEFAULT_URI, else qemu:///system as root, else qemu:///session"),
        Key::StoragePath => Some("libvirt's own for images"),
        Key::Catalog => Some("~/.config/foundry/catalog.yaml"),
        _ => key.default(),
    }
}

fn argument(key: Key, (name, value): (&'static str, &'static str)) -> Arg {
    let default = default_in_words(key).map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let arg = Arg::new(name)
        .long(name)
        .short((key == Key::Connect).then_some('c'))
        .global(true)
        .help_heading(HEADING)
        .value_name(value)
        .help(format!("{}{default}", key.meaning()))
        .env(key.variables()[0])
        .hide_env_values(true);
    match (key, key.words()) {
        (_, Some(words)) => arg.value_parser(PossibleValuesParser::new(words)),
        // Their errors are those of a configuration.
        (Key::Connect | Key::StoragePath, None) => arg,
        (_, None) => arg.value_parser(move |text: &str| key.check(text).map(|()| text.to_owned())),
    }
}

fn flags() -> impl Iterator<Item = (Key, (&'static str, &'static str))> {
    Key::ALL.into_iter().filter_map(|key| Some((key, flag(key)?)))
}

impl clap::Args for SettingArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let context = Arg::new("context")
            .long("context")
            .global(true)
            .help_heading(HEADING)
            .value_name("CONTEXT")
            .help("Connect as this context of the configuration says")
            .env("FOUNDRY_CONTEXT")
            .hide_env_values(true);
        let config = Arg::new("config")
            .long("config")
            .global(true)
            .help_heading(HEADING)
            .value_name("FILE")
            .help("Use only this configuration file")
            .env("FOUNDRY_CONFIG")
            .hide_env_values(true)
            .value_parser(clap::value_parser!(PathBuf));
        flags().fold(command, |command, (key, flag)| command.arg(argument(key, flag))).args([context, config])
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingArgs {
    fn from_arg_matches(given: &ArgMatches) -> Result<Self, clap::Error> {
        // The environment is the configuration's to read: what it says counts less than a flag.
        let on_command_line = |name: &str| {
            let source = given.value_source(name);
            // Raw, since a command may have a flag of that name with a type of its own.
            let value = given.get_raw(name).filter(|_| source == Some(ValueSource::CommandLine));
            Some(value?.next_back()?.to_string_lossy().into_owned())
        };
        let flags =
            flags().filter_map(|(key, (name, _))| Some((key, (format!("--{name}"), on_command_line(name)?))));
        Ok(Self {
            flags: flags.collect(),
            context: on_command_line("context"),
            config: given.get_one("config").cloned(),
            found: OnceLock::new(),
        })
    }

    fn update_from_arg_matches(&mut self, given: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(given)?;
        Ok(())
    }
}

impl SettingArgs {
    /// What counts; it is found when it is first asked for.
    pub(super) fn found(&self) -> &Found {
        self.found.get_or_init(|| Found::find(self))
    }

    /// The configuration that was named in the place of all others.
    pub(super) fn named_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// The default of a setting, for this user.
fn default(key: Key) -> Option<String> {
    match key {
        Key::Connect => Some(if is_root() { "qemu:///system" } else { "qemu:///session" }.to_owned()),
        Key::Catalog => config::catalog_path(variable).map(|path| path.display().to_string()),
        _ => key.default().map(str::to_owned),
    }
}

pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The catalogue in effect if none is named.
fn default_catalog(config: &Config) -> Option<PathBuf> {
    let file = config.get(Key::Catalog).filter(|file| file.origin == Origin::Default)?;
    Some(PathBuf::from(&file.text))
}

/// What counts for this run, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    config: Config,
    wrong: Vec<Error>,
    /// Files that count as if they were not there, and why.
    ignored: Vec<String>,
}

impl Found {
    /// Reads the configuration files, and finds what counts.
    fn find(args: &SettingArgs) -> Self {
        let places = config::places(args.named_file(), variable);
        let read = places.iter().map(config::load);
        let (files, broken): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let files: Vec<ConfigFile> = files.into_iter().filter_map(Result::ok).collect();
        let inputs = Inputs {
            flags: &args.flags,
            context: args.context.as_deref(),
            variable: &variable,
            files: &files,
            default: &default,
        };
        let (config, wrong) = config::resolve(&inputs);
        let broken = broken.into_iter().filter_map(Result::err);
        let unnamed = places.iter().filter(|place| !place.required).map(|place| place.path.clone());
        let ignored = unnamed.chain(default_catalog(&config)).filter_map(|path| config::ignored(&path));
        Self { ignored: ignored.collect(), wrong: broken.chain(wrong).collect(), config }
    }

    /// What of the user's files is ignored, in words.
    pub(super) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The user's catalogue. The one that nobody named is none where another user decides what it says.
    pub(super) fn catalog(&self) -> Option<PathBuf> {
        let file = self.config.text(Key::Catalog).map(PathBuf::from)?;
        let is_ignored = default_catalog(&self.config).is_some_and(|path| config::ignored(&path).is_some());
        (!is_ignored).then_some(file)
    }

    /// What counts.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// # Errors
    /// All that is wrong with the configuration, as one.
    pub(super) fn check(&self) -> Result<(), Error> {
        Error::combine(&self.wrong).map_or(Ok(()), Err)
    }

    /// The settings for operations.
    ///
    /// # Errors
    /// None that [`check`](Self::check) does not have.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        let built_in = Settings::default();
        let pool = |key| self.config.get(key).map(Sourced::parse).transpose();
        let name_server = |one: &str| one.parse::<IpAddr>().ok();
        Ok(Settings {
            vm_pool: pool(Key::VmPool)?.unwrap_or(built_in.vm_pool),
            image_pool: pool(Key::ImagePool)?.unwrap_or(built_in.image_pool),
            storage_path: self.config.text(Key::StoragePath).map(str::to_owned),
            virt_type: match self.config.text(Key::VirtType) {
                Some("kvm") => Some(VirtType::Kvm),
                Some("qemu") => Some(VirtType::Qemu),
                _ => None,
            },
            bridge: self.config.get(Key::Bridge).map(Sourced::parse).transpose()?,
            dns: self.config.list(Key::DnsServers).filter_map(name_server).collect(),
            catalog: self.config.text(Key::Catalog).map(PathBuf::from),
        })
    }

    /// libvirt's URI.
    pub(super) fn uri(&self) -> String {
        self.config.text(Key::Connect).unwrap_or_default().to_owned()
    }

    /// A time; it was judged when it was read.
    pub(super) fn timeout(&self, key: Key) -> Duration {
        self.config.text(key).and_then(|text| parse_duration(text).ok()).unwrap_or_default()
    }
}
