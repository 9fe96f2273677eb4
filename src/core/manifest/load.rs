//! Reads manifests from the bytes of a file.
//!
//! ```text
//! bytes ─▶ text (≤ MAX_BYTES, UTF-8) ─▶ trees, one per document ─▶ header known? ─▶ VirtualMachine
//! ```
//!
//! The header (`apiVersion`, `kind`) is checked before anything else in a document. So the manifest of another program
//! is reported as that, not as an unknown field.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::user_data::user_data_to_text;
use super::{API_VERSION, KIND, VirtualMachine};
use crate::error::{Code, Error};
use crate::names::find_nearest;
use crate::text::describe_io_error;
use crate::yaml::node::{Node, ReadError};
use crate::yaml::{
    self, BrokenRule, FieldError, PathSegment, Position, did_you_mean, escape_unseen, shorten, shorten_key,
};

/// Maximum size of a manifest in bytes (1 MiB), the limit of Kubernetes' API server and far more than the seed of a VM
/// needs.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a manifest cannot be read (exit code 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// Name of the file.
        file: String,
        /// Error of the operating system.
        cause: String,
    },
    /// The text is not a manifest.
    NotAManifest {
        /// Name of the file.
        file: String,
        /// Position in the file, if the problem has one.
        at: Option<Position>,
        /// Number of the document, from 1, if the file has several.
        document: Option<usize>,
        /// Path of the field; empty for the whole document.
        path: String,
        /// What is wrong and what would be right.
        message: String,
        /// Code of the broken rule.
        code: Code,
    },
    /// Several problems, in the order of the file.
    Several(Vec<Self>),
}

/// One document, without the fields that could not be read.
#[derive(Debug)]
pub struct PartialDocument {
    /// The manifest without its wrong fields, if anything is left.
    pub manifest: Option<VirtualMachine>,
    /// What is wrong with the other fields.
    pub errors: Vec<LoadError>,
    /// Fields about which nothing more can be said.
    pub unread: Vec<String>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, at, document, path, message) = match self {
            Self::Unreadable { file, cause } => {
                return f.write_str(&escape_unseen(&format!("cannot read {file}: {cause}")));
            }
            Self::NotAManifest { file, at, document, path, message, .. } => {
                (file, at, document, path, message)
            }
            Self::Several(errors) => {
                let lines: Vec<String> = errors.iter().map(Self::to_string).collect();
                return f.write_str(&lines.join("\n"));
            }
        };
        f.write_str(&escape_unseen(file))?;
        at.map_or(Ok(()), |at| write!(f, ":{at}"))?;
        document.map_or(Ok(()), |number| write!(f, ": document {number}"))?;
        if !path.is_empty() {
            write!(f, ": {}", escape_unseen(path))?;
        }
        write!(f, ": {}", escape_unseen(message))
    }
}

impl std::error::Error for LoadError {}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        Self::of_text(error.code(), error.to_string())
    }
}

impl LoadError {
    /// Returns the code of the error.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::FileUnreadable,
            Self::NotAManifest { code, .. } => *code,
            // There is always at least one.
            Self::Several(errors) => errors.first().map_or(Code::NotYaml, Self::code),
        }
    }

    /// Combines errors into one. Returns `None` if there are none.
    fn combine(mut errors: Vec<Self>) -> Option<Self> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Several(errors)),
        }
    }
}

/// Whether a file has the name of a manifest: it ends with `.yaml`, `.yml` or `.json`.
pub fn has_manifest_extension(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
}

/// Reads all manifests of a file, or of standard input if the path is `-`.
///
/// # Errors
/// A file that cannot be read, is larger than [`MAX_BYTES`] or not UTF-8, and the errors of [`load_text`].
pub fn load_file(path: &Path) -> Result<Vec<VirtualMachine>, LoadError> {
    into_manifests(read_file(path)?)
}

/// Reads all manifests of a file as far as possible, so that other problems can be reported together with the fields
/// that cannot be read.
///
/// # Errors
/// A file in which nothing is a manifest, as in [`load_file`]. Wrong fields are not errors here.
pub fn read_file(path: &Path) -> Result<Vec<PartialDocument>, LoadError> {
    if path == Path::new("-") {
        return read_text(&read_stream(io::stdin().lock(), "standard input")?, "standard input");
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => read_text(&read_stream(file, &name)?, &name),
        Err(error) => Err(unreadable_error(&name, &error)),
    }
}

