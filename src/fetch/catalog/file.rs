//! Reads and changes catalogue files.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Alias, CatalogEntry};
use crate::atomic_write::replace_text;
use crate::file_ownership;
use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use foundry_core::yaml::{self, FieldError, Position, escape_unseen, shorten};

/// Maximum size of a catalogue in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The document of a catalogue.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    images: BTreeMap<String, CatalogEntry>,
}

/// The effect of a change on the user's catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogUpdate {
    /// Whether an entry with this name existed before.
    pub replaced: bool,
    /// Whether the file had comments, which are lost.
    pub comments_lost: bool,
}

/// Reads a user's catalogue. A missing file is an empty catalogue.
pub(super) fn load_file(path: &Path) -> Result<BTreeMap<Alias, CatalogEntry>, Error> {
    parse_catalog(&read_text(path)?, &path.display().to_string())
}

fn read_text(path: &Path) -> Result<String, Error> {
    let unreadable = |e: io::Error| {
        Error::new(Code::FileUnreadable, format!("cannot read {}", path.display()))
            .because(describe_io_error(&e))
    };
    let read = file_ownership::open_trusted(path).and_then(|file| {
        let mut text = String::new();
        // One byte more than allowed shows that a file is too long.
        file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        match text.len() as u64 {
            0..=MAX_BYTES => Ok(text),
            _ => Err(io::Error::other("larger than 1 MiB, the limit for a catalogue")),
        }
    });
    read.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(String::new()) } else { Err(unreadable(e)) })
}

/// Parses a catalogue; `file` is its name in messages.
pub(super) fn parse_catalog(text: &str, file: &str) -> Result<BTreeMap<Alias, CatalogEntry>, Error> {
    let catalog_error = |code: Code, at: Option<Position>, path: &str, message: &str| {
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        Error::new(code, format!("{file}{at}: {path}{}", escape_unseen(message)))
    };
    let field_error =
        |fault: FieldError| catalog_error(fault.code, fault.at, &fault.path_text(), &fault.message);
    let documents =
        yaml::read_manifests(text).map_err(|e| catalog_error(e.code(), Some(e.at), "", &e.rule_text()))?;
    let mut filled = documents.nodes.iter().filter(|node| !node.is_null());
    let Some(node) = filled.next() else { return Ok(BTreeMap::new()) };
    if let Some(second) = filled.next() {
        return Err(catalog_error(
            Code::WrongType,
            second.position(),
            "",
            "a catalogue has only one document",
        ));
    }
    let document: Document = yaml::read(node).map_err(field_error)?;
    let checked = document.images.into_iter().map(|(name, entry)| {
        let path = format!("images.{}", escape_unseen(&shorten(&name)));
        let at = node.get("images").and_then(|images| images.get(&name)).and_then(|entry| entry.position());
        let alias: Alias =
            name.parse().map_err(|e| catalog_error(Code::WrongType, at, &path, &format!("{e}")))?;
        match entry.find_problem() {
            Some((field, message)) => {
                Err(catalog_error(Code::WrongType, at, &format!("{path}.{field}"), &message))
            }
            None => Ok((alias, entry)),
        }
    });
    checked.collect()
}

/// Adds an image to a user's catalogue. A missing file is created with mode 0600; an existing one keeps its mode. Other
/// entries are kept, comments are not.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] if [`Catalog::load`](super::Catalog::load) does not accept the file, or
/// it cannot be written; [`foundry_core::error::Kind::Validation`] if the entry is wrong. Then nothing was changed.
pub fn add_entry(path: &Path, alias: &Alias, entry: CatalogEntry) -> Result<CatalogUpdate, Error> {
    if let Some((field, message)) = entry.find_problem() {
        return Err(Error::new(Code::CatalogueEntryUnfit, format!("{alias}.{field}: {message}")));
    }
    update_file(path, |images| images.insert(alias.clone(), entry).is_some())
}

/// Removes an image from a user's catalogue.
///
/// # Errors
/// As [`add_entry`]; [`foundry_core::error::Kind::Validation`] if the catalogue does not contain it, such as a built-in
/// image.
pub fn remove_entry(path: &Path, alias: &Alias) -> Result<CatalogUpdate, Error> {
    if !load_file(path)?.contains_key(alias) {
        return Err(Error::new(
            Code::CatalogueImageMissing,
            format!("{} has no image {alias}", path.display()),
        )
        .hint(
            "only your own images can be removed; to hide a built-in one, add your own with the same name",
        ));
    }
    update_file(path, |images| images.remove(alias).is_some())
}

fn update_file(
    path: &Path,
    change: impl FnOnce(&mut BTreeMap<Alias, CatalogEntry>) -> bool,
) -> Result<CatalogUpdate, Error> {
    let before = read_text(path)?;
    let mut images = parse_catalog(&before, &path.display().to_string())?;
    let replaced = change(&mut images);
    let unwritable = |cause: String| {
        Error::new(Code::FileUnwritable, format!("cannot write {}", path.display()))
            .because(cause)
            .unchanged()
    };
    let images = images.into_iter().map(|(alias, entry)| (alias.into(), entry)).collect();
    let after = yaml::write(&Document { images }).map_err(unwritable)?;
    replace_text(path, &after).map_err(|e| unwritable(e.to_string()))?;
    // A '#' in a string is not a comment, but a superfluous warning does no harm.
    let comments_lost = before.lines().any(|line| line.trim_start().starts_with('#') || line.contains(" #"));
    Ok(CatalogUpdate { replaced, comments_lost })
}
