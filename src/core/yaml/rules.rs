//! The rules that a YAML text can break, and which of them apply to which documents.

use super::field_error::{Position, shorten_key};
use crate::error::Code;

/// Maximum nesting of mappings and lists, with aliases expanded. A manifest needs six levels, a cloud-config a few
/// more. All code that walks a tree is recursive, and PyYAML itself fails near 200 levels (Python's limit of 1,000
/// frames).
pub const MAX_DEPTH: usize = 64;

/// Maximum size of all documents of a manifest with aliases expanded, in bytes and nodes.
pub(super) const MAX_EXPANDED: usize = 8 << 20;

/// The set of rules that applies to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Rules for foundry's own formats: every key is a word, and the total size is limited.
    Manifest,
    /// Rules for a cloud-config: foundry and cloud-init must read it in the same way.
    CloudConfig,
}

/// A rule that a text breaks. The messages are those for a cloud-config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenRule {
    #[error("{0}")]
    Syntax(String),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("an alias refers to a node that contains it")]
    AliasInItself,
    #[error("a key must be a single value, not a list or a mapping")]
    KeyIsCollection,
    #[error("duplicate key `{}`", escape_key(key))]
    KeyTwice { key: String, first_line: usize },
    #[error("`<<` requires a mapping or a list of mappings")]
    MergeOfOther,
    #[error("a key must be a word, not null")]
    NullKey,
    #[error("larger than {MAX_EXPANDED} bytes after expanding aliases")]
    Expanded,
    #[error("the aliases expand to too much text")]
    Aliased,
    #[error("duplicate key `<<`")]
    MergeTwice,
    /// The tag is not shown, because a password may begin with `!`.
    #[error(
        "a value that begins with `!` is a tag, and this tag is not allowed here; put such text in quotes"
    )]
    Tag(String),
    #[error("U+{:04X} must be written as an escape in double quotes,", u32::from(*.0))]
    Character(char),
    #[error("text with a tab in it must be quoted")]
    Tab,
    #[error("a text that begins with `?` must be quoted inside brackets")]
    QuestionMark,
    #[error("an anchor's name may contain only letters, digits, `-` and `_`")]
    Anchor,
}

impl BrokenRule {
    /// Returns the code of an error with this rule in a manifest or another file of foundry.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::KeyTwice { .. } => Code::KeyTwice,
            Self::Depth | Self::Expanded => Code::TooLarge,
            _ => Code::NotYaml,
        }
    }

    /// Whether breaking the rule makes a text with these rules unreadable.
    pub(super) fn ends_reading(&self, rules: Rules) -> bool {
        match self {
            Self::Syntax(_) | Self::Depth | Self::AliasInItself => true,
            Self::KeyIsCollection | Self::KeyTwice { .. } | Self::MergeOfOther => true,
            Self::NullKey | Self::Expanded => rules == Rules::Manifest,
            Self::Aliased | Self::MergeTwice | Self::Tag(_) | Self::Character(_) => {
                rules == Rules::CloudConfig
            }
            Self::Tab | Self::QuestionMark | Self::Anchor => rules == Rules::CloudConfig,
        }
    }
}

/// Why a text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{broken} at line {} column {}", .at.line, .at.column)]
pub struct ReadError {
    /// Position of the violation.
    pub at: Position,
    /// Number of the document, from 1.
    pub document: usize,
    pub(crate) broken: BrokenRule,
}

impl ReadError {
    /// Returns the code of the broken rule.
    pub fn code(&self) -> Code {
        self.broken.code()
    }

    /// Describes the broken rule, without its position.
    pub fn rule_text(&self) -> String {
        self.broken.to_string()
    }
}

/// Shortens and escapes a key for a message.
fn escape_key(key: &str) -> String {
    shorten_key(key).chars().flat_map(char::escape_debug).collect()
}
