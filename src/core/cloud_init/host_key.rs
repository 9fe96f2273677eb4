//! The guest's SSH host key pair, made before the first boot.
//!
//! The private key is in the seed's vendor-data only (cloud-init's module `cc_ssh`, `ssh_keys`); the record has the
//! public one. With `ssh_keys`, cloud-init deletes the keys of the image (`ssh_deletekeys`, by default true) and
//! generates none itself, so the guest has this key and no other.

use std::fmt;

use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

use super::check::SeedError;
use crate::yaml::node::{Mapping, Node};

/// Length of the secret part of an Ed25519 key in bytes (RFC 8032, section 5.1.5).
const SECRET_BYTES: usize = 32;

/// An Ed25519 host key pair in OpenSSH's formats.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKeyPair {
    private: String,
    public: String,
}

impl HostKeyPair {
    /// Generates a key pair from the system's random numbers.
    ///
    /// # Errors
    /// If the system has none.
    pub fn generate() -> Result<Self, SeedError> {
        let failed = |cause: String| SeedError(format!("cannot make the guest's SSH host key: {cause}"));
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|e| failed(e.to_string()))?;
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&secret));
        let private = key.to_openssh(LineEnding::LF).map_err(|e| failed(e.to_string()))?.to_string();
        let public = key.public_key().to_openssh().map_err(|e| failed(e.to_string()))?;
        Ok(Self { private, public: public.trim().to_owned() })
    }

    /// Returns the public key, type and base64, as in known_hosts.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Creates the vendor-data that installs the key.
    pub fn vendor_data(&self) -> String {
        let keys = Mapping::new()
            .with_entry("ed25519_private", Node::from_string(&self.private))
            .with_entry("ed25519_public", Node::from_string(&self.public));
        format!("#cloud-config\n{}", Node::from(Mapping::new().with_entry("ssh_keys", keys.into())).to_yaml())
    }
}

/// Without the private key.
impl fmt::Debug for HostKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::node::read_documents;

    #[test]
    fn vendor_data_has_both_keys_and_debug_only_the_public_one() {
        let pair = HostKeyPair::generate().unwrap();
        assert!(pair.public().starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"), "{}", pair.public());
        let text = pair.vendor_data();
        let document = read_documents(&text).unwrap().remove(0);
        let keys = document.get("ssh_keys").unwrap();
        let private = keys.get("ed25519_private").and_then(Node::as_text).unwrap();
        // sshd refuses a key file without the final line break.
        assert!(private.ends_with("-----END OPENSSH PRIVATE KEY-----\n"), "{private:?}");
        assert_eq!(keys.get("ed25519_public").and_then(Node::as_text), Some(pair.public()));
        let read = PrivateKey::from_openssh(private).unwrap();
        assert_eq!(read.public_key().to_openssh().unwrap().trim(), pair.public());
        assert!(!format!("{pair:?}").contains("PRIVATE"), "{pair:?}");
        assert_ne!(HostKeyPair::generate().unwrap().public(), pair.public());
    }
}
