//! `spec.xmlPatch`: changes to a domain's XML that the manifest has no field for.
//!
//! The entries are applied in their order, after everything else. Each is an operation of RFC 5261 (XML Patch
//! Operations): its selector must find exactly one node. A patch may not change what the manifest or foundry itself
//! sets: these values are compared before and after each entry.

mod derive;
mod operation;
mod protected;
mod selector;
#[cfg(test)]
mod tests;

pub use derive::{UnsaidPart, derive_patch};
pub use operation::{MAX_FRAGMENT, PatchOperation, is_in_effect};
pub use protected::ProtectedParts;
pub use selector::{PatchSelector, QEMU_NAMESPACE};

use crate::manifest::XmlPatch;
use crate::text::escape_unseen;
use crate::xml::parse_limited;

/// One entry of `spec.xmlPatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchEntry {
    /// The place.
    pub selector: PatchSelector,
    /// What happens there.
    pub operation: PatchOperation,
}

/// Why an entry cannot be applied to an XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchError {
    /// The entry, from 0.
    pub index: usize,
    /// Its field.
    pub field: &'static str,
    /// What is wrong; it continues a sentence that begins with the field's value.
    pub message: String,
}

impl PatchError {
    /// The path of the field in the manifest.
    pub fn path(&self) -> String {
        format!("spec.xmlPatch[{}].{}", self.index, self.field)
    }
}

impl PatchEntry {
    /// One line, for lists of changes.
    pub fn summary(&self) -> String {
        let (word, text) = match &self.operation {
            PatchOperation::Add(text) => ("add", text.as_str()),
            PatchOperation::Replace(text) => ("replace", text.as_str()),
            PatchOperation::Remove => ("remove", ""),
        };
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        escape_unseen(format!("{word} {}: {line}", self.selector).trim_end_matches([':', ' '])).to_string()
    }

    /// The entry as a manifest has it.
    pub fn to_manifest(&self) -> XmlPatch {
        let mut entry = XmlPatch { xpath: Some(self.selector.to_string()), ..XmlPatch::default() };
        match &self.operation {
            PatchOperation::Add(text) => entry.add = Some(text.clone()),
            PatchOperation::Replace(text) => entry.replace = Some(text.clone()),
            PatchOperation::Remove => entry.remove = Some(true),
        }
        entry
    }

    /// Whether it changes an element of libvirt's, or something in it.
    pub fn is_below(&self, path: &[&str]) -> bool {
        self.selector.is_below(path)
    }

    /// How many elements of that name it adds to the domain's devices.
    pub fn count_added_devices(&self, name: &str) -> usize {
        let is_to_devices = self.selector.to_string() == "/domain/devices";
        match &self.operation {
            PatchOperation::Add(fragment) if is_to_devices => operation::count_elements(fragment, name),
            _ => 0,
        }
    }
}

/// The entries that a persistent definition has in effect, and a running domain has not.
///
/// libvirt replaces the CPU and the firmware of a running domain by what it chose for them, so these are left out.
pub fn pending_entries(entries: &[PatchEntry], next: &str, live: &str) -> Vec<usize> {
    let (Ok(next), Ok(live)) = (parse_limited(next), parse_limited(live)) else { return Vec::new() };
    let is_comparable =
        |entry: &PatchEntry| !entry.is_below(&["domain", "cpu"]) && !entry.is_below(&["domain", "os"]);
    let is_pending = |entry: &PatchEntry| {
        let is_in = |document| is_in_effect(document, &entry.selector, &entry.operation);
        is_comparable(entry) && is_in(&next) == Some(true) && is_in(&live) == Some(false)
    };
    entries.iter().enumerate().filter(|(_, entry)| is_pending(entry)).map(|(index, _)| index).collect()
}

/// Applies entries to a domain's XML. `first` is the place of the first one in the manifest.
///
/// # Errors
/// The first entry that does not fit, and why.
pub fn apply_patch(
    xml: &str,
    entries: &[PatchEntry],
    first: usize,
    parts: &ProtectedParts,
) -> Result<String, PatchError> {
    let mut patched = xml.to_owned();
    for (index, entry) in entries.iter().enumerate() {
        let failed = |(field, message)| PatchError { index: first + index, field, message };
        let next = entry.operation.apply(&patched, &entry.selector).map_err(failed)?;
        let read = |text: &str| parse_limited(text).map(|document| parts.read(&document, text));
        let unreadable = |message| failed((entry.operation.field(), message));
        let (before, after) = (read(&patched).map_err(unreadable)?, read(&next).map_err(unreadable)?);
        if let Some(changed) = before.changed(&after) {
            return Err(failed(("xpath", format!("may not change {changed}"))));
        }
        patched = next;
    }
    Ok(patched)
}
