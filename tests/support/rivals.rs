//! Who wants what.

use crate::support::arena::Arena;
use crate::support::live::{Foundry, Manifest, Ran};

/// One round: it begins and ends with the same host.
pub(crate) type Scenario = fn(&Arena);

const ENDS: [&str; 8] = ["web", "db", "web-a", "a", "b", "c", "d", "e"];

fn creation(arena: &Arena, manifest: &Manifest) -> Foundry {
    arena.bed.foundry(&["create", "-"]).reads(manifest)
}

/// The name of the VM that a creation made.
fn made(ran: &Ran) -> String {
    let line = ran.stdout.strip_prefix("Successfully created VM '");
    line.and_then(|rest| rest.split('\'').next()).unwrap_or_else(|| panic!("{ran:#?}")).to_owned()
}

/// It runs, and all its disks are there.
#[track_caller]
fn is_whole(arena: &Arena, vm: &str) {
    let got = arena.bed.get(vm);
    assert_eq!(got["status"]["phase"], "Running", "{got:#}");
    let record = arena.bed.record(vm);
    for volume in record["volumes"].as_array().unwrap() {
        let path = volume["path"].as_str().unwrap();
        assert!(std::path::Path::new(path).exists(), "{path} of {vm} is gone");
    }
}

pub(crate) fn same_name(arena: &Arena) {
    let manifest = arena.vm("web", 10).disk("vdb", 1);
    let ran = arena.at_once(ENDS.iter().map(|_| creation(arena, &manifest)).collect());
    let (won, lost) = judged(&ran);
    assert_eq!(won.len(), 1, "{ran:#?}");
    lost_by(&lost, 4, &["is being created by process", "exists", "' is taken"]);
    is_whole(arena, &manifest.name);
    arena.destroy([manifest.name.as_str()]);
}

pub(crate) fn same_address(arena: &Arena) {
    let manifests = ENDS.map(|end| arena.vm(end, 11).without_cloud_init());
    let ran = arena.at_once(manifests.iter().map(|m| creation(arena, m)).collect());
    let (won, lost) = judged(&ran);
    assert_eq!(won.len(), 1, "{ran:#?}");
    lost_by(&lost, 4, &["has the address 10.77.0.11"]);
    let winner = made(won[0]);
    assert_eq!(arena.vms(), [winner.as_str()]);
    is_whole(arena, &winner);
    arena.destroy([winner.as_str()]);
}

pub(crate) fn first_use_of_a_pool(arena: &Arena) {
    let pool = arena.bed.name(&format!("pool-{}", arena.number()));
    let place = arena.bed.home().join("place");
    // QEMU runs as another user.
    let place = format!("/var/lib/libvirt/images/{}", place.file_name().unwrap().to_str().unwrap());
    let vms: Vec<_> =
        (20..).zip(&ENDS[..5]).map(|(octet, end)| arena.vm(end, octet).without_cloud_init()).collect();
    let first =
        |m: &Manifest| creation(arena, m).env("FOUNDRY_VM_POOL", &pool).env("FOUNDRY_STORAGE_PATH", &place);
    let ran = arena.at_once(vms.iter().map(first).collect());
    let (won, _) = judged(&ran);
    assert_eq!(won.len(), vms.len(), "{ran:#?}");
    vms.iter().for_each(|m| is_whole(arena, &m.name));
    arena.destroy(vms.iter().map(|m| m.name.as_str()));
    arena.bed.virsh().does(&["pool-destroy", &pool]);
    arena.bed.virsh().does(&["pool-undefine", &pool]);
    std::fs::remove_dir_all(place).unwrap();
}

/// What was made less what was destroyed is what is there.
pub(crate) fn create_and_destroy(arena: &Arena) {
    let manifest = arena.vm("web", 12).disk("vdb", 1);
    let vm = manifest.name.as_str();
    arena.bed.creates(&manifest);
    let destruction = || arena.bed.foundry(&["destroy", vm, "--force"]);
    let commands =
        (0..8).map(|n| if n % 2 == 0 { destruction() } else { creation(arena, &manifest) }).collect();
    let ran = arena.at_once(commands);
    let (won, lost) = judged(&ran);
    let created = won.iter().filter(|ran| ran.stdout.contains("created")).count();
    let destroyed = won.len() - created;
    let there = arena.vms().len();
    assert_eq!(1 + created, destroyed + there, "{ran:#?}");
    let reasons = [
        "is being created by process",
        "exists",
        "' is taken",
        "is half destroyed",
        "is being destroyed",
        "was deleted by another process",
        "there is no VM",
    ];
    lost_by(&lost, 4, &reasons);
    if there == 1 {
        is_whole(arena, vm);
        arena.destroy([vm]);
    }
}

