//! Judges `spec.xmlPatch`, as far as that can be done without the domain's XML.

use super::judge::{Judge, Judged, Rejected, collect_all};
use crate::error::Code;
use crate::manifest::XmlPatch;
use crate::xml_patch::{MAX_FRAGMENT, PatchEntry, PatchOperation, PatchSelector};

/// The most entries.
const MAX_ENTRIES: usize = 100;

pub(super) fn judge_xml_patch(judge: &mut Judge, entries: &[XmlPatch]) -> Judged<Vec<PatchEntry>> {
    const PATH: &str = "spec.xmlPatch";
    if entries.len() > MAX_ENTRIES {
        let message = format!("has {} entries; the maximum is {MAX_ENTRIES}", entries.len());
        return Err(judge.reject_unshown(Code::TooMany, PATH, message));
    }
    let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let total: usize = entries.iter().map(|entry| size(&entry.add) + size(&entry.replace)).sum();
    if total > MAX_FRAGMENT {
        let message = format!("has {total} bytes; the maximum is {MAX_FRAGMENT}");
        return Err(judge.reject_unshown(Code::XmlPatchUnfit, PATH, message));
    }
    let entries = entries.iter().enumerate();
    collect_all(entries.map(|(index, entry)| judge_entry(judge, &format!("{PATH}[{index}]"), entry)))
}

fn judge_entry(judge: &mut Judge, path: &str, entry: &XmlPatch) -> Judged<PatchEntry> {
    let selector = judge_selector(judge, &format!("{path}.xpath"), entry.xpath.as_deref());
    let operation = judge_operation(judge, path, entry);
    let (selector, operation) = (selector?, operation?);
    match operation.check(&selector) {
        Ok(()) => Ok(PatchEntry { selector, operation }),
        Err(message) => {
            let path = format!("{path}.{}", operation.field());
            Err(judge.reject_unshown(Code::XmlPatchUnfit, path, message))
        }
    }
}

fn judge_selector(judge: &mut Judge, path: &str, text: Option<&str>) -> Judged<PatchSelector> {
    let Some(text) = text else {
        return Err(judge.reject_missing(path, "is required: a place such as /domain/devices"));
    };
    let text = judge.check_line(path, text)?;
    PatchSelector::parse(text).map_err(|message| judge.reject_value(Code::XmlPatchUnfit, path, text, message))
}

fn judge_operation(judge: &mut Judge, path: &str, entry: &XmlPatch) -> Judged<PatchOperation> {
    let both = |judge: &mut Judge| -> Rejected {
        let message = "has more than one of add, replace and remove";
        judge.reject_unshown(Code::Contradiction, path, message)
    };
    match (&entry.add, &entry.replace, entry.remove) {
        (Some(text), None, None) => Ok(PatchOperation::Add(text.clone())),
        (None, Some(text), None) => Ok(PatchOperation::Replace(text.clone())),
        (None, None, Some(true)) => Ok(PatchOperation::Remove),
        (None, None, Some(false)) => {
            let path = format!("{path}.remove");
            Err(judge.reject_value(
                Code::WordUnknown,
                path,
                false,
                "must be true; leave the entry out instead",
            ))
        }
        (None, None, None) => {
            Err(judge.reject_missing(path, "must have one of add, replace and 'remove: true'"))
        }
        _ => Err(both(judge)),
    }
}