/// Reads all manifests of a stream; `file` is its name in messages. It takes at most [`MAX_BYTES`] and one more byte
/// from the stream.
///
/// # Errors
/// As [`load_file`].
pub fn load_from(stream: impl Read, file: &str) -> Result<Vec<VirtualMachine>, LoadError> {
    load_text(&read_stream(stream, file)?, file)
}

fn read_stream(stream: impl Read, file: &str) -> Result<String, LoadError> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    stream.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable_error(file, &error))?;
    refuse_size(bytes.len(), file)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
        whole_file_error(file, Code::NotYaml, format!("not UTF-8 text (line {line}, byte {})", valid + 1))
    })
}

/// Reads all manifests of a YAML text; `file` is its name in messages. Empty documents are skipped.
///
/// # Errors
/// Violations of YAML, unknown fields and wrong types, with line and column; also a text without any manifest.
pub fn load_text(text: &str, file: &str) -> Result<Vec<VirtualMachine>, LoadError> {
    into_manifests(read_text(text, file)?)
}

/// Reads the one document of another kind of file, in which the field `spec` is the desired state of VMs.
///
/// # Errors
/// As [`load_text`].
pub fn load_with_spec<T: DeserializeOwned>(text: &str, file: &str, spec: &str) -> Result<T, LoadError> {
    refuse_size(text.len(), file)?;
    let documents = yaml::read_manifests(text).map_err(|error| not_yaml(file, &error))?;
    let mut filled = documents.nodes.iter().filter(|document| !document.is_null());
    let (Some(document), None) = (filled.next(), filled.next()) else {
        let message = "must contain one YAML document".to_owned();
        return Err(whole_file_error(file, Code::WrongType, message));
    };
    let (read, faults) = read_fields(document, spec, documents.first_violation.as_ref());
    let errors = faults.iter().map(|fault| not_a_manifest(file, None, fault)).collect();
    match (LoadError::combine(errors), read) {
        (None, Some(read)) => Ok(read),
        (Some(error), _) => Err(error),
        (None, None) => Err(whole_file_error(file, Code::WrongType, "cannot be read".to_owned())),
    }
}

/// Returns the manifests if all documents could be read.
fn into_manifests(documents: Vec<PartialDocument>) -> Result<Vec<VirtualMachine>, LoadError> {
    let mut errors = Vec::new();
    let mut manifests = Vec::new();
    for document in documents {
        errors.extend(document.errors);
        manifests.extend(document.manifest);
    }
    LoadError::combine(errors).map_or(Ok(manifests), Err)
}

fn read_text(text: &str, file: &str) -> Result<Vec<PartialDocument>, LoadError> {
    refuse_size(text.len(), file)?;
    let documents = yaml::read_manifests(text).map_err(|error| not_yaml(file, &error))?;
    let several = documents.nodes.iter().filter(|d| !d.is_null()).count() > 1;
    let filled = documents.nodes.iter().enumerate().filter(|(_, d)| !d.is_null());
    let mut read: Vec<PartialDocument> = Vec::new();
    let mut listed = 0;
    for (index, document) in filled {
        let (manifest, faults) = read_document(document, documents.first_violation.as_ref());
        let error = |fault| not_a_manifest(file, several.then_some(index + 1), fault);
        listed += faults.len();
        read.push(PartialDocument {
            manifest,
            errors: faults.iter().map(error).collect(),
            unread: faults.iter().flat_map(FieldError::unread_fields).collect(),
        });
        // Many documents that are not manifests mean that the file is something else.
        if listed >= MAX_LISTED {
            break;
        }
    }
    if read.is_empty() {
        return Err(whole_file_error(file, Code::NoManifest, "contains no manifest".to_owned()));
    }
    Ok(read)
}

/// Maximum number of errors shown for one document. More are usually one mistake repeated.
const MAX_LISTED: usize = 20;

/// Reads one document and collects its errors.
fn read_document(
    document: &Node,
    violation: Option<&ReadError>,
) -> (Option<VirtualMachine>, Vec<FieldError>) {
    match check_header(document) {
        Ok(()) => read_fields(document, "spec", violation),
        Err(fault) => (None, vec![fault]),
    }
}