/// Either the image stays and is told to be in use, or it goes and no VM is made from it.
pub(crate) fn delete_of_an_image(arena: &Arena) {
    let image = format!("rival-{}.qcow2", arena.number());
    arena.import_blank(&image);
    let vms: Vec<Manifest> = (30..)
        .zip(&ENDS[..4])
        .map(|(octet, end)| arena.vm(end, octet).without_cloud_init())
        .map(|vm| vm.boot_disk(&format!("{{sizeGB: 1, image: {image}}}")))
        .collect();
    let deletion = || arena.bed.foundry(&["image", "delete", &image]);
    let mut commands: Vec<Foundry> = vms.iter().map(|m| creation(arena, m)).collect();
    commands.extend([deletion(), deletion()]);
    let mut ran = arena.at_once(commands);
    let deletions = ran.split_off(vms.len());
    let ((won, lost), (deleted, kept)) = (judged(&ran), judged(&deletions));
    let is_there = arena.bed.image(&image).exists();
    assert_eq!(
        (deleted.len(), is_there),
        (usize::from(won.is_empty()), !won.is_empty()),
        "{ran:#?} {deletions:#?}"
    );
    let missing = ["was deleted while VM", "not found in pool"];
    lost_by(&lost, 5, &missing);
    lost_by(&kept, 5, &["is in use by", "there is no image"]);
    let names: Vec<String> = won.iter().map(|ran| made(ran)).collect();
    names.iter().for_each(|vm| is_whole(arena, vm));
    arena.destroy(names.iter().map(String::as_str));
    if is_there {
        deletion().run().exits(0);
    }
}

/// Each gets a disk of its own, and the record knows all of them.
pub(crate) fn attach(arena: &Arena) {
    let manifest = arena.vm("web", 13).without_cloud_init();
    let vm = manifest.name.as_str();
    arena.bed.creates(&manifest);
    let ran = arena.at_once((0..4).map(|_| arena.bed.foundry(&["disk", "attach", vm, "1"])).collect());
    let (won, _) = judged(&ran);
    assert_eq!(won.len(), 4, "{ran:#?}");
    assert_eq!(targets(arena, vm), ["vdb", "vdc", "vdd", "vde"]);
    is_whole(arena, vm);
    arena.destroy([vm]);
}

pub(crate) fn attach_the_same(arena: &Arena) {
    let manifest = arena.vm("web", 14).without_cloud_init();
    let vm = manifest.name.as_str();
    arena.bed.creates(&manifest);
    let command = || arena.bed.foundry(&["disk", "attach", vm, "1", "--device", "vdc"]);
    let ran = arena.at_once((0..8).map(|_| command()).collect());
    let (won, lost) = judged(&ran);
    assert_eq!(won.len(), 1, "{ran:#?}");
    lost_by(&lost, 4, &["is attaching", "has a disk 'vdc'"]);
    assert_eq!(targets(arena, vm), ["vdc"]);
    is_whole(arena, vm);
    arena.destroy([vm]);
}

/// The VM is what one of the manifests says, in all of it.
pub(crate) fn apply_and_apply(arena: &Arena) {
    let manifest = arena.vm("web", 15).disk("vdb", 1).without_cloud_init();
    let vm = manifest.name.clone();
    arena.bed.creates(&manifest);
    let variants: Vec<Manifest> = ["a", "b", "c", "d"]
        .iter()
        .map(|role| {
            arena.vm("web", 15).disk("vdb", 2).disk("vdc", 1).without_cloud_init().label("role", role)
        })
        .collect();
    let commands = variants.iter().map(|m| arena.bed.foundry(&["apply", "-"]).reads(m)).collect();
    let ran = arena.at_once(commands);
    let (won, lost) = judged(&ran);
    assert!(!won.is_empty(), "{ran:#?}");
    let reasons = ["was changed by another process", "has changed", "is attaching", "has a disk"];
    lost_by(&lost, 4, &reasons);
    assert_eq!(targets(arena, &vm), ["vdb", "vdc"]);
    is_whole(arena, &vm);
    let is_what = |m: &&Manifest| arena.bed.foundry(&["diff", "-"]).reads(*m).run().code == 0;
    assert_eq!(variants.iter().filter(is_what).count(), 1, "{ran:#?}\n{:#}", arena.bed.record(&vm));
    arena.destroy([vm.as_str()]);
}

