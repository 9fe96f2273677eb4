//! Reads logins by host in the format of netrc(5) as curl reads it: words separated by spaces, in quotes if they
//! contain spaces.

/// A login; without a host it is for all other hosts.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct NetrcEntry {
    pub(super) host: Option<String>,
    pub(super) user: String,
    pub(super) password: String,
}

/// Parses the entries of a text, in their order. Returns `None` if the text is not netrc.
///
/// # Errors
/// Half a sentence, which never contains a part of the text.
pub(super) fn parse_netrc(text: &str) -> Result<Option<Vec<NetrcEntry>>, &'static str> {
    let words = split_words(text)?;
    if !matches!(words.first().map(String::as_str), Some("machine" | "default" | "macdef")) {
        return Ok(None);
    }
    let mut entries: Vec<NetrcEntry> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("ends within an entry");
        let fresh = |host| NetrcEntry { host, user: String::new(), password: String::new() };
        match word.as_str() {
            "machine" => entries.push(fresh(Some(value()?))),
            "default" => entries.push(fresh(None)),
            "login" => {
                entries.last_mut().ok_or("has a login or password before the first machine")?.user = value()?
            }
            "password" => {
                entries.last_mut().ok_or("has a login or password before the first machine")?.password =
                    value()?
            }
            // For FTP only.
            "account" => drop(value()?),
            _ => return Err("contains an unknown word"),
        }
    }
    Ok(Some(entries))
}

/// Splits a text into words without comments and macros. A macro ends with an empty line.
fn split_words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, behind) = take_word(rest)?;
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word);
            rest = behind.trim_start();
        }
    }
    Ok(words)
}

/// Takes the first word of a line, and returns the rest.
fn take_word(line: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = line.strip_prefix('"') else {
        let end = line.find(char::is_whitespace).unwrap_or(line.len());
        return Ok((line[..end].to_owned(), &line[end..]));
    };
    let (mut word, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((word, &quoted[at + 1..])),
            '\\' => word.extend(chars.next().map(|(_, c)| match c {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c => c,
            })),
            c => word.push(c),
        }
    }
    Err("has an unclosed quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_entries(text: &str) -> Vec<(Option<String>, String, String)> {
        let entries = parse_netrc(text).unwrap().unwrap();
        entries.into_iter().map(|e| (e.host, e.user, e.password)).collect()
    }

    #[test]
    fn entries_are_read_in_order() {
        let text = "# of ours\nmachine a.example\n  login me\n  password \"p \\\"w#\"\nmachine b login u password x account y\n\
                    macdef init\ncd /\nmachine no\n\ndefault login any password p#1\n";
        let own = |host: Option<&str>, user: &str, password: &str| {
            (host.map(str::to_owned), user.to_owned(), password.to_owned())
        };
        let wanted =
            [own(Some("a.example"), "me", "p \"w#"), own(Some("b"), "u", "x"), own(None, "any", "p#1")];
        assert_eq!(read_entries(text), wanted);
    }

    #[test]
    fn other_text_is_none_and_invalid_netrc_is_an_error() {
        assert!(parse_netrc("me:pw").unwrap().is_none());
        assert!(parse_netrc("machines are:here").unwrap().is_none());
        for bad in ["machine", "machine a login", "default passwort x", "machine a login \"x"] {
            assert!(parse_netrc(bad).is_err(), "{bad}");
        }
    }
}
