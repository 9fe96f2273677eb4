//! Looks at QEMU's bridge helper, which session guests need for bridges (qemu, qemu-bridge-helper.c).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The paths in distributions (Debian; Fedora; Arch).
const PROGRAMS: [&str; 3] = [
    "usr/lib/qemu/qemu-bridge-helper",
    "usr/libexec/qemu-bridge-helper",
    "usr/libexec/qemu/qemu-bridge-helper",
];
const RULES: &str = "etc/qemu/bridge.conf";

/// What keeps session guests from a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeObstacle {
    /// The helper's rules do not allow the bridge.
    Denied,
    /// The helper does not run as root, so it cannot create tap devices.
    NotRoot,
}

/// Finds what keeps session guests from a bridge, as far as this user can see.
pub fn find_bridge_obstacle(root: &Path, bridge: &str) -> Option<BridgeObstacle> {
    if is_refused(root, bridge) {
        return Some(BridgeObstacle::Denied);
    }
    let program = PROGRAMS.iter().map(|path| root.join(path)).find(|path| path.is_file())?;
    // By the set-user-ID bit, or by file capabilities (capabilities(7)).
    let runs_as_root = fs::metadata(&program).is_ok_and(|file| file.permissions().mode() & 0o4000 != 0)
        || rustix::fs::getxattr(&program, "security.capability", &mut [0_u8; 0][..]).is_ok();
    (!runs_as_root).then_some(BridgeObstacle::NotRoot)
}

/// Applies the helper's rules: a `deny` overrides every `allow`, and what no rule allows is refused. Rules that this
/// user may not read, and rules that include others, count as an allowance.
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
    use crate::local::tests::make_root;

    #[test]
    fn the_rules_allow_or_deny_a_bridge() {
        let root = make_root(&[]);
        assert_eq!(find_bridge_obstacle(root.path(), "br0"), Some(BridgeObstacle::Denied), "no rules");
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
            let root = make_root(&[(RULES, rules)]);
            let found = find_bridge_obstacle(root.path(), "br0");
            assert_eq!(found, refused.then_some(BridgeObstacle::Denied), "{rules}");
        }
    }

    #[test]
    fn the_helper_has_to_run_as_root() {
        let root = make_root(&[(RULES, "allow br0\n"), (PROGRAMS[0], "")]);
        let path = root.path().join(PROGRAMS[0]);
        for (mode, obstacle) in [(0o755, Some(BridgeObstacle::NotRoot)), (0o4750, None)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(find_bridge_obstacle(root.path(), "br0"), obstacle, "{mode:o}");
        }
    }
}
