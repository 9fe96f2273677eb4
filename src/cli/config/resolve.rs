//! Decides which value of a setting is in effect.

use std::collections::BTreeMap;

use super::{Config, ConfigFile, ContextName, Contexts, SettingKey, SettingOrigin, Sourced};
use crate::words::hints::LIST_CONTEXTS;
use foundry_core::error::{Code, Error};
use foundry_core::names::find_nearest;

/// All sources of settings.
pub struct Inputs<'a> {
    /// The flags that were given, by setting: the flag with its dashes, and the value.
    pub flags: &'a BTreeMap<SettingKey, (String, String)>,
    /// The context that the command line names.
    pub context: Option<&'a str>,
    /// The environment. An empty variable is treated as unset.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Configuration files, in order of precedence.
    pub files: &'a [ConfigFile],
    /// The default of a setting, for this user.
    pub default: &'a dyn Fn(SettingKey) -> Option<String>,
}

/// Merges all sources. Errors are returned next to the result, because a partly invalid configuration can still be
/// shown.
pub fn resolve_settings(inputs: &Inputs<'_>) -> (Config, Vec<Error>) {
    let mut wrong = Vec::new();
    let contexts = merge_contexts(inputs.files);
    let context = select_context(inputs).and_then(|named| {
        let known = check_context(&format!("{}: ", named.origin), &named.text, &contexts);
        collect_error(known.map(|()| named), &mut wrong)
    });
    let settings =
        context.as_ref().and_then(|context| contexts.get(&context.text.parse::<ContextName>().ok()?));
    let values = SettingKey::ALL.into_iter().filter_map(|key| {
        let value = find_value(key, inputs, settings)?;
        Some((key, collect_error(check_origin_value(key, value), &mut wrong)?))
    });
    let values = values.collect();
    (Config { values, context, contexts }, wrong)
}

fn collect_error<T>(found: Result<T, Error>, wrong: &mut Vec<Error>) -> Option<T> {
    found.map_err(|error| wrong.push(error)).ok()
}

/// The value from the source with the highest precedence.
fn find_value(
    key: SettingKey,
    inputs: &Inputs<'_>,
    context: Option<&BTreeMap<SettingKey, Sourced>>,
) -> Option<Sourced> {
    let flag = inputs
        .flags
        .get(&key)
        .map(|(flag, text)| Sourced { text: text.clone(), origin: SettingOrigin::Flag(flag.clone()) });
    let variable = || key.env_variables().iter().find_map(|name| env_value(inputs, name));
    let in_context = || context?.get(&key).cloned();
    let in_file = || inputs.files.iter().find_map(|file| file.settings.get(&key).cloned());
    let default = || (inputs.default)(key).map(|text| Sourced { text, origin: SettingOrigin::Default });
    flag.or_else(variable).or_else(in_context).or_else(in_file).or_else(default)
}

/// The contexts of all files. If several files have one, each setting is taken from the first file that has it.
fn merge_contexts(files: &[ConfigFile]) -> Contexts {
    let mut all = Contexts::new();
    for (name, settings) in files.iter().flat_map(|file| &file.contexts) {
        let known = all.entry(name.clone()).or_default();
        for (key, value) in settings {
            known.entry(*key).or_insert_with(|| value.clone());
        }
    }
    all
}

fn env_value(inputs: &Inputs<'_>, name: &'static str) -> Option<Sourced> {
    let text = (inputs.variable)(name).filter(|text| !text.is_empty())?;
    Some(Sourced { text, origin: SettingOrigin::Variable(name) })
}

/// The current context: `--context`, its variable, then the files.
fn select_context(inputs: &Inputs<'_>) -> Option<Sourced> {
    let flag = inputs
        .context
        .map(|name| Sourced { text: name.to_owned(), origin: SettingOrigin::Flag("--context".into()) });
    let variable = || env_value(inputs, "FOUNDRY_CONTEXT");
    flag.or_else(variable).or_else(|| inputs.files.iter().find_map(|file| file.current.clone()))
}

/// Validates a value from a flag or a variable. Those from files were validated when they were read.
fn check_origin_value(key: SettingKey, value: Sourced) -> Result<Sourced, Error> {
    if let SettingOrigin::File { .. } | SettingOrigin::Default = value.origin {
        return Ok(value);
    }
    match key.check_value(&value.text) {
        Ok(()) => Ok(value),
        Err(why) => Err(Error::new(Code::SettingWrong, format!("{} {:?} {why}", value.origin, value.text))),
    }
}

/// `said` starts the message and names the origin of the context's name.
pub(super) fn check_context(said: &str, name: &str, contexts: &Contexts) -> Result<(), Error> {
    if contexts.keys().any(|known| known.as_str() == name) {
        return Ok(());
    }
    let error = Error::new(Code::ContextMissing, format!("{said}there is no context {name:?}"));
    Err(match find_nearest(name, contexts.keys().map(ContextName::as_str)) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(LIST_CONTEXTS),
    })
}
