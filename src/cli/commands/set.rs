//! `foundry set`, `foundry label` and `foundry annotate`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use super::apply::apply_one;
use crate::connect::connect_host;
use crate::ui::Ui;
use crate::words::hints::EDIT_LISTS;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{VirtualMachine, load_text};
use foundry_engine::Context;
use foundry_engine::change::{ApplyOptions, recorded_manifest};

/// How often to start over if another command changes the manifest meanwhile.
const TRIES: usize = 5;

/// Change fields of a VM
///
/// A field is a path in the manifest; 'spec.' may be left out. KEY= sets nothing, so the default is used again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry set web vcpus=4 memoryGiB=8
  foundry set web labels.role=db autostart=false
  foundry set web networkInterfaces[0].bridge=br1
  foundry set web bootDisk.sizeGiB=40")]
pub(crate) struct SetArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// Fields and their values
    #[arg(required = true, value_name = "KEY=VALUE")]
    fields: Vec<String>,
}

/// Set or remove labels of a VM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry label web role=db tier=back
  foundry label web tier-")]
pub(crate) struct LabelArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// KEY=VALUE sets a label, KEY- removes it
    #[arg(required = true, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pairs: Vec<String>,
}

/// Set or remove annotations of a VM
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry annotate web owner='Alice, team 7'
  foundry annotate web owner-")]
pub(crate) struct AnnotateArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// KEY=VALUE sets an annotation, KEY- removes it
    #[arg(required = true, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pairs: Vec<String>,
}

pub(super) fn run_set(args: &SetArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let fields: Vec<(Vec<Segment>, Option<String>)> =
        args.fields.iter().map(|text| parse_field(text)).collect::<Result<_, _>>()?;
    let context = connect_host(global, ui)?;
    change_manifest(&context, &args.name, ui, |manifest| {
        let mut tree = to_tree(manifest)?;
        for (path, value) in &fields {
            set_in_tree(&mut tree, path, value.as_deref())?;
        }
        from_tree(&tree)
    })
}

pub(super) fn run_label(args: &LabelArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let pairs = parse_pairs(&args.pairs)?;
    let context = connect_host(global, ui)?;
    change_manifest(&context, &args.name, ui, |manifest| {
        let mut changed = manifest.clone();
        set_pairs(&mut changed.metadata.labels, &pairs);
        Ok(changed)
    })
}

pub(super) fn run_annotate(args: &AnnotateArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let pairs = parse_pairs(&args.pairs)?;
    let context = connect_host(global, ui)?;
    change_manifest(&context, &args.name, ui, |manifest| {
        let mut changed = manifest.clone();
        set_pairs(&mut changed.metadata.annotations, &pairs);
        Ok(changed)
    })
}

/// Applies a change of the manifest in the record; again if another command was faster.
fn change_manifest(
    context: &Context,
    name: &str,
    ui: &Ui,
    change: impl Fn(&VirtualMachine) -> Result<VirtualMachine, Error>,
) -> Result<(), Error> {
    interrupt::install_handler(&context.cancel)?;
    let mut tries = 0;
    loop {
        let recorded = recorded_manifest(context, name)?;
        let wanted = recorded.with_manifest(context, change(&recorded.manifest)?)?;
        tries += 1;
        match apply_one(context, &wanted, ApplyOptions::default(), ui) {
            Err(error) if error.code() == Code::ChangedMeanwhile && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

/// A label or an annotation, and its value; without one it is removed.
type Pair = (String, Option<String>);

fn parse_pairs(texts: &[String]) -> Result<Vec<Pair>, Error> {
    let parse = |text: &String| match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) if !key.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_owned(), None)),
        _ => Err(Error::new(Code::TextUnfit, format!("'{text}' is neither KEY=VALUE nor KEY-"))),
    };
    texts.iter().map(parse).collect()
}

fn set_pairs(all: &mut BTreeMap<String, String>, pairs: &[Pair]) {
    for (key, value) in pairs {
        match value {
            Some(value) => drop(all.insert(key.clone(), value.clone())),
            None => drop(all.remove(key)),
        }
    }
}

/// A part of a path: a field, or a place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(String),
    Index(usize),
    /// The data disk of that device.
    Device(String),
}

/// Reads `KEY=VALUE`. Labels and annotations may have dots in their names.
fn parse_field(text: &str) -> Result<(Vec<Segment>, Option<String>), Error> {
    let unfit = |why: &str| Error::new(Code::TextUnfit, format!("'{text}' {why}"));
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
        return Err(unfit("is not KEY=VALUE"));
    };
    let value = Some(value.to_owned()).filter(|value| !value.is_empty());
    let key = key.trim();
    for kind in ["labels", "annotations"] {
        let path = key.strip_prefix("metadata.").unwrap_or(key);
        if let Some(name) = path.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) {
            let path = ["metadata", kind, name].map(|part| Segment::Field(part.to_owned()));
            return Ok((path.to_vec(), value));
        }
    }
    let whole = if key.starts_with("spec.") || key.starts_with("metadata.") {
        key.to_owned()
    } else {
        format!("spec.{key}")
    };
    let mut path = Vec::new();
    for part in whole.split('.') {
        let (field, places) = part.split_once('[').map_or((part, None), |(field, rest)| (field, Some(rest)));
        if field.is_empty() {
            return Err(unfit("has an empty part in its path"));
        }
        path.push(Segment::Field(field.to_owned()));
        if let Some(place) = places {
            let place = place.strip_suffix(']').ok_or_else(|| unfit("has a '[' without a ']'"))?;
            path.push(match place.parse() {
                Ok(index) => Segment::Index(index),
                Err(_) => Segment::Device(place.to_owned()),
            });
        }
    }
    Ok((path, value))
}

