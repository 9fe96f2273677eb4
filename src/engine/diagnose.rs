//! Collects evidence about an operation that libvirt refused: QEMU's log, denials in the kernel's log, directory
//! permissions, open files.
//!
//! Only evidence from this machine counts, only what was written after the operation began, and only a limited amount
//! is read. Unreadable evidence is not an error. [`diagnosis`] draws the conclusions.

use std::path::{Path, PathBuf};

use crate::Context;
use crate::vm::console::qemu_log_path;
use foundry_core::error::Error;
use foundry_core::text::{escape_unseen, quote_for_shell};
use foundry_host::diagnosis::{self, Denial, Diagnosis, Evidence, RequestedVm};
use foundry_host::libvirt_xml::selinux_label;
use foundry_host::local::{self, Accounts, KernelLog, LibvirtInstance, LogPosition, User, is_session};
use foundry_host::{HostError, View};

/// Bytes that are read from the end of QEMU's log.
const LOG_BYTES: u64 = 32 << 10;
/// Lines of each log that `--verbose` shows.
const SHOWN: usize = 5;

/// The context of an operation that may fail. It is created before the operation, so that older log lines are not taken
/// for its cause.
pub(super) struct FailureContext {
    asked: RequestedVm,
    /// The logs of this machine; `None` if the host is another one.
    local: Option<LocalLogs>,
}

/// The logs of this machine, from a position on.
struct LocalLogs {
    root: PathBuf,
    log: Option<LogPosition>,
    kernel: KernelLog,
}

impl FailureContext {
    /// Begins an operation on a domain.
    pub(super) fn new(context: &Context, asked: RequestedVm) -> Self {
        let root = Path::new("/");
        let local = context.host.is_local().then(|| LocalLogs {
            root: root.to_owned(),
            log: qemu_log_path(context.host.uri(), &asked.vm)
                .map(|path| LogPosition::at_end(Path::new(&path))),
            kernel: KernelLog::at_end(root),
        });
        Self { asked, local }
    }

    /// Turns a refusal into an error, with its cause if it can be found.
    pub(super) fn explain_error(mut self, context: &Context, error: HostError) -> Error {
        let HostError::Refused { libvirt, .. } = &error else { return error.into() };
        let evidence = self.gather_evidence(context, libvirt.clone());
        let shown = evidence_to_show(&evidence);
        let libvirt = libvirt.clone();
        let told = match diagnosis::find_cause(&evidence) {
            Some(found) => found.apply_to(error.into()).detail(libvirt.clone()),
            None => error.into(),
        };
        match shown {
            None => told,
            Some(more) => told.detail(format!("{}\n{more}", libvirt.trim_end())),
        }
    }

    fn gather_evidence(&mut self, context: &Context, libvirt: String) -> Evidence {
        let mut evidence = Evidence { libvirt, asked: self.asked.clone(), ..Evidence::default() };
        let Some(place) = &mut self.local else { return evidence };
        if let Some(written) = place.log.as_ref().and_then(|mark| mark.read_since(LOG_BYTES)) {
            evidence.log = qemu_messages(&written);
        }
        let words = format!("{}\n{}", evidence.libvirt, evidence.log);
        if let Some(refused) = diagnosis::refused_file(&words).filter(|_| diagnosis::is_denied(&words)) {
            let ids = refused.as_user.or_else(|| context.host.capabilities().ok()?.guest_ids());
            let user = |accounts: &Accounts| match ids {
                Some((uid, gid)) => Some(accounts.user_with_groups(uid, gid)),
                None => is_session(context.host.uri()).then(User::current_user),
            };
            evidence.denials = credible_denials(context, &self.asked, place.kernel.read_denials());
            evidence.barrier = local::find_barrier(&place.root, refused.path, user);
        }
        if let Some(locked) = diagnosis::locked_file(&words) {
            let pid_files = LibvirtInstance::of(context.host.uri()).pid_files();
            evidence.holders = local::find_holders(&place.root, locked, pid_files.as_deref());
        }
        if words.contains("MTU") {
            evidence.mtus = local::read_mtus(&place.root, &self.asked.bridges);
        }
        evidence
    }
}

/// Keeps the denials of a security module that libvirt uses for its guests, and of this domain's SELinux label if it is
/// known. Other lines can be forged: a host without SELinux logs no SELinux denials.
fn credible_denials(context: &Context, asked: &RequestedVm, denials: Vec<Denial>) -> Vec<Denial> {
    let Some(capabilities) = context.host.capabilities().ok().filter(|_| !denials.is_empty()) else {
        return Vec::new();
    };
    let uuid = asked.uuid.parse::<uuid::Uuid>().ok();
    let xml = uuid.and_then(|uuid| context.host.domain_xml(uuid, View::Current).ok().flatten());
    let own = xml.and_then(|xml| selinux_label(&xml));
    let is_its = |denial: &Denial| own.is_none() || denial.context.is_none() || denial.context == own;
    let has = |denial: &Denial| capabilities.confines_by(denial.guard.driver_name());
    denials.into_iter().filter(|denial| has(denial) && is_its(denial)).collect()
}

