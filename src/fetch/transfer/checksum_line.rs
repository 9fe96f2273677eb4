//! Parses one line of a checksum file, in the formats of all common tools.

use super::digest::Digest;
use super::hash_name::HashName;

/// The content of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChecksumLine<'a> {
    /// A digest, the file name that it is listed for, and the hash function that the line names.
    Digest { name: Option<String>, digest: Digest, function: Option<HashName> },
    /// The name for the digest in an earlier line (`Get-FileHash | Format-List`).
    NameOfLast(&'a str),
    /// The hash function of the following lines, and the name for the next digest (certutil writes both).
    Heading { function: HashName, name: Option<&'a str> },
    /// Anything else.
    Nothing,
}

/// Parses a line without its line break. A leading backslash means that the name is escaped.
pub(super) fn parse_line(line: &str) -> ChecksumLine<'_> {
    let line = line.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
    // A comment lists no file, but it may name the hash function of the following lines.
    if line.starts_with(['#', ';']) {
        return parse_without_digest(line);
    }
    let (escaped, plain) = line.strip_prefix('\\').map_or((false, line), |rest| (true, rest));
    let found = split_bsd(plain)
        .or_else(|| split_gnu(plain, None))
        .or_else(|| split_named_function(plain))
        .or_else(|| split_name_first(plain))
        .or_else(|| parse_spaced_digest(plain));
    let Some(ParsedLine { name, digest, function }) = found else { return parse_without_digest(plain) };
    let name = match name {
        Some(name) if escaped => match unescape_name(name) {
            Some(name) => Some(name),
            None => return ChecksumLine::Nothing,
        },
        name => name.map(str::to_owned),
    };
    ChecksumLine::Digest { name, digest, function }
}

struct ParsedLine<'a> {
    name: Option<&'a str>,
    digest: Digest,
    function: Option<HashName>,
}

/// Parses `SHA256 (name) = HEX`. OpenSSL omits the spaces; version 3 writes `SHA2-256`, others `SHA-256`.
fn split_bsd(line: &str) -> Option<ParsedLine<'_>> {
    let (function, rest) = line.split_once('(')?;
    let function = HashName::parse(function.trim())?;
    let (name, hex) = rest.rsplit_once(')')?;
    let digest = Digest::from_hex(hex.trim_start().strip_prefix('=')?.trim())?;
    Some(ParsedLine { name: Some(name), digest, function: Some(function) })
}

/// Parses `HEX  name` and `HEX *name`, or a single digest: `HEX`, and `HEX  -`, which sha256sum writes for its standard
/// input.
fn split_gnu(line: &str, function: Option<HashName>) -> Option<ParsedLine<'_>> {
    let end = line.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(line.len());
    let (hex, rest) = line.split_at(end);
    let digest = Digest::from_hex(hex)?;
    let Some(first) = rest.chars().next() else { return Some(ParsedLine { name: None, digest, function }) };
    if !first.is_whitespace() {
        return None;
    }
    // The second character is the mode, text or binary. Tools without modes write one space or a tab.
    let behind = &rest[first.len_utf8()..];
    let name = behind.strip_prefix([' ', '*']).unwrap_or(behind);
    Some(ParsedLine { name: Some(name).filter(|name| !matches!(*name, "" | "-")), digest, function })
}

/// Parses `sha256:HEX  name`, and the rows of PowerShell's `Get-FileHash`: `SHA256   HEX   C:\name`.
fn split_named_function(line: &str) -> Option<ParsedLine<'_>> {
    let (word, rest) = line.split_once(|c: char| c == ':' || c == '=' || c.is_whitespace())?;
    let function = HashName::parse(word)?;
    let found = split_gnu(rest.trim_start_matches(|c: char| c == '=' || c.is_whitespace()), Some(function))?;
    // Tables are filled up with spaces.
    Some(ParsedLine { name: found.name.map(str::trim), ..found })
}

/// Parses `name: HEX`, `"name": "HEX"` and `name = sha256:HEX`. If a hash function is in the name's place, there is no
/// name.
fn split_name_first(line: &str) -> Option<ParsedLine<'_>> {
    let quotes: &[char] = &['"', '\'', ',', '`'];
    let line = line.trim_end().trim_end_matches(quotes);
    let start = line.rfind(|c: char| !c.is_ascii_hexdigit()).map_or(0, |at| at + 1);
    let digest = Digest::from_hex(line.get(start..)?)?;
    let (before, function) = split_tag(line[..start].trim_end_matches(quotes));
    let name = before.trim_end().strip_suffix([':', '='])?.trim().trim_matches(quotes);
    if let Some(function) = HashName::parse(name) {
        return Some(ParsedLine { name: None, digest, function: Some(function) });
    }
    let name = Some(name).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("hash"));
    Some(ParsedLine { name, digest, function })
}

/// Splits the tag of a hash function from the text before a digest: `name = sha256:`.
fn split_tag(before: &str) -> (&str, Option<HashName>) {
    let plain = before.trim_end_matches(':');
    let at = plain.rfind(|c: char| c.is_whitespace() || "\"'=".contains(c)).map_or(0, |at| at + 1);
    match HashName::parse(&plain[at..]) {
        Some(function) if plain.len() < before.len() && at > 0 => {
            (plain[..at].trim_end_matches(['"', '\'']), Some(function))
        }
        _ => (before, None),
    }
}

/// Parses `e3 b0 c4 …`, the digests of older Windows' certutil.
fn parse_spaced_digest(line: &str) -> Option<ParsedLine<'_>> {
    let pairs: Vec<&str> = line.split_whitespace().collect();
    let digest = Digest::from_hex(&pairs.concat()).filter(|_| pairs.iter().all(|pair| pair.len() == 2))?;
    Some(ParsedLine { name: None, digest, function: None })
}

fn parse_without_digest(line: &str) -> ChecksumLine<'_> {
    let line = line.trim();
    if let Some((key, value)) = line.split_once(':')
        && key.trim().eq_ignore_ascii_case("path")
        && !value.trim().is_empty()
    {
        return ChecksumLine::NameOfLast(value.trim());
    }
    let (heading, name) = split_certutil(line).map_or((line, None), |(head, name)| (head, Some(name)));
    match HashName::in_heading(heading) {
        Some(function) => ChecksumLine::Heading { function, name },
        None => ChecksumLine::Nothing,
    }
}

/// Parses `SHA256 hash of disk.qcow2:`; older versions write `hash of file`.
fn split_certutil(line: &str) -> Option<(&str, &str)> {
    let (function, rest) = line.strip_suffix(':')?.split_once(" hash of ")?;
    HashName::parse(function)?;
    Some((function, rest.strip_prefix("file ").unwrap_or(rest)))
}

/// Undoes coreutils' escapes for characters that would break the line.
fn unescape_name(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}
