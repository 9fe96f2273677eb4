//! A domain's records, if the running definition has another one than the persistent definition.
//!
//! Foundry writes both at once. What was saved and is restored brings back the record of then with what runs, and who
//! defines an old description brings it back with what starts next.

use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::{Domain, View};

/// What both records of a domain say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordPair {
    /// The one that was written last.
    pub(crate) newest: Record,
    /// The volumes that only the older one names: struck out since, or detached and brought back.
    pub(crate) only_older: Vec<RecordedVolume>,
    /// Whether there is only one.
    pub(crate) is_one: bool,
}

impl RecordPair {
    /// Of a domain's record, and of what starts next, where that is another description than the domain's.
    pub(crate) fn of(domain: &Domain, record: Record, next: Option<&DomainDescription>) -> Self {
        let text = next.and_then(|described| described.record.clone());
        let is_one = next.is_none() || text == domain.record;
        let other = if is_one { None } else { Domain { record: text, ..domain.clone() }.own_record() };
        let Some(other) = other else { return Self { newest: record, only_older: Vec::new(), is_one } };
        let age = |record: &Record| (record.generation, record.changed_at.clone());
        let (newest, older) = if age(&other) > age(&record) { (other, record) } else { (record, other) };
        let is_known =
            |v: &RecordedVolume| newest.volumes.iter().any(|n| n.pool == v.pool && n.name == v.name);
        let only_older = older.volumes.into_iter().filter(|v| !is_known(v)).collect();
        Self { newest, only_older, is_one: false }
    }

    /// One record that loses no volume which either names.
    pub(crate) fn merge_volumes(self) -> Record {
        let mut merged = self.newest;
        merged.volumes.extend(self.only_older);
        merged
    }
}

/// How a domain starts next, where that is another description than the one that it is listed with.
///
/// # Errors
/// The host's.
pub(crate) fn next_definition(
    context: &Context,
    domain: &Domain,
) -> Result<Option<DomainDescription>, Error> {
    if !(domain.persistent && domain.state.is_active()) {
        return Ok(None);
    }
    Ok(context.host.describe(domain.uuid, View::Config)?)
}
