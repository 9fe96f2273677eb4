//! SQLite's errors as foundry's.

use std::path::Path;

use foundry_core::error::{Code, Error};

/// What a database could not do. SQLite's messages name tables and columns, no values.
pub(crate) fn database_error(path: &Path, error: &rusqlite::Error) -> Error {
    Error::new(Code::JobDatabaseUnusable, format!("cannot use the database {}", path.display()))
        .because(error.to_string())
}
