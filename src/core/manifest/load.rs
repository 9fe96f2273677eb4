//! Reads manifests from the bytes of a file.
//!
//! ```text
//! bytes ─▶ text (≤ MAX_BYTES, UTF-8) ─▶ trees, one per document ─▶ header known? ─▶ VirtualMachine
//! ```
//!
//! The header (`apiVersion`, `kind`) is looked at before anything else in a document, so that another
//! program's manifest is called that and not "unknown field".

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::user_data::user_data_to_text;
use super::{API_VERSION, KIND, VirtualMachine};
use crate::error::{Code, Error};
use crate::names::find_nearest;
use crate::text::describe_io_error;
use crate::yaml::node::{Node, ReadError};
use crate::yaml::{
    self, BrokenRule, FieldError, PathStep, Position, did_you_mean, escape_unseen, shorten, shorten_key,
};

/// The largest manifest that is read, in bytes (1 MiB): what Kubernetes' API server takes, and far
/// more than the seed of a VM needs.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a manifest cannot be read (exit code 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// The system's reason.
        cause: String,
    },
    /// The text is not a manifest.
    NotAManifest {
        /// The file.
        file: String,
        /// Where in the file, if it is about one place.
        at: Option<Position>,
        /// Which document, counted from 1, where the file has several.
        document: Option<usize>,
        /// The field, empty where it is about the document.
        path: String,
        /// What is wrong and what would be right.
        message: String,
        /// Which rule is broken.
        code: Code,
    },
    /// Several things are wrong, in the order of the file.
    Several(Vec<Self>),
}

/// One document, as far as it can be read.
#[derive(Debug)]
pub struct PartialDocument {
    /// What it says without the fields that are wrong, where anything is left.
    pub manifest: Option<VirtualMachine>,
    /// What is wrong with the others.
    pub errors: Vec<LoadError>,
    /// The fields of which nothing more can be said.
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
    /// The cause by its code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::FileUnreadable,
            Self::NotAManifest { code, .. } => *code,
            // There is always one.
            Self::Several(errors) => errors.first().map_or(Code::NotYaml, Self::code),
        }
    }

    /// One error of some; `None` of none.
    fn combine(mut errors: Vec<Self>) -> Option<Self> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Several(errors)),
        }
    }
}

/// Reads all manifests of a file, or of standard input where the path is `-`.
///
/// # Errors
/// Where the file cannot be read, is larger than [`MAX_BYTES`] or not UTF-8, and as [`load`].
pub fn load_file(path: &Path) -> Result<Vec<VirtualMachine>, LoadError> {
    into_manifests(read_file(path)?)
}

/// Reads all manifests of a file as far as they can be read, so that whatever else is wrong can be told together with what
/// cannot be read.
///
/// # Errors
/// Where nothing of the file is a manifest: as [`load_file`], but for fields.
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

/// Reads all manifests of a stream; `file` is its name in messages. At most [`MAX_BYTES`] and one
/// more byte are taken from it.
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

/// Reads all manifests of a YAML text; `file` is its name in messages. Empty documents are passed over.
///
/// # Errors
/// What YAML or the field names rule out, with line and column; also a text that holds no manifest at all.
pub fn load_text(text: &str, file: &str) -> Result<Vec<VirtualMachine>, LoadError> {
    into_manifests(read_text(text, file)?)
}

/// The manifests of documents that are wholly read.
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
    let mut told = 0;
    for (index, document) in filled {
        let (manifest, faults) = read_document(document, documents.first_violation.as_ref());
        let error = |fault| not_a_manifest(file, several.then_some(index + 1), fault);
        told += faults.len();
        read.push(PartialDocument {
            manifest,
            errors: faults.iter().map(error).collect(),
            unread: faults.iter().flat_map(FieldError::unread_fields).collect(),
        });
        // Many documents that are none are a file of another kind.
        if told >= FAULTS_TOLD {
            break;
        }
    }
    if read.is_empty() {
        return Err(whole_file_error(file, Code::NoManifest, "holds no manifest".to_owned()));
    }
    Ok(read)
}

/// At most this many faults of one document are shown: more are usually one mistake repeated.
const FAULTS_TOLD: usize = 20;

/// What a document says, and what is wrong with the rest. The reader stops at the first field that it cannot read, so it
/// reads anew without that one.
fn read_document(
    document: &Node,
    violation: Option<&ReadError>,
) -> (Option<VirtualMachine>, Vec<FieldError>) {
    let mut faults = Vec::new();
    if let Err(fault) = check_header(document) {
        return (None, vec![fault]);
    }
    let mut rest = document.clone();
    while faults.len() < FAULTS_TOLD {
        match user_data_to_text(&rest, violation).and_then(|text| yaml::read(&text)) {
            Ok(manifest) => return (Some(manifest), faults),
            Err(fault) => {
                let without = rest.without_field(&fault.field_steps());
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

/// Refuses another program's document, and another version's, before its fields are looked at.
fn check_header(document: &Node) -> Result<(), FieldError> {
    if document.as_mapping().is_none() {
        let wanted = "wants a mapping with apiVersion, kind, metadata and spec";
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
                None => format!("foundry knows '{known}'"),
            };
            format!("{:?} is not known; {guess}", shorten(text))
        }
        None => format!("wants the text '{known}'"),
    };
    Err(FieldError::new(value.position(), message)
        .with_code(Code::OtherKind)
        .add_step(PathStep::Key(key.to_owned()), value.position()))
}

fn refuse_size(size: usize, file: &str) -> Result<(), LoadError> {
    match size {
        0..=MAX_BYTES => Ok(()),
        _ => Err(whole_file_error(
            file,
            Code::TooLarge,
            format!("larger than {MAX_BYTES} bytes, which no manifest is"),
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

/// Says a broken rule as the rest of what is said about manifests.
fn rule_text(broken: &BrokenRule) -> String {
    match broken {
        BrokenRule::Syntax(cause) => format!("not YAML: {cause}"),
        BrokenRule::AliasInItself => "an alias of a node that holds the alias itself".to_owned(),
        BrokenRule::KeyIsCollection => "a key must be a word, not a list or a mapping".to_owned(),
        BrokenRule::KeyTwice { key, first_line } => {
            format!("duplicate key {:?}, given before on line {first_line}", shorten_key(key))
        }
        BrokenRule::MergeOfOther => "'<<' wants a mapping or a list of mappings".to_owned(),
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
