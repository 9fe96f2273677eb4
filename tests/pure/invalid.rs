//! What foundry says about manifests that are wrong: one file each in `tests/data/invalid/`, the whole
//! message in a snapshot.

use std::path::Path;

use crate::support::manifests;
use crate::support::shown::Shown;
use foundry::manifest::{self, VirtualMachine};
use foundry::plan::{VmPlan, check_batch};
use foundry::{Error, Kind};

/// Reads and judges as `create` does: all documents are read, then all judged, then compared.
fn judge(file: &Path) -> Result<Vec<VmPlan>, Vec<Error>> {
    let manifests = manifest::load_file(file).map_err(|error| vec![Error::from(error)])?;
    let defaults = manifests::defaults();
    let plan = |manifest: &VirtualMachine| VmPlan::from_manifest(manifest, &defaults);
    let (plans, problems): (Vec<_>, Vec<_>) = manifests.iter().map(plan).partition(Result::is_ok);
    if !problems.is_empty() {
        return Err(problems.into_iter().filter_map(Result::err).map(Error::from).collect());
    }
    let plans: Vec<VmPlan> = plans.into_iter().flatten().collect();
    check_batch(&plans, &file.display().to_string()).map_err(|problems| vec![problems.into()])?;
    Ok(plans)
}

#[test]
fn every_invalid_manifest_is_told_what_is_wrong() {
    for file in manifests::yaml_files("tests/data/invalid") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let Err(errors) = judge(&file) else { panic!("{name} is valid") };
        let expected = if name.starts_with("read-") { Kind::Configuration } else { Kind::Validation };
        let told: Vec<String> = errors
            .iter()
            .map(|error| {
                assert_eq!(error.kind(), expected, "{name}: {error}");
                let hint = error.hint_text().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                format!("exit {}, {}: {error}{hint}", error.kind().exit_code(), error.code())
            })
            .collect();
        insta::with_settings!({ snapshot_path => "../data/invalid", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, told.join("\n"));
        });
    }
}
