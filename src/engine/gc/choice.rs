//! Matches the names on the command line with the leftovers.

use std::fmt;

use super::{Fate, Remains, Survey};
use crate::{Context, image};
use foundry_core::error::{Advice, Code, Error, Verb};

/// Something that a user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A volume of a pool, or a disk of a VM.
    Volume {
        /// The pool.
        pool: String,
        /// The volume.
        name: String,
    },
    /// A file of the host.
    Path(String),
    /// A VM.
    Vm(String),
}

impl From<&str> for Choice {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            Some(("", _)) => Self::Path(text.to_owned()),
            Some((pool, name)) => Self::Volume { pool: pool.to_owned(), name: name.to_owned() },
            None => Self::Vm(text.to_owned()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume { pool, name } => write!(f, "{pool}/{name}"),
            Self::Path(text) | Self::Vm(text) => f.write_str(text),
        }
    }
}

/// What is to be done: what was named, or, where nothing was, everything that goes by itself.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] at the first name that is none of those that may go.
pub fn choose<'a>(
    context: &Context,
    survey: &'a Survey,
    named: &[Choice],
) -> Result<Vec<&'a Remains>, Error> {
    if named.is_empty() {
        return Ok(survey.remains.iter().filter(|remains| remains.fate == Fate::Goes).collect());
    }
    let mut chosen: Vec<&Remains> = Vec::new();
    for choice in named {
        let found = named_one(context, survey, choice)?;
        if !chosen.iter().any(|known| std::ptr::eq(*known, found)) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

fn named_one<'a>(context: &Context, survey: &'a Survey, choice: &Choice) -> Result<&'a Remains, Error> {
    let name = choice.to_string();
    let found: Vec<&Remains> = survey.remains.iter().filter(|remains| remains.name == name).collect();
    match found.as_slice() {
        [] => Err(explain(context, survey, choice)?.unchanged()),
        [one] if one.fate == Fate::Stays => Err(stays(one)),
        [one] => Ok(one),
        [one, other, ..] => Err(Error::new(Code::NotLeftOver, format!("{name} is more than one thing"))
            .because(format!("{one} and {other} are called so"))
            .unchanged()),
    }
}

fn stays(found: &Remains) -> Error {
    let error = Error::new(Code::NotLeftOver, format!("{found} is not removed"))
        .because(found.reason.clone())
        .unchanged();
    match &found.advice {
        Some(advice) => error.hint(advice.clone()),
        None => error,
    }
}

/// Why something that was named is none of those that may go.
fn explain(context: &Context, survey: &Survey, choice: &Choice) -> Result<Error, Error> {
    let refused = |cause: String| {
        Error::new(Code::NotLeftOver, format!("{choice} is not among what was left")).because(cause)
    };
    let (pool, name) = match choice {
        Choice::Volume { pool, name } => (pool, name),
        Choice::Path(path) => return Ok(refused(no_orphan(context, survey, path))),
        Choice::Vm(vm) => {
            let destroy = Verb::Destroy { vm: vm.clone(), force: false };
            return Ok(refused("no VM of that name is half there".into())
                .hint(Advice::from(destroy).text(" takes away a whole one")));
        }
    };
    match context.host.pool(pool)? {
        None => return image::no_pool(context, pool),
        Some(found) if !found.active => {
            return Ok(
                refused(format!("pool '{pool}' is not started")).hint(Verb::PoolStart { pool: pool.clone() })
            );
        }
        Some(_) => {}
    }
    let Some(volume) = context.host.volume(pool, name)? else {
        return Ok(refused(format!("there is no volume '{name}' in pool '{pool}'")));
    };
    if let Some(reason) = survey.usage.as_ref().and_then(|usage| usage.reason(&volume)) {
        return Ok(refused(reason));
    }
    if !survey.pools.contains(pool) {
        return Ok(refused(format!("pool '{pool}' is none that foundry keeps disks in")));
    }
    let delete = Verb::ImageDelete { image: name.clone(), pool: Some(pool.clone()), force: false };
    Ok(refused("it is an image".into()).hint(Advice::from(delete).text(" deletes it")))
}

fn no_orphan(context: &Context, survey: &Survey, path: &str) -> String {
    if !context.host.is_local() {
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
    fn a_name_is_a_vm_a_volume_or_a_path() {
        let volume = Choice::Volume { pool: "a".into(), name: "b/c".into() };
        for (text, choice) in
            [("a/b/c", volume), ("/a/b", Choice::Path("/a/b".into())), ("web", Choice::Vm("web".into()))]
        {
            assert_eq!(Choice::from(text), choice);
            assert_eq!(choice.to_string(), text);
        }
    }
}
