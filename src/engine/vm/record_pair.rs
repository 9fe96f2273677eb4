//! A domain's two records: the one in the running definition and the one in the persistent definition.
//!
//! foundry writes both at once. They differ after an old saved state was restored (an old running definition) or an old
//! description was defined again (an old persistent one).

use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::{Domain, View};

/// Both records of a domain, merged or not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordPair {
    /// The record that was written last.
    pub(crate) newest: Record,
    /// The volumes that only the older record names: they were removed since, or detached and brought back.
    pub(crate) only_older: Vec<RecordedVolume>,
    /// Whether both definitions have the same record.
    pub(crate) is_one: bool,
}

impl RecordPair {
    /// Compares a domain's record with the one in its persistent definition, if that is not the one already read.
    pub(crate) fn of(domain: &Domain, record: Record, next: Option<&DomainDescription>) -> Self {
        let text = next.and_then(|described| described.record.clone());
        let is_one = next.is_none() || text == domain.record;
        let other = if is_one { None } else { Domain { record: text, ..domain.clone() }.own_record() };
        let Some(other) = other else { return Self { newest: record, only_older: Vec::new(), is_one } };
        let age = |record: &Record| (record.generation, record.changed_at.clone());
        let (newest, older) = if age(&other) > age(&record) { (other, record) } else { (record, other) };
        let is_known =
            |v: &RecordedVolume| newest.all_volumes().any(|n| n.pool == v.pool && n.name == v.name);
        let only_older = older.all_volumes().filter(|v| !is_known(v)).cloned().collect();
        Self { newest, only_older, is_one: false }
    }

    /// Merges both, so that no volume is lost that either names.
    pub(crate) fn merge_volumes(self) -> Record {
        let mut merged = self.newest;
        merged.volumes.extend(self.only_older);
        merged
    }
}

/// The persistent definition of an active domain; `None` if it is not active, because it was already read then.
///
/// # Errors
/// A failed call to the host.
pub(crate) fn next_definition(
    context: &Context,
    domain: &Domain,
) -> Result<Option<DomainDescription>, Error> {
    if !(domain.persistent && domain.state.is_active()) {
        return Ok(None);
    }
    Ok(context.host.describe(domain.uuid, View::Config)?)
}
