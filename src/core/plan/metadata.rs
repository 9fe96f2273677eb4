//! Name, labels and annotations.

use std::collections::BTreeMap;

use super::judge::{Judge, Judged, all, name_of};
use crate::error::Code;
use crate::manifest::Metadata;
use crate::names::VmName;

/// The most that all annotations of a VM may hold, and all labels, in bytes of keys and values (256 KiB, Kubernetes'
/// `TotalAnnotationSizeLimitB`).
const MAX_TOTAL: usize = 256 << 10;

/// Judges `metadata.name`.
pub(super) fn name(judge: &mut Judge, name: Option<&str>) -> Judged<VmName> {
    const PATH: &str = "metadata.name";
    let Some(name) = name else {
        return Err(judge.missing(PATH, "is required: the VM's name, such as web or db-1"));
    };
    let name = judge.text(PATH, name.trim())?;
    VmName::normalized(name).map_err(|error| judge.wrong(Code::NameUnfit, PATH, name, error.to_string()))
}

/// Judges `metadata.labels` and `metadata.annotations`, of which a plan needs the labels only.
pub(super) fn labels(judge: &mut Judge, metadata: &Metadata) -> Judged<BTreeMap<String, String>> {
    let Metadata { name: _, labels, annotations, uid: _, generation: _, creation_timestamp: _ } = metadata;
    let judged = all(labels.iter().map(|(key, value)| {
        label_key(judge, key)?;
        judge.text(&entry("labels", key), value)
    }));
    let judged = judged.and_then(|_| total(judge, "metadata.labels", labels));
    self::annotations(judge, annotations)?;
    judged.map(|()| labels.clone())
}

/// A key can be selected by (`--selector key=value,…`) only if it holds none of what ends it there.
fn label_key(judge: &mut Judge, key: &str) -> Judged<()> {
    const PATH: &str = "metadata.labels";
    match judge.text(PATH, key)? {
        "" => Err(judge.wrong(Code::LabelUnfit, PATH, key, "is an empty key")),
        key if key.contains(['=', ',']) || key.trim() != key => {
            let message =
                "is a key that cannot be selected by: it must not hold '=' or ',' or blanks at its ends";
            Err(judge.wrong(Code::LabelUnfit, PATH, key, message))
        }
        _ => Ok(()),
    }
}

fn annotations(judge: &mut Judge, annotations: &BTreeMap<String, String>) -> Judged<()> {
    const PATH: &str = "metadata.annotations";
    let judged = all(annotations.iter().map(|(key, value)| {
        if judge.text(PATH, key)?.is_empty() {
            return Err(judge.wrong(Code::LabelUnfit, PATH, key, "is an empty key"));
        }
        // Any text: the record is JSON, which escapes control characters. Two more XML cannot carry.
        match value.chars().find(|c| matches!(c, '\u{fffe}' | '\u{ffff}')) {
            None => Ok(value),
            Some(stray) => {
                let message = format!("must not hold {}", name_of(stray));
                Err(judge.wrong(Code::TextUnfit, entry("annotations", key), value, message))
            }
        }
    }));
    judged.and_then(|_| total(judge, PATH, annotations))
}

fn total(judge: &mut Judge, path: &str, words: &BTreeMap<String, String>) -> Judged<()> {
    let total: usize = words.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_TOTAL {
        let message = format!("hold {total} bytes together; at most {MAX_TOTAL} are taken");
        return Err(judge.unshown(Code::TooMany, path, message));
    }
    Ok(())
}

fn entry(map: &str, key: &str) -> String {
    format!("metadata.{map}[{key:?}]")
}
