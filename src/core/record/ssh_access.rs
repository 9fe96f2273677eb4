//! The part of a record about logging in to the guest over SSH.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// How to log in to a guest over SSH, as its seed set it up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshAccess {
    /// The user with the SSH keys. `None` is the image's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The guest's public host keys, type and base64. Empty if they are not known. Anyone who may define a domain can
    /// write a record: parse each with [`HostKey::parse`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_keys: Vec<String>,
}

/// Types of host keys that sshd has.
const TYPES: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// A public host key: type and base64, separated by one space, as in known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE
/// FORMAT").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey(String);

impl HostKey {
    /// Parses a key without a comment.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, encoded) = text.split_once(' ')?;
        let blob = STANDARD.decode(encoded).ok()?;
        // The key begins with its type, which has its length before it (RFC 4251, section 5).
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (inner, key) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let is_whole = TYPES.contains(&kind) && inner == kind.as_bytes() && !key.is_empty();
        is_whole.then(|| Self(text.to_owned()))
    }

    /// Parses a line of a public key file: type, base64 and an optional comment.
    pub fn from_public_line(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        Self::parse(&format!("{} {}", words.next()?, words.next()?))
    }

    /// The SSH key's type.
    pub fn kind(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD";

    #[test]
    fn host_key_is_one_line_of_two_words() {
        assert_eq!(HostKey::parse(KEY).unwrap().to_string(), KEY);
        assert_eq!(HostKey::from_public_line(&format!("{KEY} root@web\n")).unwrap().kind(), "ssh-ed25519");
        for forged in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &format!("{KEY}\n* {KEY}"),
            &format!("{KEY} comment"),
            &format!("@cert-authority * {KEY}"),
            &format!(" {KEY}"),
            &KEY.replace("ssh-ed25519 ", "ssh-rsa "),
            &KEY.replace("ssh-ed25519 ", "ssh-ed25519  "),
        ] {
            assert_eq!(HostKey::parse(forged), None, "{forged:?}");
        }
    }
}
