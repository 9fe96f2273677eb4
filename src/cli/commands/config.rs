//! `foundry config`

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Global;
use crate::config::{self, Config, ContextName, SettingKey, SettingOrigin, Sourced};
use crate::output::{ListingArgs, TableRow, to_yaml};
use crate::settings::env_variable;
use crate::ui::Ui;
use crate::words::hints::USE_CONTEXT;
use foundry_core::error::{Code, Error};

/// Show the configuration and switch contexts
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the effective settings
    #[command(after_help = "Examples:
  foundry config view
  foundry config view --origin
  foundry config view -o jsonpath={.vmPool}")]
    View {
        /// Show the source of each: flag, variable, file with line, or default
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        listing: ListingArgs,
    },
    /// Set the current context
    #[command(after_help = "Examples:\n  foundry config use-context lab")]
    UseContext {
        /// Name of the context
        #[arg(value_name = "CONTEXT")]
        name: ContextName,
    },
    /// List contexts
    #[command(after_help = "Examples:\n  foundry config get-contexts\n  foundry config get-contexts -o name")]
    GetContexts {
        #[command(flatten)]
        listing: ListingArgs,
    },
    /// Show the current context
    #[command(after_help = "Examples:\n  foundry config current-context")]
    CurrentContext,
}

pub(super) fn run_config(args: &ConfigArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let config = global.effective_config();
    match &args.command {
        ConfigCommand::View { origin, listing } => {
            show_settings(config, *origin, listing, global, ui)?;
            global.resolved().check_errors()
        }
        ConfigCommand::UseContext { name } => switch_context(name, global, ui),
        ConfigCommand::GetContexts { listing } => {
            let contexts: Vec<ContextView<'_>> = ContextView::all(config);
            listing.show_list(&contexts, "No contexts", (global, ui))?;
            global.resolved().check_errors()
        }
        ConfigCommand::CurrentContext => match config.current_context() {
            Some(context) => ui.write_line(&context.text),
            None => {
                global.resolved().check_errors()?;
                Err(Error::new(Code::ContextMissing, "there is no current context").hint(USE_CONTEXT))
            }
        },
    }
}

/// Without `--origin` the output is a configuration file, in YAML.
fn show_settings(
    config: &Config,
    origin: bool,
    listing: &ListingArgs,
    global: &Global,
    ui: &Ui,
) -> Result<(), Error> {
    if origin {
        return listing.show_list(&SettingView::all(config), "", (global, ui));
    }
    let document = effective_settings(config);
    if listing.chosen_format(global).is_table() {
        return ui.write_text(&to_yaml(&document)?);
    }
    let names: Vec<&str> = document.keys().map(String::as_str).collect();
    listing.output.show_object(&document, &names, |_| String::new(), (global, ui))
}

/// The effective settings, as a configuration file.
fn effective_settings(config: &Config) -> Map<String, Value> {
    let set = SettingKey::ALL.into_iter().filter_map(|key| config.get(key).map(|value| (key, value)));
    let mut document = settings_map(set);
    if let Some(context) = config.current_context() {
        document.insert("currentContext".into(), context.text.clone().into());
    }
    if !config.all_contexts().is_empty() {
        let context =
            |set: &BTreeMap<SettingKey, Sourced>| settings_map(set.iter().map(|(key, value)| (*key, value)));
        let all: Map<String, Value> =
            config.all_contexts().iter().map(|(name, set)| (name.to_string(), context(set).into())).collect();
        document.insert("contexts".into(), all.into());
    }
    document
}

fn settings_map<'a>(set: impl Iterator<Item = (SettingKey, &'a Sourced)>) -> Map<String, Value> {
    set.map(|(key, value)| (key.name().to_owned(), setting_to_json(key, value))).collect()
}

fn setting_to_json(key: SettingKey, value: &Sourced) -> Value {
    if key.is_list() { value.list_elements().collect() } else { value.text.as_str().into() }
}