/// The log lines for `--verbose`, without those that libvirt's message already contains.
fn evidence_to_show(evidence: &Evidence) -> Option<String> {
    let qemu = evidence.log.lines().filter(|line| !evidence.libvirt.contains(line.trim()));
    let mut lines: Vec<String> = qemu.rev().take(SHOWN).map(|line| format!("QEMU's log: {line}")).collect();
    lines.reverse();
    let about = evidence.denials.iter().filter(|denial| diagnosis::is_behind(denial, evidence));
    lines.extend(about.take(SHOWN).map(|denial| format!("the kernel's log: {}", denial.line)));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// QEMU's own messages in the last run in its log; `None` if that run ended with a normal shutdown.
fn last_words(context: &Context, vm: &str) -> Option<String> {
    let path = qemu_log_path(context.host.uri(), vm).filter(|_| context.host.is_local())?;
    let written = local::read_tail(Path::new(&path), 0, LOG_BYTES)?;
    let ended_well = [" shutting down, reason=shutdown", " shutting down, reason=destroyed"];
    if ended_well.iter().any(|end| written.lines().last().is_some_and(|line| line.ends_with(end))) {
        return None;
    }
    Some(qemu_messages(&written)).filter(|said| !said.is_empty())
}

/// QEMU's own messages in the last run of a log. libvirt's lines and the command line are left out, because a word in
/// them could look like an error message. A guest can influence these lines through its devices, so they are only shown
/// and matched.
fn qemu_messages(written: &str) -> String {
    let run = written.rfind(": starting up libvirt").map_or(written, |at| &written[at..]);
    let mut said: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in run.lines() {
        let is_command = goes_on || line.contains(": starting up libvirt") || line.starts_with("LC_ALL=");
        goes_on = line.ends_with(" \\");
        if !is_command && !goes_on && !is_libvirt_line(line) && !line.trim().is_empty() {
            said.push(escape_unseen(line).chars().take(1000).collect());
        }
    }
    said.join("\n")
}

/// Whether libvirt wrote a line: `2026-11-21 21:31:08.718+0000: shutting down, reason=failed`, or the console's device.
fn is_libvirt_line(line: &str) -> bool {
    line.contains("shutting down, reason=") || line.starts_with("char device redirected to")
}

/// Why QEMU stopped a running guest, if its log shows a known cause.
pub(super) fn stopped_by(context: &Context, vm: &str) -> Option<Diagnosis> {
    let log = last_words(context, vm)?;
    diagnosis::find_cause(&Evidence { log, ..Evidence::default() })
}

/// Adds a hint if one of these bridges is down, because then no guest on it can be reached.
pub(super) fn with_bridges<'a>(
    context: &Context,
    names: impl Iterator<Item = &'a str>,
    error: Error,
) -> Error {
    let bridges = context.host.bridges().ok().flatten().unwrap_or_default();
    let is_down = |name: &&str| bridges.iter().any(|bridge| bridge.name == *name && !bridge.is_up);
    let Some(bridge) = { names }.find(is_down) else { return error };
    error.hint(format!("bridge '{bridge}' is down: ip link set {} up", quote_for_shell(bridge)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str =
        "2026-11-20 10:00:00.000+0000: starting up libvirt version: 11.3.0, package: x, qemu version: 10.0.2
LC_ALL=C \\
/usr/bin/qemu-system-x86_64 \\
-name guest=old
2026-11-20T10:00:01Z qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory
2026-11-20 10:00:02.000+0000: shutting down, reason=failed
2026-11-21 21:33:35.700+0000: starting up libvirt version: 11.3.0, package: x, qemu version: 10.0.2
LC_ALL=C \\
PATH=/bin \\
/usr/bin/qemu-system-x86_64 \\
-blockdev '{\"filename\":\"No space left on device\"}' \\
-msg timestamp=on
char device redirected to /dev/pts/0 (label charserial0)
2026-11-21T21:33:35.785706Z qemu-system-x86_64: \u{1b}[31mFailed to get shared \"write\" lock
Is another process using the image [/srv/tiny.qcow2]?
2026-11-21 21:33:35.798+0000: shutting down, reason=failed
";

    #[test]
    fn only_what_qemu_said_in_the_last_run_counts() {
        assert_eq!(
            qemu_messages(LOG),
            "2026-11-21T21:33:35.785706Z qemu-system-x86_64: \\u{1b}[31mFailed to get shared \"write\" lock\nIs another process using the image [/srv/tiny.qcow2]?"
        );
        assert_eq!(qemu_messages(""), "");
    }

    #[test]
    fn a_name_that_leads_elsewhere_has_no_log() {
        let system = "qemu:///system";
        assert_eq!(qemu_log_path(system, "web"), Some("/var/log/libvirt/qemu/web.log".into()));
        for name in ["", "../x", "a/b", ".x"] {
            assert_eq!(qemu_log_path(system, name), None, "{name}");
        }
    }

    #[test]
    fn what_libvirt_repeats_is_not_shown_twice() {
        let log = "one\ntwo".to_owned();
        let evidence = Evidence { libvirt: "error: one".into(), log, ..Evidence::default() };
        assert_eq!(evidence_to_show(&evidence).as_deref(), Some("QEMU's log: two"));
        assert_eq!(evidence_to_show(&Evidence::default()), None);
    }
}