fn to_tree(manifest: &VirtualMachine) -> Result<Value, Error> {
    serde_json::to_value(manifest).map_err(|e| Error::new(Code::Configuration, e.to_string()))
}

/// Reads the changed tree as a file is read: unknown fields and wrong types are found there.
fn from_tree(tree: &Value) -> Result<VirtualMachine, Error> {
    let documents = load_text(&tree.to_string(), "the changed manifest")
        .map_err(|error| Error::from(error).unchanged())?;
    documents
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(Code::NoManifest, "the changed manifest is empty").unchanged())
}

fn set_in_tree(tree: &mut Value, path: &[Segment], value: Option<&str>) -> Result<(), Error> {
    let text = |path: &[Segment]| path_text(path);
    let Some((last, before)) = path.split_last() else { return Ok(()) };
    let mut at = tree;
    for (depth, segment) in before.iter().enumerate() {
        at = match segment {
            Segment::Field(name) => {
                let fields = at.as_object_mut().ok_or_else(|| no_place(&text(&path[..depth])))?;
                // A map that is not there yet becomes one; a list needs its elements.
                fields.entry(name.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()))
            }
            place => find_in_list(at, place).ok_or_else(|| no_place(&text(&path[..=depth])))?,
        };
    }
    match last {
        Segment::Field(name) => {
            let fields = at.as_object_mut().ok_or_else(|| no_place(&text(before)))?;
            // Two names of one field must not contradict each other.
            let other = match name.as_str() {
                "sizeGiB" => Some("sizeGB"),
                "sizeGB" => Some("sizeGiB"),
                _ => None,
            };
            other.map(|other| fields.remove(other));
            match value {
                Some(value) => {
                    let is_text = matches!(before.get(1), Some(Segment::Field(kind)) if kind == "labels" || kind == "annotations");
                    let read = if is_text { Value::String(value.to_owned()) } else { scalar(value) };
                    fields.insert(name.clone(), read);
                }
                None => drop(fields.remove(name)),
            }
            Ok(())
        }
        Segment::Index(_) | Segment::Device(_) => Err(no_place(&text(path))),
    }
}

fn find_in_list<'t>(list: &'t mut Value, place: &Segment) -> Option<&'t mut Value> {
    let list = list.as_array_mut()?;
    match place {
        Segment::Index(index) => list.get_mut(*index),
        Segment::Device(device) => list.iter_mut().find(|disk| disk["device"] == device.as_str()),
        Segment::Field(_) => None,
    }
}

fn no_place(path: &str) -> Error {
    Error::new(Code::FieldUnknown, format!("the manifest has no {path} to set a field in"))
        .hint(EDIT_LISTS)
        .unchanged()
}

fn path_text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Field(name) if text.is_empty() => text.push_str(name),
            Segment::Field(name) => text.push_str(&format!(".{name}")),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
            Segment::Device(device) => text.push_str(&format!("[{device}]")),
        }
    }
    text
}

/// A value as JSON if it is a number, true or false; else text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(fields: &[&str]) -> Result<Value, Error> {
        let mut tree = serde_json::json!({
            "metadata": { "name": "web" },
            "spec": { "vcpus": 1, "bootDisk": { "sizeGB": 5 }, "dataDisks": [{ "device": "vdb", "sizeGiB": 1 }],
                      "networkInterfaces": [{ "bridge": "br0" }] }
        });
        for field in fields {
            let (path, value) = parse_field(field)?;
            set_in_tree(&mut tree, &path, value.as_deref())?;
        }
        Ok(tree)
    }

    #[test]
    fn fields_are_set_by_their_paths() {
        let tree = changed(&[
            "vcpus=4",
            "spec.memoryGiB=0.5",
            "labels.example.com/role=7",
            "metadata.annotations.note=a=b",
            "networkInterfaces[0].bridge=br1",
            "dataDisks[vdb].sizeGiB=9",
            "bootDisk.sizeGiB=9",
            "resources.maxVcpus=8",
            "autostart=false",
        ])
        .unwrap();
        assert_eq!(tree["spec"]["vcpus"], 4);
        assert_eq!(tree["spec"]["memoryGiB"], 0.5);
        assert_eq!(tree["metadata"]["labels"]["example.com/role"], "7");
        assert_eq!(tree["metadata"]["annotations"]["note"], "a=b");
        assert_eq!(tree["spec"]["networkInterfaces"][0]["bridge"], "br1");
        assert_eq!(tree["spec"]["dataDisks"][0]["sizeGiB"], 9);
        assert_eq!(tree["spec"]["bootDisk"], serde_json::json!({ "sizeGiB": 9 }));
        assert_eq!(tree["spec"]["resources"]["maxVcpus"], 8);
        assert_eq!(tree["spec"]["autostart"], false);
        assert!(changed(&["vcpus="]).unwrap()["spec"].get("vcpus").is_none());
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for field in [
            "vcpus",
            "=4",
            "a..b=1",
            "dataDisks[vdz].sizeGiB=1",
            "networkInterfaces[1].bridge=x",
            "vcpus.x=1",
            "dataDisks[0=1",
            "dataDisks[0]=1",
        ] {
            assert!(changed(&[field]).is_err(), "{field}");
        }
    }

    #[test]
    fn pairs_set_and_remove() {
        let pairs = parse_pairs(&["a=1".into(), "b-".into(), "c=".into(), "d=x-".into()]).unwrap();
        let mut all = BTreeMap::from([("b".to_owned(), "old".to_owned())]);
        set_pairs(&mut all, &pairs);
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            [("a", "1"), ("c", ""), ("d", "x-")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        parse_pairs(&["=x".into()]).unwrap_err();
        parse_pairs(&["-".into()]).unwrap_err();
        parse_pairs(&["word".into()]).unwrap_err();
    }
}
