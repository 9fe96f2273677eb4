//! Validates SSH public keys, as lines of sshd's authorized_keys file.
//!
//! `[options] type base64 [comment]` (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). The base64 part repeats the type and
//! then contains the key's numbers, each with its length (RFC 4253, section 6.6). So a key that was cut or joined to
//! another is detected.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::names::find_nearest;

/// The key types that sshd accepts.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Allowed length of RSA moduli in bits: sshd refuses shorter ones (RequiredRSASize), and OpenSSH cannot create longer
/// ones.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=16384;

/// Explains what to do about a private key in place of a public one.
pub(super) fn explain_private_key(text: &str) -> Option<&'static str> {
    let found = text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File");
    found.then_some(
        "is a PRIVATE key. Treat it as disclosed: remove it from the manifest and its history, \
         replace it everywhere, and write the content of the new '.pub' file here",
    )
}

/// Checks one line of authorized_keys.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_ssh_key(line: &str) -> Result<(), String> {
    if let Some(message) = explain_no_key(line) {
        return Err(message.to_owned());
    }
    let mut words = split_options(line)?.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    check_key_type(kind)?;
    let Some(encoded) = words.next() else {
        return Err(format!("has nothing after {kind:?}; it is incomplete"));
    };
    let blob = STANDARD
        .decode(encoded)
        .map_err(|_| "has a part that is not base64; it is incomplete or damaged".to_owned())?;
    check_blob(kind, &blob)
}

/// Explains common mistakes.
fn explain_no_key(line: &str) -> Option<&'static str> {
    if line.is_empty() {
        return Some("is empty");
    }
    if line.starts_with('#') {
        return Some("is a comment, not a key");
    }
    if line.starts_with("---- BEGIN SSH2 PUBLIC KEY") {
        return Some("is in the format of RFC 4716; convert it with 'ssh-keygen -i -f FILE'");
    }
    if line.starts_with(['/', '~']) || (line.ends_with(".pub") && !line.contains(' ')) {
        return Some("is the name of a file; write its content");
    }
    None
}

