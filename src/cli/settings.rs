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

use crate::config::{self, Config, ConfigFile, Inputs, SettingKey, SettingOrigin, Sourced};
use foundry_core::domain_xml::VirtType;
use foundry_core::error::Error;
use foundry_core::units::parse_duration;
use foundry_engine::Settings;
use foundry_host::local::is_root;

/// The global options that set something, as far as they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct SettingArgs {
    flags: BTreeMap<SettingKey, (String, String)>,
    context: Option<String>,
    config: Option<PathBuf>,
    found: OnceLock<ResolvedSettings>,
}

/// The heading of the global options in the help.
pub(super) const HEADING: &str = "Global options";

/// The flag of a setting and the name of its value. Command-specific flags are declared by their command.
fn flag_of(key: SettingKey) -> Option<(&'static str, &'static str)> {
    match key {
        SettingKey::Connect => Some(("connect", "URI")),
        SettingKey::VmPool => Some(("vm-pool", "POOL")),
        SettingKey::ImagePool => Some(("image-pool", "POOL")),
        SettingKey::StoragePath => Some(("storage-path", "DIR")),
        SettingKey::VirtType => Some(("virt-type", "VIRT_TYPE")),
        SettingKey::Bridge => Some(("bridge", "BRIDGE")),
        SettingKey::DnsServers => Some(("dns-servers", "IP,IP")),
        SettingKey::Catalog => Some(("catalog", "FILE")),
        SettingKey::CallTimeout => Some(("call-timeout", "TIME")),
        SettingKey::Color => Some(("color", "WHEN")),
        SettingKey::Progress => Some(("progress", "FORM")),
        SettingKey::WaitTimeout
        | SettingKey::DestroyTimeout
        | SettingKey::DetachTimeout
        | SettingKey::Output => None,
    }
}

/// The default of a setting, as the help describes it.
fn default_in_words(key: SettingKey) -> Option<&'static str> {
    match key {
        SettingKey::Connect => Some("LIBVIRT_DEFAULT_URI, else qemu:///system as root, else qemu:///session"),
        SettingKey::StoragePath => Some("libvirt's own for images"),
        SettingKey::Catalog => Some("~/.config/foundry/catalog.yaml"),
        _ => key.default(),
    }
}

fn build_argument(key: SettingKey, (name, value): (&'static str, &'static str)) -> Arg {
    let default = default_in_words(key).map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let arg = Arg::new(name)
        .long(name)
        .short((key == SettingKey::Connect).then_some('c'))
        .global(true)
        .help_heading(HEADING)
        .value_name(value)
        .help(format!("{}{default}", key.help_text()))
        .env(key.env_variables()[0])
        .hide_env_values(true);
    match (key, key.allowed_words()) {
        (_, Some(words)) => arg.value_parser(PossibleValuesParser::new(words)),
        // These are checked as settings, with the errors of a configuration.
        (SettingKey::Connect | SettingKey::StoragePath, None) => arg,
        (_, None) => arg.value_parser(move |text: &str| key.check_value(text).map(|()| text.to_owned())),
    }
}

