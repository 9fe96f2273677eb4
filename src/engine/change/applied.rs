//! How to apply a manifest, and the result.

use super::field::FieldDiff;
use crate::vm::create::CreatedVm;

/// How to apply a manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Also undo what other programs changed.
    pub force: bool,
}

/// The result of applying a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Whether the VM was created, changed, or left as it was.
    pub outcome: ApplyOutcome,
    /// The created VM.
    pub created: Option<CreatedVm>,
    /// The fields that take effect at its next start.
    pub pending: Vec<String>,
    /// The fields that another program changed, and that were kept so.
    pub drift: Vec<String>,
}

/// The outcome for a VM whose manifest was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// It was created.
    Created,
    /// It was changed.
    Configured,
    /// It is as the manifest says.
    Unchanged,
}

impl Applied {
    pub(super) fn of_fields(outcome: ApplyOutcome, fields: &[FieldDiff]) -> Self {
        let drift = fields.iter().filter(|field| field.drift).map(|field| field.path.clone()).collect();
        Self { outcome, created: None, pending: pending_fields(fields), drift }
    }
}

/// The fields that only a new start brings into effect.
pub(crate) fn pending_fields(fields: &[FieldDiff]) -> Vec<String> {
    fields.iter().filter(|field| field.pending).map(|field| field.short_name().to_owned()).collect()
}
