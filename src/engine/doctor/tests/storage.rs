//! Pools, their directories and their space.

use super::*;

#[test]
fn pool_missing_or_inactive_is_found() {
    let with = |act: fn(&mut Vec<Pool>)| healthy_but(|f| act(f.pools.as_mut().unwrap()));
    let stopped = with(|p| (p[1].active, p[1].autostart) = (false, false));
    assert_only(
        &stopped,
        "pool foundry-vms",
        CheckState::Warning,
        &["not started", "[PoolStart { pool: \"foundry-vms\" }] --autostart"],
    );
    let once = with(|p| p[0].autostart = false);
    assert_only(&once, "pool foundry-images", CheckState::Warning, &["does not start with the host"]);
    assert_eq!(findings(&with(Vec::clear)), [], "they are made on first use");
    let named = healthy_but(|f| f.settings.vm_pool = "my.pool".parse().unwrap());
    assert_only(&named, "pool my.pool", CheckState::Problem, &["[PoolAdd { pool: \"my.pool\" }]"]);
    let other = with(|p| p.push(Pool { active: false, ..pool("x; reboot", "/x") }));
    assert_only(&other, "pool x; reboot", CheckState::Warning, &["[PoolStart { pool: \"x; reboot\" }]"]);
}

#[test]
fn pool_directory_unreachable_for_qemu_is_found() {
    let closed = |has_acl| {
        local_but(|l| {
            let way = l.directories.get_mut("/vms").unwrap().components.as_mut().unwrap();
            way[1].1 = UnixPermissions { has_acl, ..rights(0, 0, 0o700) };
        })
    };
    let words = ["libvirt-qemu", "may not enter /vms (mode 700)", "setfacl -m u:libvirt-qemu:x /vms"];
    assert_only(&closed(false), "pool-path foundry-vms", CheckState::Problem, &words);
    assert_only(&closed(true), "pool-path foundry-vms", CheckState::Unknown, &["getfacl /vms"]);
    let mut context = closed(false);
    (context.is_session, context.uri) = (true, "qemu:///session".into());
    assert_eq!(findings(&context), [], "a session's guests run as whoever asks, here root");
    let hidden = local_but(|l| l.directories.get_mut("/vms").unwrap().components = None);
    assert_only(&hidden, "pool-path foundry-vms", CheckState::Unknown, &["/vms"]);
}

#[test]
fn pool_not_yet_created_is_checked() {
    let mut facts = healthy_but(|f| f.pools.as_mut().unwrap().clear());
    let place = "/var/lib/libvirt/images/foundry/vms";
    let way = Some(vec![("/var/lib".to_owned(), rights(0, 0, 0o750))]);
    let directory = PoolDirectory { real: "/var/lib".into(), components: way, ..PoolDirectory::default() };
    facts.local.as_mut().unwrap().directories = BTreeMap::from([(place.to_owned(), directory)]);
    assert_only(&facts, "pool-path foundry-vms", CheckState::Problem, &["/var/lib (mode 750)"]);
}

#[test]
fn room_short_in_bytes_inodes_and_growth() {
    let left = |bytes| local_but(move |l| l.directories.get_mut("/vms").unwrap().available = bytes);
    assert_only(&left(GIB / 2), "room foundry-vms", CheckState::Problem, &["512 MiB of 100 GiB"]);
    assert_only(&left(4 * GIB), "room foundry-vms", CheckState::Warning, &["[StorageStatus]"]);
    let inodes = |left| local_but(move |l| l.directories.get_mut("/images").unwrap().inodes = (1000, left));
    assert_only(&inodes(0), "inodes foundry-images", CheckState::Problem, &["0 of 1000", "df -i"]);
    assert_only(&inodes(9), "inodes foundry-images", CheckState::Warning, &["9 of 1000"]);
    let promised = healthy_but(|f| {
        f.storage = Ok(storage_status(vec![FileSystem {
            pools: vec!["foundry-vms".into()],
            capacity: Bytes(100 * GIB),
            allocation: Bytes(50 * GIB),
            available: Bytes(50 * GIB),
            growth: Bytes(80 * GIB),
            overcommit: Bytes(30 * GIB),
        }]));
    });
    assert_only(&promised, "overcommit foundry-vms", CheckState::Warning, &["80 GiB", "50 GiB"]);
    let elsewhere =
        healthy_but(|f| f.pools.as_mut().unwrap().push(Pool { available: Bytes(0), ..pool("nas", "/nas") }));
    assert_only(&elsewhere, "room nas", CheckState::Warning, &["0 B"]);
}
