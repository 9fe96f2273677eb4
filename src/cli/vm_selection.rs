//! Chooses the VMs that a command is about: by name, pattern or label, or all.

use std::collections::HashSet;

use clap::Args;
use wildmatch::WildMatch;

use crate::output::Selector;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Record, RecordState};
use foundry_engine::Context;
use foundry_host::Domain;

/// Prefixes of kubectl's form `TYPE/NAME`. No VM of foundry has a slash in its name.
const TYPE_PREFIXES: [&str; 3] = ["virtualmachine/", "virtualmachines/", "vm/"];

/// The VMs that a command is about.
#[derive(Debug, Args)]
pub(crate) struct VmSelectionArgs {
    /// Names of VMs, or patterns with * and ?
    #[arg(value_name = "VM", required_unless_present_any = ["selector", "all"])]
    names: Vec<String>,
    /// The VMs with these labels: key, key=value, key!=value; separate several with commas
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "all"])]
    selector: Option<Selector>,
    /// All VMs that foundry created
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

impl VmSelectionArgs {
    /// The names of the selected VMs, as [`find_names`] finds them.
    ///
    /// # Errors
    /// Those of [`find_names`].
    pub(crate) fn find_names(&self, context: &Context) -> Result<Vec<String>, Error> {
        find_names(context, &self.names, self.selector.as_ref())
    }
}

/// The names of the selected VMs, each once, in the order in which they were given. Patterns and labels select among the
/// complete VMs that foundry created; without names and labels, all of these are selected. A name is returned as it was
/// typed: whether there is such a VM is for the command to find out.
///
/// # Errors
/// [`Code::VmMissing`] if a pattern matches nothing; a failed call to the host.
pub(crate) fn find_names(
    context: &Context,
    names: &[String],
    selector: Option<&Selector>,
) -> Result<Vec<String>, Error> {
    let is_typed = names.iter().all(|name| !is_pattern(name));
    let known = if is_typed && !names.is_empty() { Vec::new() } else { complete_vms(context)? };
    let mut found: Vec<String> = Vec::new();
    for name in names.iter().map(|word| strip_type(word)) {
        if is_pattern(name) {
            found.extend(find_matches(&known, name)?);
        } else {
            found.push(name.to_owned());
        }
    }
    if names.is_empty() {
        let is_meant =
            |record: &Record| selector.is_none_or(|s| s.matches_labels(&record.manifest.metadata.labels));
        found.extend(known.into_iter().filter(|(_, record)| is_meant(record)).map(|(vm, _)| vm.name));
    }
    let mut seen = HashSet::new();
    found.retain(|name| seen.insert(name.clone()));
    Ok(found)
}

/// The names that a pattern matches; none is an error, because a pattern is not a filter.
fn find_matches(known: &[(Domain, Record)], pattern: &str) -> Result<Vec<String>, Error> {
    let matcher = WildMatch::new(pattern);
    let found: Vec<String> =
        known.iter().map(|(vm, _)| vm.name.clone()).filter(|vm| matcher.matches(vm)).collect();
    if found.is_empty() {
        return Err(Error::new(Code::VmMissing, format!("no VM of foundry matches '{pattern}'"))
            .hint(Advice::from(Verb::ListAll).text(" shows all VMs"))
            .unchanged());
    }
    Ok(found)
}

fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?'])
}

fn strip_type(word: &str) -> &str {
    TYPE_PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word)
}

/// The complete VMs that foundry created, sorted by name.
fn complete_vms(context: &Context) -> Result<Vec<(Domain, Record)>, Error> {
    let with_record = |domain: Domain| domain.own_record().map(|record| (domain, record));
    let mut known: Vec<(Domain, Record)> =
        context.host.domains(false)?.into_iter().filter_map(with_record).collect();
    known.retain(|(_, record)| record.state == RecordState::Created);
    known.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(known)
}
