//! How cloud-init detects the type of user-data.

use std::fmt;

/// A type of user-data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    CloudConfig,
    CloudConfigArchive,
    CloudConfigPatch,
    Boothook,
    Include,
    PartHandler,
    Script,
    Template,
    Mime,
}

/// First lines in `INCLUSION_TYPES_MAP` of cloud-init's `handlers/__init__.py`. A longer one precedes its own prefix.
const BEGINNINGS: [(&str, Header); 9] = [
    ("#cloud-config-archive", Header::CloudConfigArchive),
    ("#cloud-config-jsonp", Header::CloudConfigPatch),
    ("#cloud-config", Header::CloudConfig),
    ("#cloud-boothook", Header::Boothook),
    ("#include-once", Header::Include),
    ("#include", Header::Include),
    ("#part-handler", Header::PartHandler),
    ("## template: jinja", Header::Template),
    ("#!", Header::Script),
];

impl Header {
    /// Detects the type by the beginning of the text. White space before it and the case of letters are ignored
    /// (`type_from_starts_with`).
    pub(super) fn at_start(text: &str) -> Option<Self> {
        let start = text.trim_start().as_bytes();
        let begins = |b: &str| start.get(..b.len()).is_some_and(|s| s.eq_ignore_ascii_case(b.as_bytes()));
        if begins("mime-version:") || begins("content-type: multipart/") {
            return Some(Self::Mime);
        }
        BEGINNINGS.iter().find(|(beginning, _)| begins(beginning)).map(|(_, header)| *header)
    }

    /// Whether it is a script, which sets no key of a cloud-config.
    pub(super) fn is_script(self) -> bool {
        matches!(self, Self::Script | Self::Boothook)
    }

    /// Detects the type as cloud-init does. `MIME-Version:` within the first 4,096 bytes makes a MIME message
    /// (`convert_string`); without it there is none. A text with another known beginning keeps its type, because the
    /// type of a message without headers is determined by its body.
    pub(super) fn detect(text: &str) -> Option<Self> {
        let head = &text.as_bytes()[..text.len().min(4096)];
        let marked = head.to_ascii_lowercase().windows(13).any(|w| w == b"mime-version:");
        match Self::at_start(text) {
            None | Some(Self::Mime) => marked.then_some(Self::Mime),
            other => other,
        }
    }

    /// Detects the type. A text without a known type is an error.
    pub(super) fn require(text: &str) -> Result<Self, String> {
        Self::detect(text).ok_or_else(|| no_header_message(text))
    }
}

fn no_header_message(text: &str) -> String {
    let first = text.trim_start().lines().next().unwrap_or_default();
    if first.is_empty() {
        return "is empty".to_owned();
    }
    if first.to_ascii_lowercase().starts_with("content-type:") {
        return "is a MIME message without the line `MIME-Version:`, by which cloud-init recognizes it"
            .to_owned();
    }
    format!(
        "begins with {}, so cloud-init does not recognize its type; it must begin with `#cloud-config`, \
         `#!` and an interpreter, `#cloud-boothook`, `#cloud-config-archive`, `#cloud-config-jsonp`, \
         `#include`, `#include-once`, `#part-handler` or `## template: jinja`, or be a MIME message",
        kind_of_line(first)
    )
}

/// Describes a line without quoting it: any line of a user-data may contain a password or a token.
fn kind_of_line(line: &str) -> &'static str {
    match line.chars().next() {
        Some('\u{feff}') => "a byte order mark",
        Some('#') => "a comment",
        _ if line.contains(": ") || line.ends_with(':') => "a key and a colon",
        _ => "text",
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloudConfig => "a cloud-config",
            Self::CloudConfigArchive => "a cloud-config archive",
            Self::CloudConfigPatch => "a patch of a cloud-config",
            Self::Boothook => "a boothook",
            Self::Include => "a list of addresses to include",
            Self::PartHandler => "a part handler",
            Self::Script => "a script",
            Self::Template => "a template",
            Self::Mime => "a MIME message",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_detected_as_by_cloud_init() {
        for (text, header) in [
            ("#cloud-config\na: 1\n", Header::CloudConfig),
            ("\n  #Cloud-Config\n", Header::CloudConfig),
            ("#cloud-config-archive\n", Header::CloudConfigArchive),
            ("#cloud-config-jsonp\n", Header::CloudConfigPatch),
            ("#!/bin/sh\n", Header::Script),
            ("#include-once http://x/\n", Header::Include),
            ("#include http://x/\n", Header::Include),
            ("#part-handler\n", Header::PartHandler),
            ("#cloud-boothook\n", Header::Boothook),
            ("## template: jinja\n#cloud-config\n", Header::Template),
            ("Content-Type: multipart/mixed\nMIME-Version: 1.0\n", Header::Mime),
            ("From: ann\nmime-version: 1.0\n", Header::Mime),
            ("#cloud-config\nwrite: 'mime-version: 1'\n", Header::CloudConfig),
        ] {
            assert_eq!(Header::detect(text), Some(header), "{text:?}");
        }
    }

    #[test]
    fn other_texts_have_no_type() {
        let far = format!("{}MIME-Version: 1.0\n", "x".repeat(4096));
        for text in [
            "",
            "hello",
            "#cloud-con",
            "##template:jinja",
            "#upstart-job\n",
            "Content-Type: multipart/mixed\n",
            &far,
        ] {
            assert!(Header::require(text).is_err(), "{text:?}");
        }
    }
}
