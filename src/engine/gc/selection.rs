//! Matches the names on the command line with the leftovers.

use std::fmt;

use super::{Leftover, LeftoverAction, Leftovers};
use crate::{Context, image};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::VolumeRef;

/// A leftover's name, as a user types it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftoverName {
    /// `POOL/VOLUME`, or `VM/DEVICE` for a disk.
    Volume {
        /// The pool, or the VM.
        pool: String,
        /// The volume, or the device.
        name: String,
    },
    /// The path of a file on the host.
    Path(String),
    /// The name of a VM.
    Vm(String),
}

impl From<&str> for LeftoverName {
    fn from(text: &str) -> Self {
        match text.split_once('/') {
            Some(("", _)) => Self::Path(text.to_owned()),
            Some((pool, name)) => Self::Volume { pool: pool.to_owned(), name: name.to_owned() },
            None => Self::Vm(text.to_owned()),
        }
    }
}

impl fmt::Display for LeftoverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume { pool, name } => write!(f, "{pool}/{name}"),
            Self::Path(text) | Self::Vm(text) => f.write_str(text),
        }
    }
}

/// Chooses the leftovers to clean up: those that the user named, else all that need no naming.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] for the first name that is not a leftover or cannot be cleaned up.
pub fn choose_leftovers<'a>(
    context: &Context,
    leftovers: &'a Leftovers,
    named: &[LeftoverName],
) -> Result<Vec<&'a Leftover>, Error> {
    if named.is_empty() {
        return Ok(leftovers
            .found
            .iter()
            .filter(|leftover| leftover.fate == LeftoverAction::CleanUp)
            .collect());
    }
    let mut chosen: Vec<&Leftover> = Vec::new();
    for name in named {
        let found = find_named(context, leftovers, name)?;
        if !chosen.iter().any(|known| std::ptr::eq(*known, found)) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

fn find_named<'a>(
    context: &Context,
    leftovers: &'a Leftovers,
    asked: &LeftoverName,
) -> Result<&'a Leftover, Error> {
    let name = asked.to_string();
    let found: Vec<&Leftover> = leftovers.found.iter().filter(|leftover| leftover.name == name).collect();
    match found.as_slice() {
        [] => Err(explain_not_found(context, leftovers, asked)?.unchanged()),
        [one] if one.fate == LeftoverAction::Keep => Err(not_removable(one)),
        [one] => Ok(one),
        [one, other, ..] => Err(Error::new(Code::NotLeftOver, format!("the name {name} is ambiguous"))
            .because(format!("it means both {one} and {other}"))
            .unchanged()),
    }
}

fn not_removable(found: &Leftover) -> Error {
    let error = Error::new(Code::NotLeftOver, format!("{found} cannot be cleaned up"))
        .because(found.reason.clone())
        .unchanged();
    match &found.advice {
        Some(advice) => error.hint(advice.clone()),
        None => error,
    }
}

/// Explains why a name is not among the leftovers.
fn explain_not_found(context: &Context, leftovers: &Leftovers, asked: &LeftoverName) -> Result<Error, Error> {
    let refused =
        |cause: String| Error::new(Code::NotLeftOver, format!("{asked} is not a leftover")).because(cause);
    let (pool, name) = match asked {
        LeftoverName::Volume { pool, name } => (pool, name),
        LeftoverName::Path(path) => return Ok(refused(no_orphan(context, leftovers, path))),
        LeftoverName::Vm(vm) => {
            let destroy = Verb::Destroy { vm: vm.clone(), force: false };
            return Ok(refused("no half-made or half-destroyed VM has that name".into())
                .hint(Advice::from(destroy).text(" destroys a complete one")));
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
    let reference = VolumeRef::new(pool, name);
    let Some(volume) = context.host.volume(&reference)? else {
        return Ok(refused(format!("there is no {reference}")));
    };
    if let Some(reason) = leftovers.usage.as_ref().and_then(|usage| usage.reason_if_used(&volume)) {
        return Ok(refused(reason));
    }
    if !leftovers.pools.contains(pool) {
        return Ok(refused(format!("foundry keeps no disks in pool '{pool}'")));
    }
    let delete = Verb::ImageDelete { image: name.clone(), pool: Some(pool.clone()), force: false };
    Ok(refused("it is an image".into()).hint(Advice::from(delete).text(" deletes it")))
}

fn no_orphan(context: &Context, leftovers: &Leftovers, path: &str) -> String {
    if !context.host.is_local() {
        return "files of a remote host cannot be checked".into();
    }
    match leftovers.unseen.first() {
        Some(unseen) => format!("it cannot be checked: {unseen}"),
        None if std::fs::symlink_metadata(path).is_err() => "there is no such file".into(),
        None => "it does not hold the EFI variables of a deleted domain".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_vm_a_volume_or_a_path() {
        let volume = LeftoverName::Volume { pool: "a".into(), name: "b/c".into() };
        for (text, name) in [
            ("a/b/c", volume),
            ("/a/b", LeftoverName::Path("/a/b".into())),
            ("web", LeftoverName::Vm("web".into())),
        ] {
            assert_eq!(LeftoverName::from(text), name);
            assert_eq!(name.to_string(), text);
        }
    }
}