/// Removes sshd's options: the first word is not a key type, and quotes protect spaces.
fn split_options(line: &str) -> Result<&str, String> {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    // sshd(8): "option keywords are case-insensitive".
    let is_option =
        first.contains(['=', ',', '"']) || OPTIONS.iter().any(|option| option.eq_ignore_ascii_case(first));
    if !is_option {
        return Ok(line);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok(line[at..].trim_start()),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    Err(if quoted { "has options with an unclosed '\"'" } else { "has options but no key" }.to_owned())
}

/// Options of sshd(8) without a value; all others contain `=`.
const OPTIONS: [&str; 14] = [
    "agent-forwarding",
    "cert-authority",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "port-forwarding",
    "pty",
    "restrict",
    "user-rc",
    "verify-required",
    "x11-forwarding",
];

fn check_key_type(kind: &str) -> Result<(), String> {
    if TYPES.contains(&kind) {
        return Ok(());
    }
    if kind == "ssh-dss" {
        return Err("is a DSA key, which OpenSSH has refused since 7.0 (2015); make an ed25519 key".into());
    }
    if kind.ends_with("-cert-v01@openssh.com") {
        return Err("is a certificate; write the public key that it certifies".into());
    }
    let guess = find_nearest(kind, TYPES).map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Err(format!("does not begin with a key type ({}){guess}", TYPES.join(", ")))
}

/// Checks the decoded part of a key of a known type.
fn check_blob(kind: &str, blob: &[u8]) -> Result<(), String> {
    const CUT: &str = "is incomplete or damaged: a length in it does not match";
    let mut rest = blob;
    let inner = take_field(&mut rest).ok_or(CUT)?;
    if inner != kind.as_bytes() {
        return Err(format!(
            "begins with {kind:?} but contains a key of type {:?}",
            String::from_utf8_lossy(inner)
        ));
    }
    let numbers: Option<Vec<&[u8]>> =
        std::iter::from_fn(|| (!rest.is_empty()).then(|| take_field(&mut rest))).collect();
    if check_fields(kind, &numbers.ok_or(CUT)?)? { Ok(()) } else { Err(CUT.to_owned()) }
}

/// Whether the fields after the type fit the type.
fn check_fields(kind: &str, fields: &[&[u8]]) -> Result<bool, String> {
    Ok(match (kind, fields) {
        ("ssh-rsa", [_exponent, modulus]) => {
            let bits = bit_length(modulus);
            if !RSA_BITS.contains(&bits) {
                return Err(format!("is an RSA key of {bits} bits; sshd accepts 1024 to 16384"));
            }
            true
        }
        ("ssh-ed25519", [key]) | ("sk-ssh-ed25519@openssh.com", [key, _]) => key.len() == 32,
        ("ecdsa-sha2-nistp256", [b"nistp256", point])
        | ("sk-ecdsa-sha2-nistp256@openssh.com", [b"nistp256", point, _]) => is_point(point, 32),
        ("ecdsa-sha2-nistp384", [b"nistp384", point]) => is_point(point, 48),
        ("ecdsa-sha2-nistp521", [b"nistp521", point]) => is_point(point, 66),
        _ => false,
    })
}

/// Whether it is an uncompressed point on a curve: 4 and two coordinates (SEC 1, section 2.3.3).
fn is_point(point: &[u8], coordinate: usize) -> bool {
    point.len() == 1 + 2 * coordinate && point.first() == Some(&4)
}

/// Returns the length of a number without leading zero bits.
fn bit_length(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = &number[zeros..];
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// Takes the next field: four bytes with the length, then the bytes (RFC 4251, section 5).
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (field, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    /// One key of each type, made with ssh-keygen. The last two, which need a security key, were made by hand.
    const KEYS: [&str; 7] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQD2ghC9CIqIDn5yeRrKRfkAWr4X1A5HDkBY73nt7adifGGny1wTJQzC3ov22RQogfkSkyN7gXUMrjGSiPKS/PEvdlnYK8ScHk9Ob4Ea70/wKimNwiIL1RXbebofo+m9Tdhq5ex/fzYY5+2E2og9k0mQSwr84+CYbObHtdd3WyWJ0K3rU3CluVKbzt6tgCY5RcXRSPm/VunzgwPj8MFPN/s/10YWiQP5lIBCueSatx0JnO3DxtqXNLQt8l4BnyWcMzbzdmiCwgC1zkwZ/iKUQUFJ0HnajfsjqlS1csvyU9ozaPojPPlJDibdzU4uCle5faLQTBLzg6iW8Vcbzch2Ix44VTv6qJlmjJzMma9MD+iGnUSTyUaJm8WvJiVN4Wt6fKQTy1DKGPnzZ2mRVU5RlxCU4K9E3xwjw1s/WQtD1xalhcLNb305nRUfwqDNdeiqmrd/A4xt3fo/UwNrEGC8fvkR7KH3nWxqXUcjFG8tQfPkgmGJkjBL1zWQiWXHeMYDG5U= bob@example.com",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMoiib//xGMhEJxIW8uh88HpQHltDh+Q8ojuUSrFT9Rfq5CFEN1s/Jqof6pJtX+ErDkQj7St1c/SS6/CKjgw05k= e256@example.com",
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBJbreP+iTWlU7MtTnCyUJ5UXu+1/2usbFCL8SRzeq8Jx5PkzqvfboCYRcHkx8WcJSJL5zlqaEXCupNzqwGBECNaerg+21OyTL35VHzlTjyFiK4SJcJ7PwqNv36SXWmR6gA== e384",
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAE2zejNGA7PlE7xAhyI98UAqbMbc3Ew5p/1zn4Cmnnmg34xAS/30AcIxtQAbFEfXmDD3XjjObfZtPzO3kzkPiuSKQEKMHk+Zcp+ZSoP2HfMVze2YGRLjNdkLHzSPkGS/S8BjAuamDSo8LFnFRd6glCTGF9icG+2bOLHFJCRo+VIU3jPgA== e521",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fAAAABHNzaDo=",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8AAAAEc3NoOg==",
    ];

    #[test]
    fn each_type_is_accepted() {
        for (key, kind) in
            KEYS.iter().zip(["ssh-ed25519", "ssh-rsa"].into_iter().chain(TYPES.into_iter().skip(2)))
        {
            assert!(key.starts_with(kind), "{key} is not the key of {kind}");
            assert_eq!(check_ssh_key(key), Ok(()), "{key}");
        }
    }

    #[test]
    fn options_are_parsed_as_by_sshd() {
        for options in [
            "no-pty",
            "restrict,pty",
            "cert-authority",
            "NO-PTY",
            "Restrict",
            r#"From="10.0.0.0/8""#,
            r#"from="10.0.0.0/8,!10.1.0.0/16""#,
            r#"command="echo \"hello world\"; ls",no-X11-forwarding"#,
            r#"environment="A=b c"	"#,
        ] {
            assert_eq!(check_ssh_key(&format!("{options} {}", KEYS[0])), Ok(()), "{options}");
        }
        assert!(check_ssh_key(&format!("no-such-option {}", KEYS[0])).unwrap_err().contains("key type"));
        assert!(check_ssh_key(r#"command="a b"#).unwrap_err().contains("unclosed"));
        assert!(check_ssh_key("no-pty").unwrap_err().contains("no key"));
    }

    #[test]
    fn truncated_keys_are_refused() {
        for key in KEYS {
            let encoded = key.split(' ').nth(1).unwrap();
            let bare = &key[..key.find(encoded).unwrap() + encoded.len()];
            // If the type word is cut, the rest is another type, or none.
            for end in 0..bare.len() {
                assert!(check_ssh_key(&bare[..end]).is_err(), "{} of {key}", &bare[..end]);
            }
        }
    }

    #[test]
    fn private_key_is_recognized_in_every_format() {
        for header in [
            "OPENSSH PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
        ] {
            assert!(explain_private_key(&format!("-----BEGIN {header}-----\nAAAA")).is_some());
        }
        assert!(KEYS.iter().all(|key| explain_private_key(key).is_none()));
    }

    #[test]
    fn bit_length_ignores_leading_zeros() {
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[0x7f]), 7);
        assert_eq!((bit_length(&[]), bit_length(&[0, 0])), (0, 0));
    }
}
