//! An Ed25519 key pair for SSH: the host key of a guest, or the key of a user.

use std::fmt;

use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

/// Length of the secret part of an Ed25519 key in bytes (RFC 8032, section 5.1.5).
const SECRET_BYTES: usize = 32;

/// An Ed25519 key pair in OpenSSH's formats.
#[derive(Clone, PartialEq, Eq)]
pub struct SshKeyPair {
    private: String,
    public: String,
}

impl SshKeyPair {
    /// Generates a key pair from the system's random numbers.
    ///
    /// # Errors
    /// If the system has none: the cause.
    pub fn generate() -> Result<Self, String> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|e| e.to_string())?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&secret));
        let private = key.to_openssh(LineEnding::LF).map_err(|e| e.to_string())?.to_string();
        let public = key.public_key().to_openssh().map_err(|e| e.to_string())?;
        Ok(Self { private, public: public.trim().to_owned() })
    }

    /// Returns the private key as a file of OpenSSH, with the final line break that it requires.
    pub fn private(&self) -> &str {
        &self.private
    }

    /// Returns the public key, type and base64, as in known_hosts and authorized_keys.
    pub fn public(&self) -> &str {
        &self.public
    }
}

/// Without the private key.
impl fmt::Debug for SshKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_belongs_together_and_debug_has_only_the_public_key() {
        let pair = SshKeyPair::generate().unwrap();
        assert!(pair.public().starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "{}", pair.public());
        assert!(pair.private().ends_with("-----END OPENSSH PRIVATE KEY-----\n"));
        let read = PrivateKey::from_openssh(pair.private()).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap().trim(), pair.public());
        assert!(!format!("{pair:?}").contains("PRIVATE"), "{pair:?}");
        assert_ne!(SshKeyPair::generate().unwrap().public(), pair.public());
    }
}
