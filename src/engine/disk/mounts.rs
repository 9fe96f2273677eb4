//! Asks the guest agent whether a disk is mounted.

use std::time::Duration;

use super::disk_handle::DiskHandle;
use crate::Context;
use crate::vm::handle::{VmHandle, refused_unchanged};
use foundry_core::error::{Code, Error};
use foundry_core::text::quote_for_shell;

/// How long the guest agent may take to list the mounts.
const AGENT_WITHIN: Duration = Duration::from_secs(2);

/// Refuses if the disk is mounted. Linux releases a mounted disk, and data that was not written yet is lost. If no
/// agent answers, or it does not know the command, the disk counts as not mounted.
pub(super) fn check_mounted(context: &Context, handle: &VmHandle, found: &DiskHandle) -> Result<(), Error> {
    if found.live.is_none() {
        return Ok(());
    }
    let question = r#"{"execute":"guest-get-fsinfo"}"#;
    let answer = context.host.agent(handle.domain.uuid, question, AGENT_WITHIN)?.unwrap_or_default();
    let serial = found.live.as_ref().and_then(|d| d.serial.as_deref());
    let mounts = mounts_on(&answer, serial.unwrap_or(&found.target));
    let Some(first) = mounts.first() else { return Ok(()) };
    let (vm, target) = (handle.name(), &found.target);
    Err(refused_unchanged(
        Code::DiskBusy,
        format!("disk '{target}' of VM '{vm}' is mounted in the guest at {}", mounts.join(", ")),
    )
    .hint(format!("in the guest: umount {}", quote_for_shell(first))))
}

/// Reads the mount points of a disk from the agent's answer to `guest-get-fsinfo` (QEMU Guest Agent Protocol
/// Reference). The disk is identified by its serial, because the guest names its disks itself, in the order in which
/// it finds them. The answer comes from the guest and may be anything.
fn mounts_on(answer: &str, serial: &str) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let systems = answer["return"].as_array().into_iter().flatten();
    let is_on = |system: &&serde_json::Value| {
        let mut disks = system["disk"].as_array().into_iter().flatten();
        disks.any(|d| d["serial"].as_str() == Some(serial))
    };
    systems.filter(is_on).filter_map(|s| s["mountpoint"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_tells_where_a_disk_is_mounted() {
        let answer = r#"{"return": [
            {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [{"serial": "vda", "dev": "/dev/vda1"}]},
            {"name": "vdc", "mountpoint": "/data", "type": "xfs", "disk": [{"serial": "vdb", "dev": "/dev/vdc"}]},
            {"name": "vdc2", "mountpoint": "/more", "type": "xfs", "disk": [{"serial": "vdb"}, {"serial": "x"}]},
            {"name": "tmpfs", "mountpoint": "/tmp", "disk": []}, {"name": "odd"}]}"#;
        assert_eq!(mounts_on(answer, "vdb"), ["/data", "/more"]);
        assert_eq!(mounts_on(answer, "vdc"), [] as [String; 0]);
        for nothing in ["", "{", "[]", r#"{"return": {}}"#, r#"{"error": {"class": "CommandNotFound"}}"#] {
            assert_eq!(mounts_on(nothing, "vdb"), [] as [String; 0], "{nothing}");
        }
    }
}
