//! Name, labels and annotations.

use std::collections::BTreeMap;

use super::judge::{Judge, Judged, collect_all, describe_character};
use crate::error::Code;
use crate::manifest::Metadata;
use crate::names::VmName;

/// The most that all annotations of a VM may hold, and all labels, in bytes of keys and values (256 KiB, Kubernetes'
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

/// Judges `metadata.labels` and `metadata.annotations`, of which a plan needs the labels only.
pub(super) fn judge_labels(judge: &mut Judge, metadata: &Metadata) -> Judged<BTreeMap<String, String>> {
    let Metadata { name: _, labels, annotations, uid: _, generation: _, creation_timestamp: _ } = metadata;
    let judged = collect_all(labels.iter().map(|(key, value)| {
        judge_label_key(judge, key)?;
        judge.check_line(&entry_path("labels", key), value)
    }));
    let judged = judged.and_then(|_| judge_total_size(judge, "metadata.labels", labels));
    self::judge_annotations(judge, annotations)?;
    judged.map(|()| labels.clone())
}

/// A key can be selected by (`--selector key=value,…`) only if it holds none of what ends it there.
fn judge_label_key(judge: &mut Judge, key: &str) -> Judged<()> {
    const PATH: &str = "metadata.labels";
    match judge.check_line(PATH, key)? {
        "" => Err(judge.reject_value(Code::LabelUnfit, PATH, key, "is an empty key")),
        key if key.contains(['=', ',']) || key.trim() != key => {
            let message =
                "is a key that cannot be selected by: it must not hold '=' or ',' or blanks at its ends";
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
        // Any text: the record is JSON, which escapes control characters. Two more XML cannot carry.
        match value.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}')) {
            None => Ok(value),
            Some(stray) => {
                let message = format!("must not hold {}", describe_character(stray));
                Err(judge.reject_value(Code::TextUnfit, entry_path("annotations", key), value, message))
            }
        }
    }));
    judged.and_then(|_| judge_total_size(judge, PATH, annotations))
}

fn judge_total_size(judge: &mut Judge, path: &str, words: &BTreeMap<String, String>) -> Judged<()> {
    let total: usize = words.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_TOTAL {
        let message = format!("hold {total} bytes together; at most {MAX_TOTAL} are taken");
        return Err(judge.reject_unshown(Code::TooMany, path, message));
    }
    Ok(())
}

fn entry_path(map: &str, key: &str) -> String {
    format!("metadata.{map}[{key:?}]")
}
