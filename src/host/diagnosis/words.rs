//! Finds parts of libvirt's and QEMU's messages.

/// The first line. libvirt appends the output of QEMU and ssh in further lines.
pub(crate) fn first_line(libvirt: &str) -> &str {
    libvirt.trim().lines().next().unwrap_or_default().trim_end()
}

/// The first text in single quotes after `words`, with its quotes.
pub(super) fn quoted_after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let rest = &text[text.find(words)? + words.len()..];
    let begin = rest.find('\'').filter(|at| *at == 0 || words.is_empty())?;
    let length = rest[begin + 1..].find('\'')? + 2;
    Some(&rest[begin..begin + length])
}

/// As [`quoted_after`], without the quotes.
pub(super) fn named_after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    quoted_after(text, words).map(|quoted| quoted.trim_matches('\''))
}

/// The first word in parentheses.
pub(super) fn in_parentheses(text: &str) -> Option<&str> {
    text.split_once('(')?.1.split_once(')').map(|(word, _)| word)
}

/// The text between two others.
pub(super) fn text_between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// Whether the text contains any of `words`.
pub(super) fn has_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|words| text.contains(words))
}

/// Accepts the name of a network interface (Linux: up to 15 bytes, no slash, no space); `None` for anything that a
/// shell or ip(8) could interpret differently.
pub(super) fn interface_name(word: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_one = !word.is_empty() && word.len() <= 15 && !word.starts_with('-') && word.chars().all(plain);
    is_one.then_some(word)
}
