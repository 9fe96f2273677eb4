//! Name, labels and annotations.

use std::collections::BTreeMap;

use super::judge::{Judge, Judged, collect_all, describe_character};
use crate::error::Code;
use crate::manifest::Metadata;
use crate::names::VmName;

/// Maximum size of all annotations of a VM, and of all labels, in bytes of keys and values: 256 KiB (Kubernetes'
/// `TotalAnnotationSizeLimitB`).
const MAX_TOTAL: usize = 256 << 10;

/// Judges `metadata.name`.
pub(super) fn judge_name(judge: &mut Judge, name: Option<&str>) -> Judged<VmName> {
    const PATH: &str = "metadata.name";
    let Some(name) = name else {
        return Err(judge.reject_missing(PATH, "is required: the VM's name, such as web or db-1"));
    };
    let name = judge.check_line(PATH, name.trim())?;
    VmName::parse_normalized(name)
        .map_err(|error| judge.reject_value(Code::NameUnfit, PATH, name, error.to_string()))
}

/// Judges `metadata.labels` and `metadata.annotations`. A plan contains only the labels.
pub(super) fn judge_labels(judge: &mut Judge, metadata: &Metadata) -> Judged<BTreeMap<String, String>> {
    let Metadata { name: _, labels, annotations, uid: _, generation: _, creation_timestamp: _ } = metadata;
    let judged = collect_all(labels.iter().map(|(key, value)| {
        judge_label_key(judge, key)?;
        judge.check_line(&entry_path("labels", key), value)
    }));
    let judged = judged.and_then(|_| judge_total_size(judge, "metadata.labels", labels));
    // Only now: a problem of the labels must not hide those of the annotations.
    self::judge_annotations(judge, annotations)?;
    judged.map(|()| labels.clone())
}

/// Judges a label's key. A selector (`--selector key=value,…`) can only find keys without the characters that end a key
/// there.
fn judge_label_key(judge: &mut Judge, key: &str) -> Judged<()> {
    const PATH: &str = "metadata.labels";
    match judge.check_line(PATH, key)? {
        "" => Err(judge.reject_value(Code::LabelUnfit, PATH, key, "is an empty key")),
        key if key.contains(['=', ',']) || key.trim() != key => {
            let message =
                "is a key that selectors cannot use: it must not contain '=' or ',', or spaces at its ends";
            Err(judge.reject_value(Code::LabelUnfit, PATH, key, message))
        }
        _ => Ok(()),
    }
}

fn judge_annotations(judge: &mut Judge, annotations: &BTreeMap<String, String>) -> Judged<()> {
    const PATH: &str = "metadata.annotations";
    let judged = collect_all(annotations.iter().map(|(key, value)| {
        if judge.check_line(PATH, key)?.is_empty() {
            return Err(judge.reject_value(Code::LabelUnfit, PATH, key, "is an empty key"));
        }
        // Any other text is allowed: the record is JSON, which escapes control characters.
        match value.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}')) {
            None => Ok(value),
            Some(stray) => {
                let message = format!("must not contain {}", describe_character(stray));
                Err(judge.reject_value(Code::TextUnfit, entry_path("annotations", key), value, message))
            }
        }
    }));
    judged.and_then(|_| judge_total_size(judge, PATH, annotations))
}

fn judge_total_size(judge: &mut Judge, path: &str, words: &BTreeMap<String, String>) -> Judged<()> {
    let total: usize = words.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_TOTAL {
        let message = format!("have {total} bytes together; the maximum is {MAX_TOTAL}");
        return Err(judge.reject_unshown(Code::TooMany, path, message));
    }
    Ok(())
}

fn entry_path(map: &str, key: &str) -> String {
    format!("metadata.{map}[{key:?}]")
}
