//! Foundry's record of a domain.

use foundry_core::record::{Owner, Record};
use foundry_host::Domain;

/// What foundry knows of its own record of a domain.
pub(crate) fn record_of(domain: &Domain) -> Option<Record> {
    match Owner::of_domain(domain.uuid, domain.record.as_deref()) {
        Owner::Foundry(record) => Some(*record),
        _ => None,
    }
}