fn all_flags() -> impl Iterator<Item = (SettingKey, (&'static str, &'static str))> {
    SettingKey::ALL.into_iter().filter_map(|key| Some((key, flag_of(key)?)))
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
        all_flags()
            .fold(command, |command, (key, flag)| command.arg(build_argument(key, flag)))
            .args([context, config])
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingArgs {
    fn from_arg_matches(given: &ArgMatches) -> Result<Self, clap::Error> {
        // Only flags are taken here. The environment has a lower precedence and is read with the configuration.
        let on_command_line = |name: &str| {
            let source = given.value_source(name);
            // Raw, because a command may have a flag of that name with another type.
            let value = given.get_raw(name).filter(|_| source == Some(ValueSource::CommandLine));
            Some(value?.next_back()?.to_string_lossy().into_owned())
        };
        let flags = all_flags()
            .filter_map(|(key, (name, _))| Some((key, (format!("--{name}"), on_command_line(name)?))));
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
    /// The merged settings, computed at the first call.
    pub(super) fn resolved(&self) -> &ResolvedSettings {
        self.found.get_or_init(|| ResolvedSettings::resolve_from(self))
    }

    /// The file given with `--config`, which replaces all others.
    pub(super) fn named_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// The default of a setting, which may depend on the user.
fn user_default(key: SettingKey) -> Option<String> {
    match key {
        SettingKey::Connect => Some(if is_root() { "qemu:///system" } else { "qemu:///session" }.to_owned()),
        SettingKey::Catalog => config::catalog_path(env_variable).map(|path| path.display().to_string()),
        _ => key.default().map(str::to_owned),
    }
}

pub(super) fn env_variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The catalogue in effect if none is named.
fn default_catalog(config: &Config) -> Option<PathBuf> {
    let file = config.get(SettingKey::Catalog).filter(|file| file.origin == SettingOrigin::Default)?;
    Some(PathBuf::from(&file.text))
}

/// The merged settings of this run, and their errors.
#[derive(Debug, Clone, Default)]
pub(super) struct ResolvedSettings {
    config: Config,
    wrong: Vec<Error>,
    /// Warnings about files that are ignored.
    ignored: Vec<String>,
}

impl ResolvedSettings {
    /// Reads the configuration files and merges them with flags and environment.
    fn resolve_from(args: &SettingArgs) -> Self {
        let places = config::config_places(args.named_file(), env_variable);
        let read = places.iter().map(config::load_file);
        let (files, broken): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let files: Vec<ConfigFile> = files.into_iter().filter_map(Result::ok).collect();
        let inputs = Inputs {
            flags: &args.flags,
            context: args.context.as_deref(),
            variable: &env_variable,
            files: &files,
            default: &user_default,
        };
        let (config, wrong) = config::resolve_settings(&inputs);
        let broken = broken.into_iter().filter_map(Result::err);
        let unnamed = places.iter().filter(|place| !place.required).map(|place| place.path.clone());
        let ignored = unnamed.chain(default_catalog(&config)).filter_map(|path| config::why_ignored(&path));
        Self { ignored: ignored.collect(), wrong: broken.chain(wrong).collect(), config }
    }

    /// Warnings about files that are ignored.
    pub(super) fn ignored_files(&self) -> &[String] {
        &self.ignored
    }

    /// The user's catalogue. The default file is not used if another user could have written it.
    pub(super) fn catalog_file(&self) -> Option<PathBuf> {
        let file = self.config.setting_text(SettingKey::Catalog).map(PathBuf::from)?;
        let is_ignored =
            default_catalog(&self.config).is_some_and(|path| config::why_ignored(&path).is_some());
        (!is_ignored).then_some(file)
    }

    /// The effective configuration, merged from all sources.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// # Errors
    /// All errors of the configuration, as one.
    pub(super) fn check_errors(&self) -> Result<(), Error> {
        Error::combine(&self.wrong).map_or(Ok(()), Err)
    }

    /// The settings for operations.
    ///
    /// # Errors
    /// Only those that [`check_errors`](Self::check_errors) returns, too.
    pub(super) fn engine_settings(&self) -> Result<Settings, Error> {
        let built_in = Settings::default();
        let pool = |key| self.config.get(key).map(Sourced::parse_value).transpose();
        let name_server = |one: &str| one.parse::<IpAddr>().ok();
        Ok(Settings {
            vm_pool: pool(SettingKey::VmPool)?.unwrap_or(built_in.vm_pool),
            image_pool: pool(SettingKey::ImagePool)?.unwrap_or(built_in.image_pool),
            storage_path: self.config.setting_text(SettingKey::StoragePath).map(str::to_owned),
            virt_type: match self.config.setting_text(SettingKey::VirtType) {
                Some("kvm") => Some(VirtType::Kvm),
                Some("qemu") => Some(VirtType::Qemu),
                _ => None,
            },
            bridge: self.config.get(SettingKey::Bridge).map(Sourced::parse_value).transpose()?,
            dns: self.config.list_values(SettingKey::DnsServers).filter_map(name_server).collect(),
            catalog: self.config.setting_text(SettingKey::Catalog).map(PathBuf::from),
        })
    }

    /// The URI to connect to.
    pub(super) fn libvirt_uri(&self) -> String {
        self.config.setting_text(SettingKey::Connect).unwrap_or_default().to_owned()
    }

    /// A duration. It was validated when it was read.
    pub(super) fn timeout_for(&self, key: SettingKey) -> Duration {
        self.config.setting_text(key).and_then(|text| parse_duration(text).ok()).unwrap_or_default()
    }
}
