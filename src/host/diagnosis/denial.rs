//! Reads denials of AppArmor and SELinux from the kernel's audit, one per line.

use std::fmt;

use foundry_core::text::escape_unseen;

/// What confines a guest's QEMU beside owners and modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// By a profile of each domain that libvirt writes.
    AppArmor,
    /// By labels of processes and files.
    SeLinux,
}

impl Guard {
    /// As libvirt calls its security driver (libvirt's `<secmodel>`).
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

/// A refusal that the kernel wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Whose it was.
    pub guard: Guard,
    /// The file: its path, or of SELinux's mostly the last part only.
    pub file: String,
    /// Who was refused: AppArmor's profile, SELinux's type of the process.
    pub subject: String,
    /// SELinux's type of the file.
    pub label: Option<String>,
    /// SELinux's whole label of the process; each guest has one of its own.
    pub context: Option<String>,
    /// What of AppArmor's was asked for (`r`, `wc`, …).
    pub wanted: Option<String>,
    /// The line itself, as much of it as is shown.
    pub line: String,
}

impl Denial {
    /// Reads a line of the kernel's log or of auditd's; `None` where it tells of no refusal of a guest's.
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

    /// Whether another line tells of the same.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.guard, &self.file, &self.subject) == (other.guard, &other.file, &other.subject)
    }

    /// Whether it is about a file that was refused to a domain. A path in full counts as it is, and with the same last
    /// part where the domain is known to be that one: the kernel names what a link leads to. Of a part alone, which is
    /// what SELinux names, it has to be one of the path.
    pub(super) fn is_about(&self, path: &str, uuid: &str) -> bool {
        if !self.file.starts_with('/') {
            return path.split('/').any(|part| !part.is_empty() && part == self.file);
        }
        let is_domains = !uuid.is_empty() && self.subject.contains(uuid);
        let is_anybodys = uuid.is_empty() || !self.subject.starts_with("libvirt-");
        (self.file == path && is_anybodys) || (self.is_of(path) && is_domains)
    }

    /// Whether it names the file itself, and no directory on the way.
    pub(super) fn is_of(&self, path: &str) -> bool {
        let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
        last(&self.file) == last(path)
    }
}

fn shorten_line(line: &str) -> String {
    escape_unseen(line.lines().next().unwrap_or_default()).chars().take(400).collect()
}

/// The value of a field: in quotes, or bare; what has other than printable characters is in hexadecimal (audit's
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
