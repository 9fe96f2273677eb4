//! `foundry apply` with manifests of pools: they get into the directory that the controller reads.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::pool_files::read_pools;
use crate::Global;
use crate::config;
use crate::output_file::OutputFile;
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::has_manifest_extension;
use foundry_core::plan::Defaults;
use foundry_core::text::describe_io_error;
use foundry_core::yaml;
use foundry_host::local::runner_directory;
use foundry_runner::RUNNER_POOL_KIND;

/// The largest manifest, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A pool's manifest that is to get into the directory.
pub(crate) struct WantedPool {
    name: String,
    text: String,
    target: PathBuf,
    /// What the directory has for it now.
    present: Option<String>,
}

/// The text of a regular file of limited size. What is none, such as a pipe, can be read once only, by who needs it.
fn read_if_file(file: &str) -> Option<String> {
    let opened = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file);
    let mut text = String::new();
    opened.and_then(|_| std::fs::File::open(file).ok())?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Whether a file has the manifest of a pool. One that cannot be read has none: that is said where it is read.
pub(crate) fn is_pool_file(file: &str) -> bool {
    let Some(text) = read_if_file(file) else { return false };
    let is_pool =
        |node: &yaml::node::Node| node.get("kind").and_then(|kind| kind.as_text()) == Some(RUNNER_POOL_KIND);
    yaml::read_manifests(&text).is_ok_and(|documents| documents.nodes.iter().any(is_pool))
}

/// The directory with the manifests that the controller reads if it is given none.
///
/// # Errors
/// [`Code::NoDirectory`] if nothing says where it is.
pub(crate) fn default_directory() -> Result<PathBuf, Error> {
    runner_directory().ok_or_else(|| {
        Error::new(Code::NoDirectory, "there is no directory for the manifests of pools")
            .because("neither HOME nor XDG_CONFIG_HOME is set")
            .hint("set HOME, or name the directory in FOUNDRY_RUNNER_DIRECTORY")
    })
}

/// Judges the manifests of pools. Nothing is written.
///
/// # Errors
/// What is wrong in them; several pools in one file; a pool that another file of the directory describes.
pub(crate) fn plan_pools(files: &[String], global: &Global) -> Result<Vec<WantedPool>, Error> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let defaults = global.engine_settings()?.defaults(None);
    let paths: Vec<&Path> = files.iter().map(Path::new).collect();
    // All problems of all files together.
    read_pools(&paths, &defaults)?;
    let directory = default_directory()?;
    let mut wanted = Vec::new();
    for path in paths {
        let shown = path.display().to_string();
        let text = config::read_trusted(path, &shown).map_err(Error::unchanged)?;
        let mut plans = read_pools(&[path], &defaults)?;
        if plans.len() > 1 {
            return Err(Error::new(Code::TooMany, format!("{shown} describes {} pools", plans.len()))
                .hint("write each pool into a file of its own")
                .unchanged());
        }
        let name = plans.remove(0).rules.name;
        let target = directory.join(format!("{name}.yaml"));
        if let Some(other) = describing_file(&directory, &target, &name, &defaults) {
            let message = format!("pool '{name}' is described by {} already", other.display());
            return Err(Error::new(Code::NameTwice, message)
                .hint("change that file, or delete it first")
                .unchanged());
        }
        let present = match std::fs::read_to_string(&target) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                return Err(Error::new(Code::FileUnreadable, format!("cannot read {}", target.display()))
                    .because(describe_io_error(&e))
                    .unchanged());
            }
        };
        wanted.push(WantedPool { name, text, target, present });
    }
    Ok(wanted)
}

/// Another file of the directory that describes a pool. The controller would refuse both.
fn describing_file(directory: &Path, target: &Path, name: &str, defaults: &Defaults) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| {
        let is_other = file != target && has_manifest_extension(file);
        is_other
            && read_pools(&[file], defaults).is_ok_and(|plans| plans.iter().any(|p| p.rules.name == name))
    })
}

impl WantedPool {
    /// Puts the manifest in its place, or only says what that would change.
    ///
    /// # Errors
    /// [`Code::FileUnwritable`] if it cannot be written.
    pub(crate) fn apply(&self, dry_run: bool, ui: &Ui) -> Result<(), Error> {
        let word = match &self.present {
            None => "created",
            Some(present) if *present == self.text => "unchanged",
            Some(_) => "configured",
        };
        if !dry_run && word != "unchanged" {
            self.write()?;
        }
        let note = if dry_run { " (dry run)" } else { "" };
        ui.write_line(&format!("runnerpool/{} {word}{note}", self.name))
    }

    fn write(&self) -> Result<(), Error> {
        let unwritable = |e: &std::io::Error| {
            Error::new(Code::FileUnwritable, format!("cannot write {}", self.target.display()))
                .because(describe_io_error(e))
        };
        if let Some(directory) = self.target.parent() {
            std::fs::create_dir_all(directory).map_err(|e| unwritable(&e))?;
        }
        let target = self.target.display().to_string();
        OutputFile::new(&target, true)?.write_content(|mut file| {
            file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| unwritable(&e))
        })
    }
}
