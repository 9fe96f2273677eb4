//! Files that QEMU's user cannot open: what denies it, and where.

use super::advice::{LABELLED_MOUNT, label_pattern};
use super::denial::Guard;
use super::words::{has_any, named_after};
use super::{Denial, Diagnosis, Evidence};
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::text::quote_for_shell;

/// The directory or file on a path that QEMU's user has no right to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The directory, or the file itself.
    pub path: String,
    /// Whether it is a directory on the way.
    pub is_directory: bool,
    /// The permission bits (chmod(1)).
    pub mode: u32,
    /// The class of permission bits that applies to the user, as in chmod(1): `u`, `g` or `o`.
    pub class: char,
    /// The user that QEMU runs as.
    pub user: String,
}

/// A file that could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedFile<'a> {
    /// Absolute path on the host.
    pub path: &'a str,
    /// The user and group that libvirt tried with, if it says so.
    pub as_user: Option<(u32, u32)>,
}

/// The file that a message of libvirt or QEMU is about.
pub fn refused_file(text: &str) -> Option<RefusedFile<'_>> {
    let path = named_after(text, "Cannot access storage file ")
        .or_else(|| named_after(text, "Cannot access backing file "))
        // The last of nested messages names the file itself.
        .or_else(|| text.rfind("Could not open '").and_then(|at| named_after(&text[at..], "Could not open ")))
        .or_else(|| named_after(text, "cannot open file "))
        .or_else(|| named_after(text, "Failed to open file "))?;
    Some(RefusedFile { path, as_user: parse_ids(text) }).filter(|file| file.path.starts_with('/'))
}

/// `(as uid:64055, gid:64055)`
fn parse_ids(text: &str) -> Option<(u32, u32)> {
    let (_, rest) = text.split_once("(as uid:")?;
    let (uid, rest) = rest.split_once(", gid:")?;
    Some((uid.parse().ok()?, rest.split(')').next()?.parse().ok()?))
}

/// Whether the message reports a missing permission.
pub fn is_denied(text: &str) -> bool {
    has_any(text, &["Permission denied", "Operation not permitted"])
}

/// Whether a denial may be the cause of the refusal.
pub fn is_behind(denial: &Denial, evidence: &Evidence) -> bool {
    let file = refused_file(&evidence.libvirt).or_else(|| refused_file(&evidence.log));
    file.is_some_and(|file| denial.is_about(file.path, &evidence.asked.uuid))
}

/// A denial of AppArmor or SELinux, which are checked after owners and modes.
pub(super) fn guard_denied(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    let file = refused_file(text).filter(|_| is_denied(text))?;
    let denial = evidence.denials.iter().find(|denial| denial.is_about(file.path, &evidence.asked.uuid))?;
    let cause = format!("{} does not let the guest's QEMU use '{}'", denial.guard, file.path);
    Some(Diagnosis::new(Code::Confined, cause).hint(way_out(denial, file.path, &evidence.asked.uuid)))
}

/// How to allow exactly that file. Never its directory: that may be somebody's home, or the root directory.
fn way_out(denial: &Denial, path: &str, uuid: &str) -> Advice {
    let import = Verb::ImageImport { file: Some(path.into()), name: Some("NAME".into()), convert: false };
    let import = Advice::from("an image in a pool is accessible: ").run(import);
    let allowed = match denial.guard {
        Guard::AppArmor => rule_of_apparmor(denial, path, uuid),
        Guard::SeLinux if denial.label.as_deref() == Some("nfs_t") => {
            return LABELLED_MOUNT.into();
        }
        // On a directory of the path, an image label would be wrong.
        Guard::SeLinux if !denial.is_of(path) => None,
        Guard::SeLinux => Some(label_of_selinux(path)),
    };
    match allowed {
        Some(way) => import.text(format!("; or allow this one: {way}")),
        None => import,
    }
}

/// A line for the profile of that domain, which libvirt keeps while the domain is defined, with the requested
/// permissions. `None` if the path has characters with a meaning in rules (apparmor.d(5)), because the rule would allow
/// something else, or if the domain or the permissions are unknown.
fn rule_of_apparmor(denial: &Denial, path: &str, uuid: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || " /._+:-".contains(c);
    let right = denial.wanted.as_deref().filter(|wanted| wanted.chars().all(|c| "rwk".contains(c)))?;
    let is_domains = !uuid.is_empty() && denial.subject == format!("libvirt-{uuid}");
    (is_domains && path.chars().all(is_plain)).then(|| {
        let profile = quote_for_shell(&format!("/etc/apparmor.d/libvirt/{}", denial.subject)).into_owned();
        format!(
            "the line \"{path}\" {right}, before the last brace of {profile}, which is this VM's while it is defined; then apparmor_parser -r {profile}"
        )
    })
}

/// The command that labels the file; semanage-fcontext(8) takes a regular expression.
fn label_of_selinux(path: &str) -> String {
    format!(
        "semanage fcontext -a -t virt_image_t {} && restorecon {}",
        quote_for_shell(&label_pattern(path)),
        quote_for_shell(path)
    )
}

/// The command that lets only that user enter a directory. The owner needs its own permission bit, because access lists
/// do not apply to the owner (acl(5)).
pub fn let_pass(user: &str, class: char, directory: &str) -> String {
    let directory = quote_for_shell(directory);
    if class == 'u' {
        format!("chmod u+x {directory}")
    } else {
        format!("setfacl -m u:{}:x {directory}", quote_for_shell(user))
    }
}

/// A directory or file that owners and modes deny.
pub(super) fn path_barred(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    let file = refused_file(text).filter(|_| is_denied(text))?;
    let Barrier { path, is_directory, mode, class, user } = evidence.barrier.as_ref()?;
    let bits = mode & 0o7777;
    if !is_directory {
        let cause = format!(
            "{user}, the user of QEMU, may not read '{path}' (mode {bits:o}), and libvirt does not change the owners of disks"
        );
        return Some(Diagnosis::new(Code::DiskUnreadable, cause).hint(
            "dynamic_ownership = 1 in /etc/libvirt/qemu.conf, then systemctl restart libvirtd (or virtqemud)",
        ));
    }
    let cause = format!(
        "{user}, the user of QEMU, may not enter the directory {path} (mode {bits:o}), and so cannot open '{}'",
        file.path
    );
    Some(Diagnosis::new(Code::PoolUnreadable, cause).hint(let_pass(user, *class, path)))
}

/// On another machine nothing more is known.
pub(super) fn file_unreadable(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let file = refused_file(text).filter(|_| is_denied(text))?;
    let cause = format!("the file '{}' is not readable for the user of QEMU", file.path);
    Some(Diagnosis::new(Code::DiskUnreadable, cause).hint(Advice::from(Verb::Doctor).text(format!(
        " on the host shows which directory blocks it; namei -l {} shows all of them",
        quote_for_shell(file.path)
    ))))
}
