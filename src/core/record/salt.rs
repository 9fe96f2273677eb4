//! Salted digests of secrets: a weak secret cannot be guessed from the record alone.

use uuid::Uuid;

use super::digest_of;

/// Prefix of a salted digest. A digest without salt begins as [`digest_of`] writes it.
const SALTED: &str = "salted-";

/// A random text that is hashed before a secret. Each VM has its own. It is stored in the seed, next to the secrets:
/// anyone who can read the seed does not need to guess them.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(String);

impl Salt {
    /// Generates a salt of 122 random bits.
    pub fn generate() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// Parses a stored salt.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// Returns the hexadecimal digits that are stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Computes a salted digest: `salted-sha256:` and hexadecimal digits.
    pub fn digest_secret(&self, secret: &str) -> String {
        format!("{SALTED}{}", digest_of(&format!("{}{secret}", self.0)))
    }
}

/// Whether a secret is the recorded one; `salt` is the one in the seed. Older versions recorded digests without salt.
pub fn is_recorded(secret: &str, recorded: &str, salt: Option<&Salt>) -> bool {
    if !recorded.starts_with(SALTED) {
        return digest_of(secret) == recorded;
    }
    salt.is_some_and(|salt| salt.digest_secret(secret) == recorded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salted_digest_needs_its_salt() {
        let (one, two) = (Salt::generate(), Salt::generate());
        assert_ne!(one.digest_secret("pin: 1234"), two.digest_secret("pin: 1234"));
        let recorded = one.digest_secret("pin: 1234");
        assert!(recorded.starts_with("salted-sha256:"));
        assert!(is_recorded("pin: 1234", &recorded, Salt::parse(one.as_str()).as_ref()));
        assert!(!is_recorded("pin: 1235", &recorded, Some(&one)));
        assert!(!is_recorded("pin: 1234", &recorded, Some(&two)));
        assert!(!is_recorded("pin: 1234", &recorded, None));
        assert!(is_recorded("pin: 1234", &digest_of("pin: 1234"), Some(&one)), "as in older records");
        assert!(Salt::parse("").is_none() && Salt::parse("x\n").is_none());
    }
}
