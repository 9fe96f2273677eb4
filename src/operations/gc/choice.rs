//! What the user names on the command line, compared with what was found.

use std::fmt;
use std::str::FromStr;

use super::{Fate, Remains, Survey};
use crate::error::{Error, Kind};
use crate::operations::{Session, images};
use crate::text::shell_word;

/// Something that a user wants to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A volume of a pool.
    Volume {
        /// The pool.
        pool: String,
        /// The volume.
        name: String,
    },
    /// A file of the host.
    Path(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_owned()));
        }
        match text.split_once('/') {
            Some((pool, name)) if !pool.is_empty() && !name.is_empty() => {
                Ok(Self::Volume { pool: pool.to_owned(), name: name.to_owned() })
            }
            _ => {
                Err("it is neither POOL/VOLUME nor the path of a file; a VM goes with foundry destroy".into())
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume { pool, name } => write!(f, "{pool}/{name}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// What is to be done: everything that goes by itself, and what was named.
///
/// # Errors
/// [`Kind::Storage`] at the first name that is none of those that may go.
pub fn choose<'a>(
    session: &Session<'_>,
    survey: &'a Survey,
    named: &[Choice],
) -> Result<Vec<&'a Remains>, Error> {
    let names: Vec<String> = named.iter().map(ToString::to_string).collect();
    for (choice, name) in named.iter().zip(&names) {
        match survey.remains.iter().find(|remains| remains.name == *name) {
            Some(found) if found.fate == Fate::Stays => return Err(stays(found)),
            Some(_) => {}
            None => return Err(explain(session, survey, choice)?.outcome("nothing was changed")),
        }
    }
    let is_chosen = |remains: &&Remains| match remains.fate {
        Fate::Goes => true,
        Fate::WhenNamed => names.contains(&remains.name),
        Fate::Stays => false,
    };
    Ok(survey.remains.iter().filter(is_chosen).collect())
}

fn stays(found: &Remains) -> Error {
    let error = Error::new(Kind::Storage, format!("{found} is not removed"))
        .because(found.reason.clone())
        .outcome("nothing was changed");
    match &found.hint {
        Some(hint) => error.hint(hint.clone()),
        None => error,
    }
}

/// Why something that was named is none of those that may go.
fn explain(session: &Session<'_>, survey: &Survey, choice: &Choice) -> Result<Error, Error> {
    let refused = |cause: String| {
        Error::new(Kind::Storage, format!("{choice} is not among what was left")).because(cause)
    };
    let (pool, name) = match choice {
        Choice::Volume { pool, name } => (pool, name),
        Choice::Path(path) => return Ok(refused(no_orphan(session, survey, path))),
    };
    match session.host.pool(pool)? {
        None => return images::no_pool(session, pool),
        Some(found) if !found.active => {
            return Ok(refused(format!("pool '{pool}' is not started"))
                .hint(format!("foundry pool start {}", shell_word(pool))));
        }
        Some(_) => {}
    }
    let Some(volume) = session.host.volume(pool, name)? else {
        return Ok(refused(format!("there is no volume '{name}' in pool '{pool}'")));
    };
    if let Some(reason) = survey.usage.as_ref().and_then(|usage| usage.reason(&volume)) {
        return Ok(refused(reason));
    }
    let (pool_word, word) = (shell_word(pool), shell_word(name));
    if !survey.pools.contains(pool) {
        return Ok(refused(format!("pool '{pool}' is none that foundry keeps disks in"))
            .hint(format!("virsh vol-delete --pool {pool_word} {word} deletes it")));
    }
    Ok(refused("it is an image".into())
        .hint(format!("foundry image delete {word} --pool {pool_word} deletes it")))
}

fn no_orphan(session: &Session<'_>, survey: &Survey, path: &str) -> String {
    if !session.host.is_local() {
        return "the host's files can be seen on the host only".into();
    }
    match survey.unseen.first() {
        Some(unseen) => format!("nobody can tell here: {unseen}"),
        None if std::fs::symlink_metadata(path).is_err() => "there is no such file".into(),
        None => "it is no file with the EFI variables of a domain that is gone".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_volume_or_a_path() {
        let volume = Choice::Volume { pool: "a".into(), name: "b/c".into() };
        assert_eq!("a/b/c".parse(), Ok(volume));
        assert_eq!("/a/b".parse(), Ok(Choice::Path("/a/b".into())));
        for wrong in ["", "web", "a/"] {
            wrong.parse::<Choice>().unwrap_err();
        }
    }
}
