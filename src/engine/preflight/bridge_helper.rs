//! Checks QEMU's bridge helper, which session guests need to use a bridge (QEMU's qemu-bridge-helper.c).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Context;
use crate::context::is_session;
use foundry_core::error::Code;
use foundry_core::error::Issue;
use foundry_host::diagnosis::{HELPER_AS_ROOT, HELPER_REFUSES, allow_in_helper};

/// Where distributions install it (Debian; Fedora; Arch).
const PROGRAMS: [&str; 3] = [
    "usr/lib/qemu/qemu-bridge-helper",
    "usr/libexec/qemu-bridge-helper",
    "usr/libexec/qemu/qemu-bridge-helper",
];
const RULES: &str = "etc/qemu/bridge.conf";

/// Returns what keeps a local session's guests from using a bridge. Other libvirts need no helper.
pub(crate) fn session_issue(context: &Context, bridge: &str) -> Option<Issue> {
    let needs_helper = context.host.is_local() && is_session(context.host.uri());
    needs_helper.then(|| helper_issue(Path::new("/"), bridge))?
}

/// Returns what keeps this user's guests from using a bridge, as far as this user can see it.
fn helper_issue(root: &Path, bridge: &str) -> Option<Issue> {
    let say = |why: &str, hint: String| {
        Some(Issue::new(Code::TapRefused, format!("bridge '{bridge}': {why}")).hint(hint))
    };
    if is_refused(root, bridge) {
        return say(HELPER_REFUSES, allow_in_helper(bridge));
    }
    let program = PROGRAMS.iter().map(|path| root.join(path)).find(|path| path.is_file())?;
    let is_raised = fs::metadata(&program).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0)
        || rustix::fs::getxattr(&program, "security.capability", &mut [0_u8; 0][..]).is_ok();
    if is_raised {
        return None;
    }
    say(
        "QEMU's bridge helper may not create tap devices, because it does not run as root",
        format!("{HELPER_AS_ROOT}; or use --connect qemu:///system"),
    )
}

/// Applies the helper's rules: a deny rule always wins, and what no rule allows is refused. Rules that this user may not
/// read, or that include other files, are not judged.
fn is_refused(root: &Path, bridge: &str) -> bool {
    let text = match fs::read_to_string(root.join(RULES)) {
        Ok(text) => text,
        Err(e) => return e.kind() == std::io::ErrorKind::NotFound,
    };
    let rules: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
        .collect();
    let has = |verb: &str| {
        rules.iter().any(|rule| {
            rule.first() == Some(&verb) && rule.get(1).is_some_and(|w| *w == bridge || *w == "all")
        })
    };
    let includes = rules.iter().any(|rule| rule.first() == Some(&"include"));
    has("deny") || (!has("allow") && !includes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_says_no_is_found_before_a_guest_starts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let found = || helper_issue(root.path(), "br0");
        let issue = found().unwrap();
        assert_eq!(issue.code, Code::TapRefused);
        assert!(
            issue.advice[0].to_log_line().contains("echo 'allow br0' >>/etc/qemu/bridge.conf"),
            "{issue:?}"
        );
        for (rules, refused) in [
            ("", true),
            ("allow br1\n", true),
            ("allow br0\n", false),
            ("# allow br0\n", true),
            ("allow all\ndeny br0\n", true),
            ("allow all\n", false),
            ("allow br0\ndeny all\n", true),
            ("include /etc/qemu/alice.conf\n", false),
        ] {
            write(RULES, rules);
            assert_eq!(found().is_some(), refused, "{rules}");
        }
        write(RULES, "allow br0\n");
        let program = PROGRAMS[0];
        write(program, "");
        let path = root.path().join(program);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let issue = found().unwrap();
        assert!(
            issue.advice[0].to_log_line().contains("dpkg-statoverride")
                && !issue.advice[0].to_log_line().contains("u+s"),
            "{issue:?}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
        assert!(found().is_none());
    }
}
