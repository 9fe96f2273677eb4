//! The token of the API.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foundry_core::error::{Code, Error};
use ring::{hmac, rand};

/// The shortest token, in characters.
const SHORTEST: usize = 16;

/// A token, kept so that it can be compared in constant time and shown by nobody.
pub struct ApiToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken")
    }
}

impl ApiToken {
    /// Takes a token.
    ///
    /// # Errors
    /// [`Code::ListenerUnusable`] if it is too short, or the system gives no random numbers.
    pub fn new(token: &str) -> Result<Self, Error> {
        let unfit =
            |why: &str| Error::new(Code::ListenerUnusable, "the token of the API is not used").because(why);
        if token.len() < SHORTEST {
            return Err(unfit(&format!("it has fewer than {SHORTEST} characters")));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| unfit("the system gives no random numbers"))?;
        Ok(Self { tag: hmac::sign(&key, token.as_bytes()), key })
    }

    /// Whether a request has the token: `Authorization: Bearer TOKEN`, or as the password of Basic, which browsers ask for
    /// (RFC 6750, RFC 7617).
    pub(crate) fn is_given(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, word)) =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        let is_token = |text: &[u8]| hmac::verify(&self.key, text, self.tag.as_ref()).is_ok();
        if scheme.eq_ignore_ascii_case("bearer") {
            return is_token(word.trim().as_bytes());
        }
        let decoded = STANDARD.decode(word.trim()).unwrap_or_default();
        let password = decoded.iter().position(|byte| *byte == b':').map(|at| &decoded[at + 1..]);
        scheme.eq_ignore_ascii_case("basic") && password.is_some_and(is_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_in_both_forms_only() {
        assert!(ApiToken::new("short").is_err());
        let token = ApiToken::new("a-token-of-20-chars-").unwrap();
        let given =
            |value: &str| token.is_given(&[(AUTHORIZATION, value.parse().unwrap())].into_iter().collect());
        assert!(given("Bearer a-token-of-20-chars-"));
        assert!(given(&format!("basic {}", STANDARD.encode("anybody:a-token-of-20-chars-"))));
        for wrong in ["Bearer a-token-of-20-chars", "Bearer", "a-token-of-20-chars-", "Basic !", "Basic "] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!token.is_given(&HeaderMap::new()));
    }
}
