//! Checks whether other users could replace volumes in a pool with files of their own. libvirtd opens volumes as root.

use super::HostCheck;
use super::facts::HostFacts;
use super::permission::qemu_user;
use foundry_core::text::quote_for_shell;
use foundry_host::local::UnixPermissions;

/// The same name as the check of QEMU's access. This check adds a result only if something is wrong.
const NAME: &str = "pool-path";
const STICKY: u32 = 0o1000;

pub(super) fn check_writers(facts: &HostFacts) -> Vec<HostCheck> {
    let Some(local) = &facts.local else { return Vec::new() };
    let mut trusted = vec![0, local.user.uid];
    trusted.extend(qemu_user(facts).map(|user| user.uid));
    let judged = facts.directory_pools().into_iter().filter_map(|(pool, path)| {
        let way = local.directories.get(path)?.components.as_ref()?;
        let (directory, why, cure) = way.iter().rev().find_map(|(directory, found)| find_other_writer(directory, found, &trusted))?;
        let message = format!(
            "{directory} {why}: a user who can write there could replace a volume with a link, which libvirtd follows as root"
        );
        Some(HostCheck::warning(NAME, message).add_advice(cure).about(&pool.name))
    });
    judged.collect()
}

/// Returns why other users can replace files in a directory, and the command that prevents it.
fn find_other_writer(
    directory: &str,
    found: &UnixPermissions,
    trusted: &[u32],
) -> Option<(String, String, String)> {
    let word = quote_for_shell(directory);
    let told = |why: String, cure: String| Some((directory.to_owned(), why, cure));
    if !trusted.contains(&found.uid) {
        return told(
            format!("belongs to user {}", found.uid),
            format!("use a directory that belongs to root, not {word}"),
        );
    }
    let group_is_owners = found.gid == 0 || found.gid == found.uid;
    if found.mode & STICKY != 0 {
        return None;
    }
    if found.mode & 0o002 != 0 {
        return told(
            format!("is writable by everyone (mode {:o})", found.mode & 0o7777),
            format!("chmod o-w {word}"),
        );
    }
    if found.mode & 0o020 != 0 && !group_is_owners {
        return told(
            format!("is writable by group {} (mode {:o})", found.gid, found.mode & 0o7777),
            format!("chmod g-w {word}"),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_write_to_is_told() {
        let rights = |uid, gid, mode| UnixPermissions { uid, gid, mode, has_acl: false };
        let judged =
            |found| find_other_writer("/pool", &found, &[0, 64055]).map(|(_, why, cure)| (why, cure));
        for fine in [
            rights(0, 0, 0o755),
            rights(0, 0, 0o775),
            rights(64055, 108, 0o711),
            rights(0, 0, 0o1777),
            rights(0, 36, 0o755),
        ] {
            assert_eq!(judged(fine), None, "{fine:?}");
        }
        assert!(judged(rights(0, 0, 0o777)).is_some_and(|(_, cure)| cure == "chmod o-w /pool"));
        assert!(judged(rights(0, 36, 0o775)).is_some_and(|(why, _)| why.contains("by group 36")));
        assert!(judged(rights(1000, 1000, 0o755)).is_some_and(|(why, _)| why.contains("user 1000")));
    }
}
