//! How cloud-init detects the type of user-data.

use std::fmt;

/// A kind of user-data.
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

/// The beginnings in `INCLUSION_TYPES_MAP` of cloud-init's `handlers/__init__.py`, a longer one before one
/// that it begins with.
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
    /// What a text is by its beginning; blanks before it and capitals do not matter
    /// (`type_from_starts_with`).
    pub(super) fn at_start(text: &str) -> Option<Self> {
        let start = text.trim_start().as_bytes();
        let begins = |b: &str| start.get(..b.len()).is_some_and(|s| s.eq_ignore_ascii_case(b.as_bytes()));
        if begins("mime-version:") || begins("content-type: multipart/") {
            return Some(Self::Mime);
        }
        BEGINNINGS.iter().find(|(beginning, _)| begins(beginning)).map(|(_, header)| *header)
    }

    /// What a text is to cloud-init, if it is anything. A `MIME-Version:` within the first 4,096 bytes makes
    /// a MIME message (`convert_string`), and without one there is none; a text with another beginning stays
    /// what it is, because a message without headers is typed by its body.
    pub(super) fn detect(text: &str) -> Option<Self> {
        let head = &text.as_bytes()[..text.len().min(4096)];
        let marked = head.to_ascii_lowercase().windows(13).any(|w| w == b"mime-version:");
        match Self::at_start(text) {
            None | Some(Self::Mime) => marked.then_some(Self::Mime),
            other => other,
        }
    }

    /// The same for a text that must be something.
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
        return "is a MIME message without the `MIME-Version:` line by which cloud-init knows one".to_owned();
    }
    format!(
        "begins with {}, by which cloud-init does not know what it is; it begins with `#cloud-config`, \
         `#!` and an interpreter, `#cloud-boothook`, `#cloud-config-archive`, `#cloud-config-jsonp`, \
         `#include`, `#include-once`, `#part-handler`, `## template: jinja`, or is a MIME message",
        kind_of_line(first)
    )
}

/// Says what a line is, never what it says: any line of a user-data may hold a password or a token.
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
    fn beginnings_are_told_apart_as_cloud_init_does() {
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
    fn the_rest_is_nothing_to_cloud_init() {
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
