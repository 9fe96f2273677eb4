//! The login of a pull, from a private file or from the environment.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use foundry_core::error::{Code, Error};
use foundry_core::text::{describe_io_error, quote_for_shell};
use foundry_fetch::file_ownership;
use foundry_fetch::transfer::Login;

const VARIABLE: &str = "FOUNDRY_PULL_AUTH";

/// The largest login file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The login in the named file, otherwise in the variable.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] if it cannot be used.
pub(super) fn read_login(file: Option<&Path>) -> Result<Option<Login>, Error> {
    match (file, std::env::var_os(VARIABLE)) {
        (Some(file), _) => from_file(file).map(Some),
        (None, Some(value)) if !value.is_empty() => {
            let what = format!("the login in {VARIABLE}");
            let text = value.to_str().ok_or_else(|| unfit_login(&what, "is not text"))?;
            let login = Login::parse(text).map_err(|why| unfit_login(&what, why))?;
            Ok(Some(login))
        }
        _ => Ok(None),
    }
}

/// The file is opened once, so that owner and mode are those of the file that is read.
fn from_file(path: &Path) -> Result<Login, Error> {
    let shown = path.display().to_string();
    let what = format!("the login in file '{shown}'");
    let unreadable = |e: std::io::Error| {
        Error::new(Code::FileUnreadable, format!("cannot read {what}")).because(describe_io_error(&e))
    };
    let file = file_ownership::open_trusted(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(unfit_login(&what, &format!("can be read by others (mode {mode:o})"))
            .hint(format!("chmod 600 {}", quote_for_shell(&shown))));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(unfit_login(&what, "is longer than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| unfit_login(&what, "is not text"))?;
    Login::parse(&text).map_err(|why| unfit_login(&what, why))
}

fn unfit_login(what: &str, why: &str) -> Error {
    Error::new(Code::LoginUnfit, format!("{what} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_file_that_nobody_else_reads_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login");
        fs::write(&path, "me:s3cret\n").unwrap();
        let set = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        for mode in [0o644, 0o640, 0o604] {
            set(mode);
            let error = from_file(&path).unwrap_err();
            assert_eq!(error.code(), Code::LoginUnfit);
            assert!(error.message().contains("can be read by others"), "{error}");
        }
        for mode in [0o600, 0o400] {
            set(mode);
            assert!(from_file(&path).is_ok());
        }
        for text in ["s3cret s3cret", "s3cret\ns3cret:x", ""] {
            set(0o600);
            fs::write(&path, text).unwrap();
            let error = from_file(&path).unwrap_err();
            assert_eq!(error.code(), Code::LoginUnfit, "{text}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        assert_eq!(from_file(&dir.path().join("none")).unwrap_err().code(), Code::FileUnreadable);
        assert_eq!(from_file(Path::new("/dev/zero")).unwrap_err().code(), Code::LoginUnfit);
    }
}
