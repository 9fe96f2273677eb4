//! The `Authorization` header of HTTP's basic authentication.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Makes the header from a user name and a password (RFC 7617).
pub(super) fn basic_header(user: &[u8], password: &[u8]) -> String {
    format!("Basic {}", BASE64_STANDARD.encode([user, b":", password].concat()))
}
