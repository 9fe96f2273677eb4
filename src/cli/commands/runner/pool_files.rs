//! Reads the manifests of pools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::has_manifest_extension;
use foundry_core::plan::{Defaults, Problems};
use foundry_core::text::describe_io_error;
use foundry_host::local::prove;
use foundry_runner::{RunnerPool, RunnerPoolPlan, load_runner_pools};

/// Reads and judges the pools of files and directories, and reports all problems together. The files must belong to root
/// or this user: they can name programs to run.
///
/// # Errors
/// A file that cannot be read or is not obeyed, what is wrong in it, and two pools of one name.
pub(super) fn read_pools(paths: &[&Path], defaults: &Defaults) -> Result<Vec<RunnerPoolPlan>, Error> {
    let mut plans = Vec::new();
    let mut wrong: Vec<Error> = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for file in manifest_files(paths)? {
        let shown = file.display().to_string();
        let pools = match read_file(&file) {
            Ok(pools) => pools,
            Err(error) => {
                wrong.push(error);
                continue;
            }
        };
        for pool in pools {
            match RunnerPoolPlan::from_manifest(&pool, defaults, &owner_label()) {
                Ok(plan) => {
                    if let Some(other) = seen.insert(plan.rules.name.clone(), shown.clone()) {
                        wrong.push(same_name(&plan.rules.name, &other, &shown));
                    }
                    plans.push(plan);
                }
                Err(problems) => wrong.push(Error::from(in_file(problems, &shown)).unchanged()),
            }
        }
    }
    match Error::combine(&wrong) {
        Some(error) => Err(error),
        None => Ok(plans),
    }
}

/// The label by which this machine knows its own registrations.
fn owner_label() -> String {
    let proof = prove("the runners of this machine").unwrap_or_else(|| "anonymous".to_owned());
    format!("foundry-{}", proof.chars().take(12).collect::<String>())
}

fn in_file(problems: Problems, file: &str) -> Problems {
    Problems { subject: format!("{file}: {}", problems.subject), ..problems }
}

fn same_name(name: &str, first: &str, second: &str) -> Error {
    Error::new(Code::NameTwice, format!("pool '{name}' is described twice: in {first} and in {second}"))
        .unchanged()
}

/// The files themselves, and the manifests in the directories, in order.
fn manifest_files(paths: &[&Path]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.to_path_buf());
            continue;
        }
        let unreadable = |e: std::io::Error| {
            Error::new(Code::FileUnreadable, format!("cannot read {}", path.display()))
                .because(describe_io_error(&e))
                .unchanged()
        };
        let entries: Result<Vec<PathBuf>, _> =
            std::fs::read_dir(path).map_err(unreadable)?.map(|entry| entry.map(|e| e.path())).collect();
        let mut found: Vec<PathBuf> =
            entries.map_err(unreadable)?.into_iter().filter(|file| has_manifest_extension(file)).collect();
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read_file(file: &Path) -> Result<Vec<RunnerPool>, Error> {
    let shown = file.display().to_string();
    let text = config::read_trusted(file, &shown).map_err(Error::unchanged)?;
    load_runner_pools(&text, &shown)
}
