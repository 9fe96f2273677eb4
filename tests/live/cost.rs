//! How many calls of libvirt's each command costs, and what for. No guest boots here.
//!
//! Each costs a round trip, which over SSH is tens of milliseconds. A number here changes only with a reason.

use crate::support::live::{Bed, Ran};

/// What a command needs calls for, and how many.
type Bill<'a> = &'a [(&'a str, usize)];

/// To find a volume: its pool and itself.
const FIND: usize = 2;
/// To find a volume and describe it.
const LOOK: usize = FIND + 1;
/// To read a little of one on this machine: find it, and prove which file it is.
const READ: usize = FIND + 1;
/// To look at a pool: find it, its description, whether it is active, whether it is autostarted.
const POOL: usize = 4;
/// To list all domains: the state of all, the size of those that are off, and which are transient, which autostarted and
/// which saved. Beside these for each domain its record and, as it runs, its size.
const DOMAINS: usize = 5;
/// Record and size of a domain that runs.
const LISTED: usize = 2;
/// To find one domain: by name, five facts that no one call has together, and its record. Of one that is off also
/// whether its memory is saved.
const DOMAIN: usize = 7;

/// Runs a command; how many domains the host has beside those that it makes or destroys. Again where that
/// changes meanwhile, as others may work on the host.
fn run(bed: &Bed, arguments: &[&str], input: &str) -> (Ran, usize) {
    let count = || bed.virsh().names("list", "").iter().filter(|n| !n.is_empty()).count();
    for _ in 0..5 {
        let before = count();
        let ran = bed.foundry(&[arguments, &["-vv"]].concat()).reads(input).run().exits(0);
        let after = count();
        if before.abs_diff(after)
            == usize::from(
                matches!(arguments[0], "create" | "destroy" | "clone") && !arguments.contains(&"--dry-run"),
            )
        {
            return (ran, before.min(after));
        }
    }
    panic!("the host's domains do not stay the same for as long as a command takes");
}

/// How many active pools the host has, and volumes in them.
fn storage(bed: &Bed) -> (usize, usize) {
    let pools: Vec<String> =
        bed.virsh().names("pool-list", "").into_iter().filter(|p| !p.is_empty()).collect();
    let in_pool = |pool: &String| {
        bed.virsh().does(&["vol-list", pool]).lines().filter(|line| !line.trim().is_empty()).count()
    };
    (pools.len(), pools.iter().map(in_pool).sum())
}

#[track_caller]
fn costs(ran: &Ran, bill: Bill<'_>) {
    let sum: usize = bill.iter().map(|(_, calls)| calls).sum();
    assert_eq!(ran.calls.len(), sum, "{bill:#?}\n{ran:#?}");
}

#[test]
fn create_makes_few_calls_beyond_those_that_it_must() {
    let Some(bed) = Bed::with_tiny("costcreate") else { return };
    bed.creates(&bed.manifest("first", 80)); // makes the pool, once in a host's life
    let text = bed.manifest("web", 81).disk("vdb", 1).disk("vdc", 1).to_string();
    let preflight = [
        ("connect", 1),
        ("name, addresses", DOMAINS),
        ("architecture, version", 3),
        ("memory of the host", 1),
        ("image", LOOK + READ),
        // It has none; otherwise it costs as much as the image.
        ("the note on the image's origin", FIND),
        ("pool", POOL),
        ("the pool's room as it is: find, refresh", 2),
        ("four names are free", 4 * FIND),
    ];
    let (dry, others) = run(&bed, &["create", "-", "--dry-run"], &text);
    costs(&dry, &[preflight.as_slice(), &[("records", others * LISTED)]].concat());

    let (ran, others) = run(&bed, &["create", "-"], &text);
    let build = [
        ("records", others * LISTED),
        ("define, and its UUID", 2),
        // The description tells the path that the domain was defined with.
        ("four volumes: pool, create, describe", 4 * 3),
        // On this machine foundry writes into the volume's file, once it has proved which one that is.
        ("seed: find, describe", LOOK),
        // Who wants the same address at the same moment may have been defined after the first look.
        ("addresses, and all records with its own", DOMAINS + others * LISTED + 1),
        ("mark: find, active, write", 3),
        ("autostart", 2),
        ("start", 2),
        // Who deletes it may have looked who uses it before the domain was there.
        ("the image is still there", LOOK),
    ];
    costs(&ran, &[preflight.as_slice(), &build].concat());
    // The calls that make the thing: all others only look.
    let makes =
        ["virDomainDefineXMLFlags", "virStorageVolCreateXML", "virStorageVolUpload", "virDomainCreate"];
    assert_eq!(makes.map(|call| ran.count(call)), [1, 4, 0, 1]);
}

#[test]
fn destroy_looks_once_at_everybody_else() {
    let Some(bed) = Bed::with_tiny("costdestroy") else { return };
    bed.creates(&bed.manifest("neighbour", 82));
    let manifest = bed.manifest("web", 83).disk("vdb", 1).disk("vdc", 1);
    bed.creates(&manifest);
    let (pools, volumes) = storage(&bed);
    let (ran, others) = run(&bed, &["destroy", &manifest.name, "--force"], "");
    costs(
        &ran,
        &[
            ("connect", 1),
            ("the VM", DOMAIN),
            ("its descriptions, for overlays of snapshots, and for its record in both", 2 * 2),
            ("four volumes", 4 * LOOK),
            ("who else uses them: list", DOMAINS),
            // A disk that a domain can go back to is in none of its descriptions.
            ("the domains with snapshots: none", 1),
            // Its own record comes in the list once more. The others run: as they do, and as they start next.
            ("their records and descriptions", others * (LISTED + 2 * 2) + LISTED),
            ("what lies on them: list the pools, and each one's volumes", 1 + pools * 3 + pools * 2),
            ("each volume", volumes),
            ("disks that came while the user was asked: the VM again", DOMAIN),
            ("mark: find, active, write", 3),
            ("stop: look; look, force off; look", 2 + 3 + 2),
            // Somebody else may have taken the VM away and made another meanwhile.
            ("look again before each deletion", 4 * 2),
            ("delete four volumes", 4 * (FIND + 1)),
            ("undefine", 2),
        ],
    );
}

#[test]
fn a_list_costs_one_call_for_each_domain() {
    let Some(bed) = Bed::with_tiny("costlist") else { return };
    for (end, octet) in [("a", 84), ("b", 85), ("c", 86)] {
        bed.creates(&bed.manifest(end, octet).without_cloud_init());
    }
    let (ran, domains) = run(&bed, &["list", "--all"], "");
    costs(&ran, &[("connect", 1), ("all at once", DOMAINS), ("records", domains * LISTED)]);
    assert!(domains >= 3);
}

#[test]
fn get_asks_a_running_guest_for_its_addresses() {
    let Some(bed) = Bed::with_tiny("costget") else { return };
    let hash =
        "$6$livetest$4wX0vl4.YxPGo1O1GFMOm1gVzJ8rCmQlVpJDP/uyrUWAtFvJlNpM9fkHd54WmzcRYqsBbNyhJmZvCtCPPPwdB.";
    let manifest = bed.manifest("web", 87).cloud_init(&format!("passwordHash: {hash}"));
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let get = |arguments: &[&str]| run(&bed, &[&["get", vm], arguments].concat(), "").0;
    let running = [
        ("connect", 1),
        ("the VM", DOMAIN),
        ("its snapshots", 2),
        ("lease, agent, ARP", 3 * 2),
        ("both definitions", 2 * 2),
    ];
    costs(&get(&[]), &running);
    let secrets = [running.as_slice(), &[("the seed", LOOK + READ)]].concat();
    costs(&get(&["--with-secrets"]), &secrets);
    bed.virsh().does(&["destroy", vm]);
    costs(&get(&[]), &[&running[..3], &[("is it saved", 1), ("the definition", 2)]].concat());
}

#[test]
fn an_apply_with_nothing_to_do_looks_at_the_vm_alone() {
    let Some(bed) = Bed::with_tiny("costapply") else { return };
    let manifest = bed.manifest("web", 89).disk("vdb", 1);
    bed.creates(&manifest);
    let bill = [("connect", 1), ("the VM", DOMAIN), ("both definitions", 2 * 2), ("two disks", 2 * LOOK)];
    for command in ["apply", "diff"] {
        costs(&run(&bed, &[command, "-"], &manifest.to_string()).0, &bill);
    }
}

#[test]
fn start_and_stop_look_at_the_vm_alone() {
    let Some(bed) = Bed::with_tiny("costpower") else { return };
    let manifest = bed.manifest("web", 90).without_cloud_init();
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let off = [("is it off by now", 2), ("force off: find, active, off", 3)];
    costs(
        &run(&bed, &["stop", vm, "--force"], "").0,
        &[&off[..], &[("connect", 1), ("the VM", DOMAIN)]].concat(),
    );
    // Whether its memory is saved is asked of a VM that is off. Under the lock it may be another one.
    let bill = [("connect", 1), ("the VM, and again under its lock", 2 * (DOMAIN + 1)), ("start", 2)];
    costs(&run(&bed, &["start", vm], "").0, &bill);
}

#[test]
fn a_wide_list_costs_two_definitions_for_each_vm_and_one_call_for_all_snapshots() {
    let Some(bed) = Bed::with_tiny("costwide") else { return };
    for (end, octet) in [("a", 91), ("b", 92)] {
        bed.creates(&bed.manifest(end, octet).without_cloud_init());
    }
    let (ran, domains) = run(&bed, &["list", "--all", "-o", "wide"], "");
    let definitions = ran.count("virDomainGetXMLDesc");
    assert!(definitions >= 2 * 2, "{ran:#?}");
    let bill = [
        ("connect", 1),
        ("all at once", DOMAINS),
        ("records", domains * LISTED),
        ("the domains with snapshots: none", 1),
        ("definitions of those that are foundry's: find, describe", 2 * definitions),
    ];
    costs(&ran, &bill);
}

#[test]
fn a_snapshot_costs_looks_at_one_vm_and_its_pool() {
    let Some(bed) = Bed::with_tiny("costsnapshot") else { return };
    let manifest = bed.manifest("web", 93).disk("vdb", 1).without_cloud_init();
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    // Its definitions, its pool anew, its snapshots.
    let scene = DOMAIN + 2 * 2 + POOL + 2 + 2;
    // Find it, describe it, look at the running one, write, and see whether somebody else wrote meanwhile.
    let write_record = DOMAIN + 2 + 3 + DOMAIN;
    let (ran, _) = run(&bed, &["snapshot", "create", vm, "one", "--no-freeze"], "");
    let bill = [
        ("connect", 1),
        ("the VM", DOMAIN),
        ("under its lock", scene),
        ("chains of two disks: two files and one", 3 * LOOK),
        ("is a block job running", 2 * 2),
        ("room for each overlay", 2 * POOL),
        ("names: the volumes of the pool", 2 + 2),
        ("sizes of two disks", 2 * LOOK),
        ("overlays into the record", write_record),
        ("make", 2),
        ("as it is now, with the snapshot", scene + 1),
        ("chains of two disks: three files and two", 5 * LOOK),
        ("confirm the overlays", write_record),
    ];
    costs(&ran, &bill);
    let (ran, _) = run(&bed, &["snapshot", "delete", vm, "one", "--yes"], "");
    let changes = ["virDomainSnapshotDelete", "virStorageVolDelete", "virDomainSetMetadata"];
    assert_eq!(changes.map(|call| ran.count(call)), [1, 0, 1], "libvirt deletes the overlays: {ran:#?}");
}

/// What they cost beyond a creation is looks at the VM, which a lock or a pause separates.
#[test]
fn clone_and_repave_make_as_few_changes_as_they_must() {
    let Some(bed) = Bed::with_tiny("costclone") else { return };
    let manifest = bed.manifest("web", 94).disk("vdb", 1).without_cloud_init();
    let (vm, copy) = (manifest.name.as_str(), bed.name("copy"));
    bed.creates(&manifest);
    let changes = [
        "virDomainDefineXMLFlags",
        "virStorageVolCreateXML",
        "virStorageVolDelete",
        "virDomainSetMetadata",
        "virDomainDestroy",
        "virDomainCreate",
    ];
    let made = |ran: &Ran| changes.map(|call| ran.count(call));
    let (ran, _) = run(&bed, &["repave", vm, "--force", "--yes"], "");
    // The note, and what came of it. It starts with new EFI variables, which is another call.
    assert_eq!(made(&ran), [1, 1, 0, 2, 1, 0], "{ran:#?}");
    let (ran, _) = run(&bed, &["repave", vm, "--accept", "--yes"], "");
    assert_eq!(made(&ran), [0, 0, 1, 2, 0, 0], "{ran:#?}");
    run(&bed, &["stop", vm, "--force"], "");
    let (ran, others) = run(&bed, &["clone", vm, &copy, "--ip", "10.77.0.95"], "");
    assert_eq!(made(&ran), [1, 2, 0, 1, 0, 1], "{ran:#?}");
    assert!(ran.calls.len() <= 120 + others * 3 * LISTED, "{}: {ran:#?}", ran.calls.len());
}

#[test]
fn what_needs_no_host_does_not_connect() {
    let Some(bed) = Bed::new("costnone") else { return };
    let nowhere = "qemu+unix:///system?socket=/nonexistent/sock";
    let manifest = bed.manifest("web", 88);
    let render = bed.foundry(&["render", "-", "-vv"]).env("FOUNDRY_CONNECT", nowhere).reads(&manifest).run();
    costs(&render.exits(0).tells(""), &[]);
    // Nor does a manifest that is wrong.
    let wrong =
        bed.foundry(&["create", "-", "-vv"]).env("FOUNDRY_CONNECT", nowhere).reads(manifest.disk("vda", 1));
    costs(&wrong.run().exits(2), &[]);
}