/// Either there is a VM with the boot disk of one of them, or nothing is left of it.
pub(crate) fn repave_and_destroy(arena: &Arena) {
    let blank = "{sizeGB: 1, image: blank.qcow2}";
    let manifest = arena.vm("web", 16).boot_disk(blank);
    let vm = manifest.name.as_str();
    arena.bed.creates(&manifest);
    let repave = || arena.bed.foundry(&["repave", vm, "--force", "--yes"]);
    let destruction = || arena.bed.foundry(&["destroy", vm, "--force"]);
    let mut ran = arena.at_once(vec![repave(), destruction(), repave(), destruction()]);
    let destructions = [ran.remove(3), ran.remove(1)];
    let ((_, lost), (destroyed, stayed)) = (judged(&ran), judged(&destructions));
    assert!(destroyed.len() < 2, "{destructions:#?}");
    let gone =
        ["there is no VM", "is being destroyed", "is half destroyed", "was deleted by another process"];
    let meanwhile = [
        "is being repaved",
        "has the boot disk from before",
        "not settled",
        "has changed",
        "has got a new disk since",
    ];
    lost_by(&lost, 4, &[gone.as_slice(), &meanwhile].concat());
    lost_by(&stayed, 4, &[gone.as_slice(), &meanwhile].concat());
    assert_eq!(arena.vms().len(), 1 - destroyed.len(), "{ran:#?} {destructions:#?}");
    if destroyed.is_empty() {
        is_whole(arena, vm);
        arena.destroy([vm]);
    }
}

/// A disk that was grown is as large on its overlays; or it was not grown, since there was a snapshot already.
pub(crate) fn snapshot_and_resize(arena: &Arena) {
    let manifest = arena.vm("web", 17).disk("vdb", 1).without_cloud_init();
    let vm = manifest.name.as_str();
    arena.bed.creates(&manifest);
    let snapshot = |name: &str| arena.bed.foundry(&["snapshot", "create", vm, name, "--no-freeze"]);
    let resize = || arena.bed.foundry(&["disk", "resize", vm, "vdb", "2GiB"]);
    let mut ran = arena.at_once(vec![resize(), snapshot("a"), resize(), snapshot("b")]);
    let snapshots = [ran.remove(3), ran.remove(1)];
    let ((grown, lost), (made, unmade)) = (judged(&ran), judged(&snapshots));
    lost_by(&lost, 4, &["has snapshots", "is not on its own volume", "is being"]);
    lost_by(&unmade, 4, &["is being", "has changed"]);
    let record = arena.bed.record(vm);
    let volumes = record["volumes"].as_array().unwrap();
    let overlays: Vec<_> = volumes.iter().filter(|v| !v["overlayOf"].is_null()).collect();
    assert_eq!(overlays.len(), 2 * made.len(), "two disks each: {record:#}");
    assert!(overlays.iter().all(|v| v["overlayOf"]["maker"].is_null()), "{record:#}");
    let size = if grown.is_empty() { 1 } else { 2_u64 } << 30;
    for volume in volumes.iter().filter(|v| v["name"].as_str().unwrap().contains("vdb")) {
        let path = volume["path"].as_str().unwrap();
        let info = arena.bed.virsh().does(&["vol-dumpxml", path]);
        assert!(info.contains(&format!("<capacity unit='bytes'>{size}<")), "{path}: {info}\n{ran:#?}");
    }
    is_whole(arena, vm);
    arena.destroy([vm]);
}

/// The data disks of a VM, as its manifest has them, none of which is still on its way.
fn targets(arena: &Arena, vm: &str) -> Vec<String> {
    let record = arena.bed.record(vm);
    let volumes = record["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|v| v["attaching"].is_null()), "{record:#}");
    let disks = record["manifest"]["spec"]["dataDisks"].as_array().cloned().unwrap_or_default();
    let targets: Vec<String> = disks.iter().map(|d| d["device"].as_str().unwrap().to_owned()).collect();
    assert_eq!(volumes.len(), 1 + targets.len(), "{record:#}");
    targets
}

/// Those that succeeded and those that did not; these must have said why in one error, and panicked nowhere.
#[track_caller]
fn judged(ran: &[Ran]) -> (Vec<&Ran>, Vec<&Ran>) {
    for one in ran {
        assert!(!one.stderr.contains("panicked"), "{one:#?}");
        assert_eq!(one.stderr.matches("error: ").count(), usize::from(one.code != 0), "{one:#?}");
    }
    ran.iter().partition(|one| one.code == 0)
}

/// Each loser has one of the exit codes and says one of the reasons.
#[track_caller]
fn lost_by(losers: &[&Ran], code: i32, reasons: &[&str]) {
    for loser in losers {
        let why = reasons.iter().any(|reason| loser.stderr.contains(reason));
        assert!(loser.code == code && why, "none of {reasons:?} with {code} in {loser:#?}");
        assert!(!loser.stderr.contains("left behind"), "{loser:#?}");
    }
}
