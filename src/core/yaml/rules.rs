//! The rules that a YAML text can break, and for which documents they apply.

use super::field_error::{Position, shorten_key};
use crate::error::Code;

/// The deepest nesting of mappings and lists that is read, aliases expanded; a manifest needs six levels,
/// a cloud-config some more. Everything that walks a tree does so by recursion, and PyYAML itself gives up
/// near 200 levels (Python's limit of 1,000 frames).
pub const MAX_DEPTH: usize = 64;

/// The most that all documents of a manifest may hold once aliases are expanded, in bytes and nodes.
pub(super) const MAX_EXPANDED: usize = 8 << 20;

/// Whose rules a text is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// foundry's own: every key is a word, and everything together is bounded.
    Manifest,
    /// A cloud-config's: nothing may be one thing to foundry and another to cloud-init.
    CloudConfig,
}

/// A rule that a text breaks; it is said in the words of a cloud-config's messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenRule {
    #[error("{0}")]
    Syntax(String),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("an alias stands inside what it stands for")]
    AliasInItself,
    #[error("a key must be a single value, not a list or a mapping")]
    KeyIsCollection,
    #[error("the key `{}` comes twice", escape_key(key))]
    KeyTwice { key: String, first_line: usize },
    #[error("`<<` takes a mapping or a list of mappings")]
    MergeOfOther,
    #[error("a key must be a word, not null")]
    NullKey,
    #[error("holds more than {MAX_EXPANDED} bytes once aliases are expanded")]
    Expanded,
    #[error("the aliases stand for too much text")]
    Aliased,
    #[error("the key `<<` comes twice")]
    MergeTwice,
    /// Not named: a password may begin with `!`.
    #[error("what begins with `!` is a tag, and not one of plain data here; text like that is quoted")]
    Tag(String),
    #[error("U+{:04X} must be written as an escape between double quotes,", u32::from(*.0))]
    Character(char),
    #[error("text with a tab in it must be quoted")]
    Tab,
    #[error("what begins with `?` must be quoted between brackets")]
    QuestionMark,
    #[error("an anchor's name has only letters, digits, `-` and `_`")]
    Anchor,
}

impl BrokenRule {
    /// Its code, where it ends the reading of a manifest or another foundry file.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::KeyTwice { .. } => Code::KeyTwice,
            Self::Depth | Self::Expanded => Code::TooLarge,
            _ => Code::NotYaml,
        }
    }

    /// Whether it ends the reading of a text with these rules.
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
    /// The place.
    pub at: Position,
    /// Which document, counted from 1.
    pub document: usize,
    pub(crate) broken: BrokenRule,
}

impl ReadError {
    /// The code of the broken rule.
    pub fn code(&self) -> Code {
        self.broken.code()
    }

    /// The broken rule in words, without its place.
    pub fn rule_text(&self) -> String {
        self.broken.to_string()
    }
}

/// The beginning of a key, for a message.
fn escape_key(key: &str) -> String {
    shorten_key(key).chars().flat_map(char::escape_debug).collect()
}
