//! Checks whether QEMU's bridge helper lets session guests use a bridge.

use std::path::Path;

use crate::Context;
use foundry_core::error::{Code, Issue};
use foundry_host::diagnosis::{HELPER_AS_ROOT, HELPER_REFUSES, allow_in_helper};
use foundry_host::local::{BridgeObstacle, find_bridge_obstacle, is_session};

/// What keeps guests of a session on this machine from a bridge. The system's libvirt needs no helper.
pub(crate) fn session_issue(context: &Context, bridge: &str) -> Option<Issue> {
    let needs_helper = context.host.is_local() && is_session(context.host.uri());
    let obstacle = needs_helper.then(|| find_bridge_obstacle(Path::new("/"), bridge))??;
    Some(obstacle_issue(obstacle, bridge))
}

fn obstacle_issue(obstacle: BridgeObstacle, bridge: &str) -> Issue {
    let (why, hint) = match obstacle {
        BridgeObstacle::Denied => (HELPER_REFUSES, allow_in_helper(bridge)),
        BridgeObstacle::NotRoot => (
            "QEMU's bridge helper may not create tap devices, because it does not run as root",
            format!("{HELPER_AS_ROOT}; or use --connect qemu:///system"),
        ),
    };
    Issue::new(Code::TapRefused, format!("bridge '{bridge}': {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_has_advice() {
        for (obstacle, command) in [
            (BridgeObstacle::Denied, "echo 'allow br0' >>/etc/qemu/bridge.conf"),
            (BridgeObstacle::NotRoot, "dpkg-statoverride"),
        ] {
            let issue = obstacle_issue(obstacle, "br0");
            let advice = issue.advice[0].to_log_line();
            assert_eq!(issue.code, Code::TapRefused);
            assert!(advice.contains(command) && !advice.contains("u+s"), "{issue:?}");
        }
    }
}