/// Reads the fields of a document, of which `spec` is a VM's desired state, and collects their errors. The reader stops
/// at the first wrong field, so the document is read again without that field.
fn read_fields<T: DeserializeOwned>(
    document: &Node,
    spec: &str,
    violation: Option<&ReadError>,
) -> (Option<T>, Vec<FieldError>) {
    let mut faults = Vec::new();
    let mut rest = document.clone();
    while faults.len() < MAX_LISTED {
        match user_data_to_text(&rest, &[spec], violation).and_then(|text| yaml::read(&text)) {
            Ok(read) => return (Some(read), faults),
            Err(fault) => {
                let without = rest.without_field(&fault.field_segments());
                faults.push(fault);
                match without {
                    Some(without) => rest = without,
                    None => break,
                }
            }
        }
    }
    (None, faults)
}

/// Refuses a document of another program or version before its fields are read.
fn check_header(document: &Node) -> Result<(), FieldError> {
    if document.as_mapping().is_none() {
        let wanted = "expected a mapping with apiVersion, kind, metadata and spec";
        return Err(FieldError::new(document.position(), wanted).with_code(Code::OtherKind));
    }
    check_word(document, "kind", KIND)?;
    check_word(document, "apiVersion", API_VERSION)
}

fn check_word(document: &Node, key: &str, known: &str) -> Result<(), FieldError> {
    let Some(value) = document.get(key).filter(|value| !value.is_null()) else {
        return Err(FieldError::new(
            document.position(),
            format!("{key} is missing; write '{key}: {known}'"),
        )
        .with_code(Code::OtherKind));
    };
    let message = match value.as_text() {
        Some(text) if text == known => return Ok(()),
        Some(text) => {
            let guess = match find_nearest(text, [known]) {
                Some(near) => did_you_mean(text, near),
                None => format!("expected '{known}'"),
            };
            format!("{:?} is unknown; {guess}", shorten(text))
        }
        None => format!("expected '{known}'"),
    };
    Err(FieldError::new(value.position(), message)
        .with_code(Code::OtherKind)
        .add_segment(PathSegment::Key(key.to_owned()), value.position()))
}

fn refuse_size(size: usize, file: &str) -> Result<(), LoadError> {
    match size {
        0..=MAX_BYTES => Ok(()),
        _ => Err(whole_file_error(
            file,
            Code::TooLarge,
            format!("larger than {MAX_BYTES} bytes, the limit for a manifest"),
        )),
    }
}

fn not_yaml(file: &str, error: &ReadError) -> LoadError {
    let document = (error.document > 1).then_some(error.document);
    not_a_manifest(
        file,
        document,
        &FieldError::new(error.at, rule_text(&error.broken)).with_code(error.broken.code()),
    )
}

/// Describes a broken rule in the terms of a manifest.
fn rule_text(broken: &BrokenRule) -> String {
    match broken {
        BrokenRule::Syntax(cause) => format!("not YAML: {cause}"),
        BrokenRule::AliasInItself => "an alias refers to a node that contains it".to_owned(),
        BrokenRule::KeyIsCollection => "a key must be a word, not a list or a mapping".to_owned(),
        BrokenRule::KeyTwice { key, first_line } => {
            format!("duplicate key {:?}, first used on line {first_line}", shorten_key(key))
        }
        BrokenRule::MergeOfOther => "'<<' requires a mapping or a list of mappings".to_owned(),
        others => others.to_string(),
    }
}

fn not_a_manifest(file: &str, document: Option<usize>, fault: &FieldError) -> LoadError {
    LoadError::NotAManifest {
        file: file.to_owned(),
        at: fault.at,
        document,
        path: fault.path_text(),
        message: escape_unseen(&fault.message),
        code: fault.code,
    }
}

fn whole_file_error(file: &str, code: Code, message: String) -> LoadError {
    LoadError::NotAManifest {
        file: file.to_owned(),
        at: None,
        document: None,
        path: String::new(),
        message,
        code,
    }
}

fn unreadable_error(file: &str, error: &io::Error) -> LoadError {
    let cause = describe_io_error(error);
    LoadError::Unreadable { file: file.to_owned(), cause }
}