/// A setting and its source.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SettingView<'a> {
    /// Key in a configuration file.
    name: &'static str,
    /// `null` if it is not set.
    value: Value,
    /// `flag`, `variable`, `file` or `default`.
    from: &'static str,
    /// The flag, the variable, or the file with the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// The context that sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

impl<'a> SettingView<'a> {
    fn all(config: &'a Config) -> Vec<Self> {
        let context =
            config.current_context().map(|c| Self::new("currentContext", c.text.as_str().into(), &c.origin));
        let setting = |key: SettingKey| match config.get(key) {
            Some(value) => Self::new(key.name(), setting_to_json(key, value), &value.origin),
            None => Self::new(key.name(), Value::Null, &SettingOrigin::Default),
        };
        context.into_iter().chain(SettingKey::ALL.into_iter().map(setting)).collect()
    }

    fn new(name: &'static str, value: Value, origin: &'a SettingOrigin) -> Self {
        let (from, at, context) = match origin {
            SettingOrigin::Flag(flag) => ("flag", Some(flag.clone()), None),
            SettingOrigin::Variable(name) => ("variable", Some((*name).to_owned()), None),
            SettingOrigin::File { path, line, context } => {
                ("file", Some(format!("{}:{line}", path.display())), context.as_ref())
            }
            SettingOrigin::Default => ("default", None, None),
        };
        Self { name, value, from, at, context: context.map(ContextName::as_str) }
    }
}

impl TableRow for SettingView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["SETTING", "VALUE", "ORIGIN"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn row_cells(&self) -> Vec<String> {
        let value = match &self.value {
            Value::Null => "-".to_owned(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        let context = self.context.map(|name| format!(" (context {name})")).unwrap_or_default();
        vec![self.name.to_owned(), value, format!("{}{context}", self.at.as_deref().unwrap_or(self.from))]
    }
}

/// One context of the listing.
#[derive(Debug, Serialize)]
struct ContextView<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    settings: Map<String, Value>,
}

impl<'a> ContextView<'a> {
    fn all(config: &'a Config) -> Vec<Self> {
        let current = config.current_context().map(|context| context.text.as_str());
        let view = |(name, set): (&'a ContextName, &BTreeMap<SettingKey, Sourced>)| Self {
            name: name.as_str(),
            current: current == Some(name.as_str()),
            settings: settings_map(set.iter().map(|(key, value)| (*key, value))),
        };
        config.all_contexts().iter().map(view).collect()
    }

    fn setting_text(&self, key: SettingKey) -> String {
        self.settings.get(key.name()).and_then(Value::as_str).unwrap_or("-").to_owned()
    }
}

impl TableRow for ContextView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["CURRENT", "NAME", "CONNECT"];
    const WIDE_HEADERS: &'static [&'static str] = &["VM POOL", "IMAGE POOL", "STORAGE PATH"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn row_cells(&self) -> Vec<String> {
        let mark = if self.current { "*" } else { "" };
        vec![mark.to_owned(), self.name.to_owned(), self.setting_text(SettingKey::Connect)]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        [SettingKey::VmPool, SettingKey::ImagePool, SettingKey::StoragePath]
            .map(|key| self.setting_text(key))
            .into()
    }
}

fn switch_context(name: &ContextName, global: &Global, ui: &Ui) -> Result<(), Error> {
    let config = global.effective_config();
    config.check_context(name.as_str())?;
    let named = global.settings.named_file().map(Path::to_owned);
    let file = named.or_else(|| config::user_file(env_variable)).ok_or_else(|| {
        Error::new(Code::NoDirectory, "no directory for a configuration is known")
            .hint("set XDG_CONFIG_HOME or HOME")
    })?;
    config::save_current_context(&file, name)?;
    if let Some(set) = env_variable("FOUNDRY_CONTEXT").filter(|set| !set.is_empty() && set != name.as_str()) {
        ui.show_warning(&format!("FOUNDRY_CONTEXT overrides it: {set}"));
    }
    ui.write_line(&format!("Switched to context '{name}' in {}", file.display()))
}
