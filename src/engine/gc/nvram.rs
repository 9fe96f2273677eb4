//! Finds EFI variables files of deleted domains on this machine.
//!
//! libvirt names the file after the domain and can delete it with the definition. If a file is left behind, the next
//! domain with that name gets the old one's boot entries and keys.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CleanupStep, Leftover, LeftoverKind, modification_time};
use crate::Context;
use crate::storage::file_locks;
use crate::storage::usage::Usage;
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::local::DomainDirectories;
use foundry_host::{Domain, View};

/// The ends of their names in libvirt (its `qemuDomainNVRAMPathFormat`).
pub(crate) const ENDS: [&str; 2] = ["_VARS.fd", "_VARS.qcow2"];

/// A file with EFI variables, with the metadata that it had when it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvramFile {
    pub(super) path: PathBuf,
    identity: (u64, u64),
    modified: Option<String>,
    size: u64,
}

/// The names and EFI variables files of all domains.
struct NvramOwners {
    names: Vec<String>,
    files: Vec<PathBuf>,
}

/// Finds the files of deleted domains; or returns why they cannot be checked.
pub(super) fn find_nvram_files(
    context: &Context,
    paths: &DomainDirectories,
    domains: &[Domain],
    usage: &Usage,
) -> Result<Result<Vec<Leftover>, String>, Error> {
    let mut owners = find_owners(context, domains)?;
    let looked = owners.add_defined(&paths.definitions).and_then(|()| list_nvram_files(&paths.nvram));
    Ok(match looked {
        Ok(files) => {
            let orphans = files.into_iter().filter(|file| {
                let path = file.path.display().to_string();
                !owners.owns_file(&file.path) && usage.domains_using(&path).is_empty()
            });
            Ok(orphans.map(|file| nvram_leftover(context, file)).collect())
        }
        Err(e) => Err(format!("the EFI variables in {}: {e}", paths.nvram.display())),
    })
}

/// Checks again that a file is the same and still unused.
///
/// # Errors
/// A failed call to the host.
pub(super) fn is_still_free(
    context: &Context,
    paths: &DomainDirectories,
    file: &NvramFile,
) -> Result<bool, Error> {
    let domains = context.host.domains(false)?;
    let usage = Usage::collect(context, None)?;
    let found = find_nvram_files(context, paths, &domains, &usage)?.unwrap_or_default();
    Ok(found.iter().any(|leftover| matches!(&leftover.step, CleanupStep::DeleteNvram(now) if now == file)))
}

fn nvram_leftover(context: &Context, file: NvramFile) -> Leftover {
    let path = file.path.display().to_string();
    let leftover = Leftover {
        since: file.modified.clone(),
        size: Some(Bytes(file.size)),
        ..Leftover::new(LeftoverKind::Nvram, path.clone(), "its domain was deleted")
    };
    if let Some(held) = file_locks::reason_if_locked(context, &path) {
        return Leftover { reason: format!("unused by any domain, but {held}"), ..leftover };
    }
    leftover.when_named_by(CleanupStep::DeleteNvram(file))
}

/// Lists the regular files in the directory that have names as libvirt gives them.
fn list_nvram_files(directory: &Path) -> io::Result<Vec<NvramFile>> {
    // The QEMU user owns the parent directory, so a compromised guest could redirect this one with a link.
    if fs::symlink_metadata(directory).is_ok_and(|found| found.is_symlink()) {
        return Err(io::Error::other("it is a link, and links are not followed"));
    }
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // The file was deleted since it was listed.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_file() && domain_of(&path).is_some() {
            let identity = (metadata.dev(), metadata.ino());
            let (modified, size) = (modification_time(&metadata), metadata.blocks() * 512);
            found.push(NvramFile { path, identity, modified, size });
        }
    }
    Ok(found)
}

/// The domain that a file is named after; `None` if the name is not valid UTF-8 or has another end.
fn domain_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    ENDS.iter().find_map(|end| name.strip_suffix(end))
}

fn find_owners(context: &Context, domains: &[Domain]) -> Result<NvramOwners, Error> {
    let mut owners =
        NvramOwners { names: domains.iter().map(|d| d.name.clone()).collect(), files: Vec::new() };
    for domain in domains {
        for view in [View::Current, View::Config] {
            // A domain that was deleted since it was listed still counts by its name.
            context.host.describe(domain.uuid, view)?.into_iter().for_each(|d| owners.add_domain(d));
        }
    }
    Ok(owners)
}

impl NvramOwners {
    fn add_domain(&mut self, described: DomainDescription) {
        self.files.extend(described.nvram.map(PathBuf::from));
        self.names.push(described.name);
    }

    /// Adds the domains that are defined in files. A second libvirtd may use this directory, or the connected one may
    /// run in another mount namespace; then its domain list is not complete for the files here.
    fn add_defined(&mut self, directory: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "xml") && path.is_file() {
                let text = fs::read_to_string(&path)?;
                let described = DomainDescription::read(&text).map_err(|e| {
                    io::Error::other(format!("{} is not a domain definition ({e})", path.display()))
                })?;
                self.add_domain(described);
            }
        }
        Ok(())
    }

    fn owns_file(&self, path: &Path) -> bool {
        let same = |file: &PathBuf| {
            file == path || device_and_inode(file).is_some_and(|i| Some(i) == device_and_inode(path))
        };
        domain_of(path).is_some_and(|name| self.names.iter().any(|n| n == name))
            || self.files.iter().any(same)
    }
}

/// Identifies a file; links are followed.
fn device_and_inode(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}
