//! Parses denials of AppArmor and SELinux in the kernel's audit log, one per line.

use std::fmt;

use foundry_core::text::escape_unseen;

/// A security module that confines QEMU in addition to owners and modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Confines by a profile for each domain, which libvirt writes.
    AppArmor,
    /// Confines by labels of processes and files.
    SeLinux,
}

impl Guard {
    /// The name of libvirt's security driver (`<secmodel>`).
    pub fn driver_name(self) -> &'static str {
        match self {
            Self::AppArmor => "apparmor",
            Self::SeLinux => "selinux",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AppArmor => "AppArmor",
            Self::SeLinux => "SELinux",
        })
    }
}

/// A denial in the kernel's audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The security module that denied the access.
    pub guard: Guard,
    /// The file: its path, or for SELinux mostly only the last part of it.
    pub file: String,
    /// The process that was denied: AppArmor's profile, or SELinux's type.
    pub subject: String,
    /// SELinux's type of the file.
    pub label: Option<String>,
    /// SELinux's full label of the process; each guest has its own.
    pub context: Option<String>,
    /// AppArmor's requested permissions (`r`, `wc`, …).
    pub wanted: Option<String>,
    /// The log line, shortened for display.
    pub line: String,
}

impl Denial {
    /// Parses a line of the kernel's log or of auditd; `None` if it is not a denial of a guest.
    pub fn parse_line(line: &str) -> Option<Self> {
        Self::of_apparmor(line).or_else(|| Self::of_selinux(line))
    }

    /// `apparmor="DENIED" operation="open" profile="libvirt-UUID" name="/srv/x" …` (AppArmor's wiki, "Auditing").
    fn of_apparmor(line: &str) -> Option<Self> {
        line.contains("apparmor=\"DENIED\"").then_some(())?;
        let subject = field_value(line, "profile")?;
        let is_guest = subject.starts_with("libvirt-") || subject.contains("virt-aa-helper");
        let file = field_value(line, "name")?;
        let wanted = field_value(line, "requested_mask");
        is_guest.then_some(Self {
            guard: Guard::AppArmor,
            file,
            subject,
            label: None,
            context: None,
            wanted,
            line: shorten_line(line),
        })
    }

    /// `avc:  denied  { read } for … name="x" … scontext=…:svirt_t:… tcontext=…:TYPE:… permissive=0`
    fn of_selinux(line: &str) -> Option<Self> {
        let is_denial = line.contains("avc:") && line.contains("denied") && !line.contains("permissive=1");
        let context = field_value(line, "scontext").filter(|_| is_denial);
        let subject = selinux_type(context.as_deref()?)?;
        let file = field_value(line, "path").or_else(|| field_value(line, "name"))?;
        let label = field_value(line, "tcontext").and_then(|context| selinux_type(&context));
        (subject.starts_with("svirt") || subject.starts_with("virt")).then_some(Self {
            guard: Guard::SeLinux,
            file,
            subject,
            label,
            context,
            wanted: None,
            line: shorten_line(line),
        })
    }

    /// Whether another line is about the same denial.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.guard, &self.file, &self.subject) == (other.guard, &other.file, &other.subject)
    }

    /// Whether the denial is about this file and this domain. An absolute path matches exactly, or by its last part if
    /// the profile has the domain's UUID, because the kernel logs the target of a link. A relative name, as SELinux
    /// logs it, matches any part of the path.
    pub(super) fn is_about(&self, path: &str, uuid: &str) -> bool {
        if !self.file.starts_with('/') {
            return path.split('/').any(|part| !part.is_empty() && part == self.file);
        }
        let is_domains = !uuid.is_empty() && self.subject.contains(uuid);
        let is_anybodys = uuid.is_empty() || !self.subject.starts_with("libvirt-");
        (self.file == path && is_anybodys) || (self.is_of(path) && is_domains)
    }

    /// Whether the denial is about the file itself, not a directory on its path.
    pub(super) fn is_of(&self, path: &str) -> bool {
        let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
        last(&self.file) == last(path)
    }
}

fn shorten_line(line: &str) -> String {
    escape_unseen(line.lines().next().unwrap_or_default()).chars().take(400).collect()
}

/// The value of a field. It is quoted or bare; one with unprintable characters is in hexadecimal (audit's
/// `audit_log_untrustedstring`).
fn field_value(line: &str, name: &str) -> Option<String> {
    let at = line.match_indices(name).find(|(at, _)| {
        let after = &line[at + name.len()..];
        let begins = *at == 0 || line.as_bytes()[at - 1] == b' ';
        begins && after.starts_with('=')
    })?;
    let rest = &line[at.0 + name.len() + 1..];
    if let Some(quoted) = rest.strip_prefix('"') {
        return quoted.split_once('"').map(|(value, _)| value.to_owned());
    }
    let bare = rest.split_whitespace().next()?;
    Some(
        from_hexadecimal(bare)
            .filter(|_| name == "name" || name == "path")
            .unwrap_or_else(|| bare.to_owned()),
    )
}

fn from_hexadecimal(word: &str) -> Option<String> {
    let digits = word.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !word.is_ascii() {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?).ok()
}

/// The type in `user:role:type:level`.
fn selinux_type(context: &str) -> Option<String> {
    context.split(':').nth(2).map(str::to_owned)
}
