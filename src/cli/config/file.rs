//! Reads one configuration file: settings, each with its line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::config_files::ConfigPlace;
use super::{Contexts, SettingKey, SettingOrigin, Sourced};
use foundry_core::error::{Code, Error};
use foundry_core::names::NameError;
use foundry_core::text::describe_io_error;
use foundry_core::yaml::node::{Mapping, MappingEntry, Node};
use foundry_core::yaml::{self, FieldError, PathSegment, Position, escape_unseen};
use foundry_fetch::file_ownership;

/// The largest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

pub(super) const CURRENT: &str = "currentContext";
const CONTEXTS: &str = "contexts";

/// The name of a context: 1–63 letters, digits, `.`, `_` and `-`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextName(String);

impl ContextName {
    /// The name as it is written in a file.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContextName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if !(1..=63).contains(&text.len()) {
            return Err(NameError("has not 1 to 63 characters".into()));
        }
        let plain = |c: char| c.is_ascii_alphanumeric();
        if !text.starts_with(plain) || !text.chars().all(|c| plain(c) || "._-".contains(c)) {
            return Err(NameError(
                "may hold only letters, digits, '.', '_' and '-', and begins with one of the former".into(),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The content of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigFile {
    /// Settings outside of contexts.
    pub settings: BTreeMap<SettingKey, Sourced>,
    /// Contexts by name, each with its settings.
    pub contexts: Contexts,
    /// The current context, unless a flag or variable selects another.
    pub current: Option<Sourced>,
}

/// Reads a file. One that the user did not name may be missing.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] if it cannot be read, and as [`parse_config`].
pub fn load_file(place: &ConfigPlace) -> Result<ConfigFile, Error> {
    match read_text(&place.path) {
        Ok(text) => parse_config(&text, &place.path),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !place.required => Ok(ConfigFile::default()),
        // A file that another user could have written is ignored; `why_ignored` gives the reason.
        Err(e) if file_ownership::is_untrusted(&e) && !place.required => Ok(ConfigFile::default()),
        Err(e) if file_ownership::is_untrusted(&e) => {
            let what = format!("the configuration {} is not obeyed", place.path.display());
            Err(Error::new(Code::FileUnreadable, what).because(e.to_string()))
        }
        Err(e) => {
            let cause = describe_io_error(&e);
            let what = format!("cannot read the configuration {}", place.path.display());
            Err(Error::new(Code::FileUnreadable, what).because(cause))
        }
    }
}

/// The reason why an existing default file is ignored: another user could have written it.
pub fn why_ignored(path: &Path) -> Option<String> {
    let refused = file_ownership::open_trusted(path).err().filter(file_ownership::is_untrusted)?;
    Some(format!("{} is ignored: {refused}", path.display()))
}

/// Reads a file that nobody but root and the caller may have written; `shown` names it in the error.
pub(crate) fn read_trusted(path: &Path, shown: &str) -> Result<String, Error> {
    read_text(path).map_err(|e| {
        Error::new(Code::FileUnreadable, format!("cannot read {shown}")).because(describe_io_error(&e))
    })
}

/// The text of a file of limited size.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    file_ownership::open_trusted(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 1 MiB, which no configuration is"));
    }
    Ok(text)
}

/// Parses a configuration. `path` names it in messages, and its relative paths start there.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] for the first invalid YAML, unknown key or invalid value, with its line
/// and, for an unknown key, the most similar one.
pub fn parse_config(text: &str, path: &Path) -> Result<ConfigFile, Error> {
    let told = |code: Code, at: Option<Position>, field: &str, message: &str| {
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        Error::new(code, format!("{}{at}: {field}{}", path.display(), escape_unseen(message)))
    };
    let documents = yaml::read_manifests(text).map_err(|e| told(e.code(), Some(e.at), "", &e.rule_text()))?;
    let mut filled = documents.nodes.iter().filter(|node| !node.is_null());
    let Some(node) = filled.next() else { return Ok(ConfigFile::default()) };
    if let Some(second) = filled.next() {
        return Err(told(Code::WrongType, second.position(), "", "a configuration is one document"));
    }
    parse_document(node, path)
        .map_err(|fault| told(fault.code, fault.at.or(node.position()), &fault.path_text(), &fault.message))
}

fn parse_document(node: &Node, path: &Path) -> Result<ConfigFile, FieldError> {
    let mut file = ConfigFile::default();
    for entry in filled_entries(node)? {
        let name = entry.key.text();
        match (name, SettingKey::from_name(name)) {
            (_, Some(key)) => drop(file.settings.insert(key, parse_setting(key, entry, path, None)?)),
            (CURRENT, None) => file.current = Some(parse_current(entry, path)?),
            (CONTEXTS, None) => {
                file.contexts = parse_contexts(&entry.value, path).map_err(|f| locate_within(f, entry))?
            }
            _ => return Err(unknown_key(entry, &[CURRENT, CONTEXTS])),
        }
    }
    Ok(file)
}

fn parse_contexts(node: &Node, path: &Path) -> Result<Contexts, FieldError> {
    let one = |entry: &MappingEntry| {
        let name: ContextName = entry.key.text().parse().map_err(|e: NameError| {
            locate_within(FieldError::new(entry.at, e.to_string()).with_code(Code::SettingWrong), entry)
        })?;
        let settings =
            parse_context(&name, &entry.value, path).map_err(|fault| locate_within(fault, entry))?;
        Ok((name, settings))
    };
    // A context without settings is valid.
    as_mapping(node)?.entries().iter().map(one).collect()
}

fn parse_context(
    name: &ContextName,
    node: &Node,
    path: &Path,
) -> Result<BTreeMap<SettingKey, Sourced>, FieldError> {
    if node.is_null() {
        return Ok(BTreeMap::new());
    }
    let one = |entry: &MappingEntry| match SettingKey::from_name(entry.key.text()) {
        Some(key) => Ok((key, parse_setting(key, entry, path, Some(name))?)),
        None => Err(unknown_key(entry, &[])),
    };
    filled_entries(node)?.map(one).collect()
}

fn parse_setting(
    key: SettingKey,
    entry: &MappingEntry,
    path: &Path,
    context: Option<&ContextName>,
) -> Result<Sourced, FieldError> {
    let text = if key.is_list() {
        yaml::read::<Vec<String>>(&entry.value).map(|list| list.join(","))
    } else {
        yaml::read::<String>(&entry.value)
    };
    let text = text.map_err(|fault| locate_within(fault, entry))?;
    let wrong = |why: String| {
        locate_within(
            FieldError::new(entry.value.position(), format!("{text:?} {why}")).with_code(Code::SettingWrong),
            entry,
        )
    };
    key.check_value(&text).map_err(wrong)?;
    let text = if key == SettingKey::Catalog { resolve_beside(path, &text) } else { text };
    Ok(Sourced { text, origin: entry_origin(entry, path, context) })
}

fn parse_current(entry: &MappingEntry, path: &Path) -> Result<Sourced, FieldError> {
    let text: String = yaml::read(&entry.value).map_err(|fault| locate_within(fault, entry))?;
    let wrong = |e: NameError| {
        locate_within(
            FieldError::new(entry.value.position(), format!("{text:?} {e}")).with_code(Code::SettingWrong),
            entry,
        )
    };
    text.parse::<ContextName>().map_err(wrong)?;
    Ok(Sourced { text, origin: entry_origin(entry, path, None) })
}

/// A path relative to the file that names it.
fn resolve_beside(file: &Path, path: &str) -> String {
    let folder = file.parent().map(PathBuf::from).unwrap_or_default();
    folder.join(path).display().to_string()
}

fn entry_origin(entry: &MappingEntry, path: &Path, context: Option<&ContextName>) -> SettingOrigin {
    // Everything that was parsed has a position.
    let line = entry.at.map_or(0, |at| at.line);
    SettingOrigin::File { path: path.to_owned(), line, context: context.cloned() }
}

fn as_mapping(node: &Node) -> Result<&Mapping, FieldError> {
    node.as_mapping().ok_or_else(|| {
        FieldError::new(node.position(), format!("expected a mapping, got {}", node.kind_text()))
    })
}

/// A null value counts as missing, as in a manifest.
fn filled_entries(node: &Node) -> Result<impl Iterator<Item = &MappingEntry>, FieldError> {
    // An unknown key is an error even without a value.
    Ok(as_mapping(node)?.entries().iter().filter(|entry| !entry.value.is_null() || is_stray(entry)))
}

fn is_stray(entry: &MappingEntry) -> bool {
    let name = entry.key.text();
    SettingKey::from_name(name).is_none() && ![CURRENT, CONTEXTS].contains(&name)
}

fn locate_within(fault: FieldError, entry: &MappingEntry) -> FieldError {
    fault.add_segment(PathSegment::Key(entry.key.text().to_owned()), entry.value.position())
}

fn unknown_key(entry: &MappingEntry, others: &[&'static str]) -> FieldError {
    let known: Vec<&str> =
        SettingKey::ALL.iter().map(|key| key.name()).chain(others.iter().copied()).collect();
    FieldError::unknown_field(entry.at, entry.key.text(), &known)
}
