//! The schemas, checked with an independent validator: the schema accepts a manifest if and only if foundry does, as
//! far as a schema can express it; and listings conform to their schemas.

mod limits;
mod listings;
mod structure;

use crate::support::command::skip_without;
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests;
use foundry::manifest;
use foundry::plan::VmPlan;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is wrong with each of some YAML texts; `None` where there is no validator to ask.
fn judged(schema: &Value, texts: &[String]) -> Option<Vec<Option<String>>> {
    let python = PathBuf::from(std::env::var_os("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into()));
    let has =
        Command::new(&python).args(["-c", "import yaml, jsonschema"]).stderr(Stdio::null()).status_in_time();
    if !has.is_ok_and(|status| status.success()) {
        skip_without("python with PyYAML and jsonschema", "python3-jsonschema, python3-yaml");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/validate.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let work = json!({ "schema": schema, "texts": texts });
    child.stdin.take().unwrap().write_all(work.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output_in_time().unwrap();
    assert!(done.status.success());
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

/// A manifest in which one field is another one. Fields that are not there are put in.
fn with(path: &str, value: &str) -> String {
    let mut manifest = usual();
    *place_of(&mut manifest, path) = json!("VALUE");
    manifest.to_string().replace("\"VALUE\"", value)
}

/// One in which two are.
fn with_both(one: (&str, &str), other: (&str, &str)) -> String {
    let mut manifest = usual();
    *place_of(&mut manifest, one.0) = json!("VALUE");
    *place_of(&mut manifest, other.0) = json!("OTHER");
    manifest.to_string().replace("\"VALUE\"", one.1).replace("\"OTHER\"", other.1)
}

fn usual() -> Value {
    json!({
        "apiVersion": manifest::API_VERSION, "kind": manifest::KIND, "metadata": { "name": "web" },
        "spec": {
            "vcpus": 2, "memoryGiB": 2, "bootDisk": { "sizeGiB": 20, "image": "debian-12" },
            "dataDisks": [{ "device": "vdb", "sizeGiB": 1 }],
            "xmlPatch": [{ "xpath": "/domain/devices", "add": "<a/>" }],
            "networkInterfaces": [{ "ip": "10.0.0.5/24", "gateway": "10.0.0.1", "bridge": "br0" }],
            "cloudInit": {}, "firmware": {},
        },
    })
}

fn place_of<'m>(manifest: &'m mut Value, path: &str) -> &'m mut Value {
    path.split('.').fold(manifest, |place, step| match step.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[step],
    })
}

/// What foundry has against a manifest.
fn by_foundry(text: &str) -> Option<String> {
    let plan = |manifest| VmPlan::from_manifest(&manifest, &manifests::defaults());
    match manifest::load_text(text, "vm.yaml") {
        Err(error) => Some(error.to_string()),
        Ok(manifests) => {
            manifests.into_iter().map(plan).find_map(Result::err).map(|problems| problems.to_string())
        }
    }
}
