//! Resolves the reference in a `Location` header (RFC 3986, 5.2).

use ureq::http::Uri;

/// Whether a word is a URL scheme by RFC 3986. In a path with ':', a slash or a space comes before it.
pub(super) fn is_scheme(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Returns the scheme of a URL, or of a reference that is a whole URL.
pub(super) fn scheme_of(reference: &str) -> Option<&str> {
    reference.split_once(':').map(|(word, _)| word).filter(|word| is_scheme(word))
}

/// Percent-encodes the bytes of a reference that are not allowed in a URL (RFC 3986, 2.1): spaces, and letters in
/// whatever encoding the server uses. Browsers, curl and wget do the same.
pub(super) fn percent_encoded(reference: &[u8]) -> String {
    let mut out = String::new();
    for byte in reference.trim_ascii() {
        match byte {
            b'"' | b'<' | b'>' | b'`' => out += &format!("%{byte:02X}"),
            byte if byte.is_ascii_graphic() => out.push(char::from(*byte)),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// Resolves a reference against a URL. The result is not validated.
pub(super) fn resolve_reference(base: &Uri, reference: &str) -> String {
    if scheme_of(reference).is_some() {
        return reference.to_owned();
    }
    let scheme = base.scheme_str().unwrap_or_default();
    if reference.starts_with("//") {
        return format!("{scheme}:{reference}");
    }
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let (path, rest) = reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()));
    let query = base.query().filter(|_| path.is_empty() && !rest.starts_with('?'));
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}{}{query}{rest}", path_from(base.path(), path))
}

fn path_from(base: &str, path: &str) -> String {
    match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{path}"))
        }
    }
}

/// Removes `.` and `..` from an absolute path (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_are_percent_encoded() {
        for (written, encoded) in [
            (b"/plain/my image.qcow2".as_slice(), "/plain/my%20image.qcow2"),
            ("/bild-größe.qcow2".as_bytes(), "/bild-gr%C3%B6%C3%9Fe.qcow2"),
            (b"/bild-gr\xf6\xdfe.qcow2", "/bild-gr%F6%DFe.qcow2"),
            (b" /a%20b?x=1&y=[2]#f\t", "/a%20b?x=1&y=[2]#f"),
            (b"/a\"<b>`{c}|^\\", "/a%22%3Cb%3E%60{c}|^\\"),
        ] {
            assert_eq!(percent_encoded(written), encoded);
        }
    }

    /// The examples of RFC 3986, 5.4.
    #[test]
    fn references_are_resolved_as_in_the_rfc() {
        let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
        for (reference, there) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
        ] {
            assert_eq!(resolve_reference(&base, reference), there, "{reference}");
        }
    }
}
