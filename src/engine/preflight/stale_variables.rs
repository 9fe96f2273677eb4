//! Files of an earlier domain with the new VM's name, which libvirt would use for the new VM: EFI variables with the old
//! boot entries and keys, and saved memory, which prevents the start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::Context;
use crate::gc::nvram::ENDS;
use crate::preflight::issues::PreflightReport;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Code, Error, Issue, Verb};
use foundry_core::plan::{FirmwarePlan, VmPlan};
use foundry_core::text::quote_for_shell;
use foundry_host::Domain;
use foundry_host::local::{DomainDirectories, LibvirtInstance, is_session};

/// Checks this machine's files, as far as the user may see them. libvirt does not list the files of a remote host.
/// Returns the directory for the EFI variables if they need another name.
pub(crate) fn check_stale_files(
    context: &Context,
    plan: &VmPlan,
    domains: &[Domain],
    report: &mut PreflightReport,
) -> Result<Option<PathBuf>, Error> {
    let other = other_place(context, plan, domains)?;
    let Some(paths) = readable_directories(context) else { return Ok(other) };
    let name = plan.name.as_str();
    if plan.firmware != FirmwarePlan::Bios
        && other.is_none()
        && let Some(path) = find_variables(&paths, name)
    {
        report.push(variables_issue(&path.display().to_string()));
    }
    report.extend(stale_memory_issue(context, name));
    Ok(other)
}

/// The directory for the EFI variables of a VM if another domain has the file that libvirt names after this one: it was
/// renamed, and keeps its variables. Only then all definitions are read.
pub(crate) fn other_place(
    context: &Context,
    plan: &VmPlan,
    domains: &[Domain],
) -> Result<Option<PathBuf>, Error> {
    let name = plan.name.as_str();
    if plan.firmware == FirmwarePlan::Bios {
        return Ok(None);
    }
    let had_name = |domain: &Domain| {
        let record = domain.own_record().filter(|_| domain.name != name);
        record.is_some_and(|record| record.all_volumes().any(|v| plan.name.owns_by_convention(&v.name)))
    };
    let is_there =
        || readable_directories(context).is_some_and(|paths| find_variables(&paths, name).is_some());
    if !domains.iter().any(had_name) && !is_there() {
        return Ok(None);
    }
    let Some(file) = derived_path(context, name) else { return Ok(None) };
    let mut users = Usage::collect(context, None)?.domains_using(&file);
    users.retain(|user| user != name);
    Ok(Path::new(&file).parent().filter(|_| !users.is_empty()).map(Path::to_owned))
}

/// The directories of this machine's libvirt; `None` for a remote host.
fn readable_directories(context: &Context) -> Option<DomainDirectories> {
    let uri = context.host.uri();
    // libvirt's other drivers have no such files there.
    let is_readable = context.host.is_local() && uri.starts_with("qemu");
    LibvirtInstance::of(uri).domain_directories().filter(|_| is_readable)
}

/// The issue with saved memory that an earlier domain of that name left.
pub(crate) fn stale_memory_issue(context: &Context, name: &str) -> Option<Issue> {
    let path = find_saved_memory(&readable_directories(context)?, name)?;
    let word = quote_for_shell(&path.display().to_string()).into_owned();
    let message =
        format!("libvirt has the saved memory of an earlier domain '{name}' and would not start the VM");
    Some(Issue::new(Code::SavedMemoryInTheWay, message).hint(format!(
        "virsh save-image-dumpxml {word} shows its domain; move the file elsewhere, or choose another name"
    )))
}

fn variables_issue(path: &str) -> Issue {
    Issue::new(
        Code::NvramInTheWay,
        format!("the new VM would get the EFI variables of an earlier domain with its name: {path}"),
    )
    .hint(
        Advice::from("choose another name, or, if nobody needs them, ")
            .run(Verb::Gc { only: Some(path.into()) }),
    )
}

/// The path that libvirt derives from a domain's name (its `qemuDomainNVRAMPathFormat`). `None` if its directory is
/// unknown: that of a session on another machine is in a home there.
pub(crate) fn derived_path(context: &Context, name: &str) -> Option<String> {
    let uri = context.host.uri();
    let is_known = context.host.is_local() || !is_session(uri);
    let directories = LibvirtInstance::of(uri).domain_directories().filter(|_| is_known)?;
    directories.nvram.join(format!("{name}{}", ENDS[0])).into_os_string().into_string().ok()
}

fn find_variables(paths: &DomainDirectories, vm: &str) -> Option<PathBuf> {
    ENDS.iter().map(|end| paths.nvram.join(format!("{vm}{end}"))).find(is_there)
}

fn find_saved_memory(paths: &DomainDirectories, vm: &str) -> Option<PathBuf> {
    Some(paths.saved.join(format!("{vm}.save"))).filter(is_there)
}

/// Returns whether a file exists; one that this user may not see is treated as missing.
#[allow(clippy::ptr_arg, reason = "it is a predicate of paths that are owned")]
fn is_there(path: &PathBuf) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(e) => {
            !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_domain_of_the_name_left_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let paths = DomainDirectories { nvram: at("nvram"), definitions: at("qemu"), saved: at("save") };
        assert_eq!((find_variables(&paths, "web"), find_saved_memory(&paths, "web")), (None, None));
        for (place, name) in [("nvram", "web_VARS.fd"), ("nvram", "db_VARS.qcow2"), ("save", "web.save")] {
            std::fs::create_dir_all(at(place)).unwrap();
            std::fs::write(at(place).join(name), "x").unwrap();
        }
        assert_eq!(find_variables(&paths, "web"), Some(at("nvram").join("web_VARS.fd")));
        assert_eq!(find_variables(&paths, "db"), Some(at("nvram").join("db_VARS.qcow2")));
        assert_eq!(find_saved_memory(&paths, "web"), Some(at("save").join("web.save")));
        for other in ["we", "web2", "eb"] {
            assert_eq!(
                (find_variables(&paths, other), find_saved_memory(&paths, other)),
                (None, None),
                "{other}"
            );
        }
    }
}
