//! Validates password hashes in the formats of libxcrypt's crypt(5).

/// How to make a hash, for the messages.
const MAKE_ONE: &str = "make one with 'mkpasswd --method=SHA-512' or 'openssl passwd -6'";

/// Checks that a text is a hash that a guest's libcrypt understands.
///
/// # Errors
/// What is wrong. The message never contains the text, because it may be the password itself.
pub(super) fn check_password_hash(hash: &str) -> Result<(), String> {
    if hash.is_empty() {
        return Err(format!("is empty, which would allow root to log in without a password; {MAKE_ONE}"));
    }
    let Some((id, rest)) = hash.strip_prefix('$').and_then(|h| h.split_once('$')) else {
        return Err(format!(
            "does not begin with '$' and a method id, so it is not a hash (is it the password itself?); {MAKE_ONE}"
        ));
    };
    if let Some(message) = explain_bad_character(hash) {
        return Err(message.to_owned());
    }
    let fits = match id {
        "6" => is_sha_crypt(rest, 86),
        "5" => is_sha_crypt(rest, 43),
        "y" | "gy" => is_yescrypt(rest),
        "7" => is_scrypt(rest),
        "2a" | "2b" | "2x" | "2y" => is_bcrypt(rest),
        _ => return Err(unknown_method(id)),
    };
    if fits { Ok(()) } else { Err(format!("is not a complete ${id}$ hash (crypt(5)); {MAKE_ONE}")) }
}

/// Explains a character that would end the hash or the line: `chpasswd` reads `name:hash` lines.
fn explain_bad_character(hash: &str) -> Option<&'static str> {
    if hash.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("must not contain spaces, line breaks or control characters");
    }
    hash.contains(':').then_some("must not contain ':'")
}

fn unknown_method(id: &str) -> String {
    match id {
        "1" | "3" | "md5" | "sha1" => {
            format!("uses the method ${id}$, which is insecure and which current guests refuse; {MAKE_ONE}")
        }
        _ => format!(
            "uses a method that crypt(5) does not support; supported are $y$, $gy$, $7$, $2b$, $6$ and $5$; {MAKE_ONE}"
        ),
    }
}

/// Checks `[rounds=N$]salt$hash`. crypt(3) cuts a salt of more than 16 characters, so no password would ever match such
/// a hash.
fn is_sha_crypt(rest: &str, length: usize) -> bool {
    let rest = match rest.strip_prefix("rounds=").and_then(|r| r.split_once('$')) {
        Some((rounds, rest)) if is_number(rounds) => rest,
        Some(_) => return false,
        None => rest,
    };
    rest.split_once('$')
        .is_some_and(|(salt, hash)| (1..=16).contains(&salt.len()) && is_encoded(hash, length..=length))
}

/// Checks `parameters$salt$hash`.
fn is_yescrypt(rest: &str) -> bool {
    let parts: Vec<&str> = rest.split('$').collect();
    matches!(parts[..], [parameters, salt, hash]
        if is_encoded(parameters, 1..=64) && is_encoded(salt, 0..=86) && is_encoded(hash, 43..=43))
}

/// Checks `parameters and salt$hash`.
fn is_scrypt(rest: &str) -> bool {
    rest.split_once('$').is_some_and(|(salt, hash)| is_encoded(salt, 11..=97) && is_encoded(hash, 43..=43))
}

/// Checks `cost$salt and hash`.
fn is_bcrypt(rest: &str) -> bool {
    rest.split_once('$').is_some_and(|(cost, hash)| {
        cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit()) && is_encoded(hash, 53..=53)
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether all characters are from crypt's base 64 alphabet.
fn is_encoded(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    /// Made with `openssl passwd` and libxcrypt's crypt(3).
    const GOOD: [&str; 5] = [
        "$5$abcd$7C8S3Kakv2PyGuCPvepMX85cIRrGkqAAL1ANT8OQDg7",
        "$6$x8kQ2mVn1TzLpR4e$4z88Gy4LflNdLnmk2xzRDjrQuP8m9aum5YLcX1/DJCvZB.dUaM639KNa1UgT2QPPibcDmU2cFirCIiE12isaK/",
        "$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$qdVSV23znpN3oRX4v17E59IodBxO1bzdFa3VKKRlE98",
        "$7$CU..../....k2XAnEHBqQ1Ct2aMXFKNa/$zeXXkmhf5bANnwxOSHu.l5b1wpbddyC.cDseUn6CeF/",
        "$2b$05$KBCwKxOzLha2MUDgW0PjXe2I9h8tEIKStkiCAzxzCz.g1BF3Esgv6",
    ];

    #[test]
    fn hashes_made_by_crypt_are_accepted() {
        for hash in GOOD {
            assert_eq!(check_password_hash(hash), Ok(()), "{hash}");
        }
        assert_eq!(check_password_hash(&format!("$6$rounds=656000$salt${}", "a".repeat(86))), Ok(()));
        assert_eq!(check_password_hash(&format!("$gy$j9T$salt${}", "a".repeat(43))), Ok(()));
    }

    #[test]
    fn one_character_more_or_less_is_refused() {
        for hash in GOOD {
            check_password_hash(&hash[..hash.len() - 1]).unwrap_err();
            check_password_hash(&format!("{hash}a")).unwrap_err();
            check_password_hash(&format!("{}-", &hash[..hash.len() - 1])).unwrap_err();
        }
    }

    #[test]
    fn messages_do_not_contain_the_password() {
        for secret in
            ["hunter2", "$hunter2", "$9$hunter2$", "$6$hunter2", "$1$hunter2$", "$6$hunter2$ ", "hunter2:"]
        {
            let message = check_password_hash(secret).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
