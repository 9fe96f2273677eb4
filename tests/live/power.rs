//! Starting, stopping, restarting, pausing and resuming real guests, one and many.

use crate::support::live::Bed;

/// A guest that hears the power button, its restart with a changed definition, and what a reboot keeps.
#[test]
fn a_guest_is_stopped_restarted_and_paused() {
    let Some(bed) = Bed::with_tiny("power") else { return };
    let manifest = bed.manifest("web", 61);
    let vm = &manifest.name;
    let (virsh, said) = (bed.virsh(), |what: &str| format!("virtualmachine/{vm} {what}\n"));
    let guest = bed.boots(&manifest);
    let does = |line: &[&str]| bed.foundry(line).run();

    does(&["pause", vm]).exits(0).prints(&said("paused"));
    assert_eq!(virsh.state(vm), "paused");
    does(&["stop", vm])
        .exits(4)
        .has_code("FND-4305")
        .mentions(&format!("foundry resume {vm} lets it continue"));
    does(&["resume", vm]).exits(0).prints(&said("resumed"));

    // A reboot keeps QEMU and so the definition; off and on takes the new one.
    virsh.does(&["setmaxmem", vm, "327680", "--config"]);
    let id = virsh.does(&["domid", vm]);
    does(&["restart", vm, "--reboot"]).exits(0).prints(&said("reboot requested"));
    assert_eq!(virsh.does(&["domid", vm]), id);
    let ready = format!("answers by SSH: {}", manifest.address());
    does(&["wait", vm, "--for=ssh"]).exits(0).prints(&said(&ready));
    let ran = bed.foundry(&["restart", vm, "-vv"]).run().exits(0).prints(&said("restarted"));
    assert_eq!(ran.count("virDomainDestroy"), 0, "the guest was asked: {ran:#?}");
    assert_ne!(virsh.does(&["domid", vm]), id);
    assert!(
        virsh.does(&["dominfo", vm]).contains("Max memory:     327680 KiB"),
        "{}",
        virsh.does(&["dominfo", vm])
    );

    guest.answers_within(std::time::Duration::from_secs(120));
    let ran = bed.foundry(&["stop", vm, "-vv"]).run().exits(0).prints(&said("stopped"));
    assert_eq!((ran.count("virDomainDestroy"), virsh.state(vm).as_str()), (0, "shut off"), "{ran:#?}");
    does(&["stop", vm]).exits(0).prints(&said("already off"));

    // Saved memory is continued, or discarded on request.
    does(&["start", vm]).exits(0).prints(&said("started"));
    does(&["start", vm]).exits(0).prints(&said("already running"));
    virsh.does(&["managedsave", vm]);
    does(&["start", vm]).exits(0).prints(&said("started from its saved memory"));
    virsh.does(&["managedsave", vm]);
    does(&["start", vm, "--force"]).exits(0).prints(&said("started"));
    does(&["destroy", vm, "--force"]).exits(0);
    assert_eq!(bed.traces(), []);
}

/// A guest in its firmware hears nothing; it is never forced off without being asked to.
#[test]
fn a_guest_that_hears_nothing_goes_on() {
    let Some(bed) = Bed::new("powerdeaf") else { return };
    let manifest = bed.manifest("web", 62).boot_disk("{sizeGB: 1, empty: true}").without_cloud_init();
    let vm = &manifest.name;
    bed.creates(&manifest);
    let ran = bed.foundry(&["stop", vm, "--timeout", "1s"]).run().exits(6).has_code("FND-6003");
    ran.mentions(&format!("foundry stop {vm} --force forces it off, as a power failure would"))
        .mentions("may still do so");
    assert_eq!(bed.virsh().state(vm), "running");
    bed.foundry(&["stop", vm, "--force"]).run().exits(0).prints(&format!("virtualmachine/{vm} forced off\n"));
}

/// Several at once: by pattern, by label, all; one that fails does not keep the others.
#[test]
fn many_are_changed_by_one_command() {
    let Some(bed) = Bed::new("powermany") else { return };
    let names: Vec<String> = (0..6_u8)
        .map(|n| {
            let manifest = bed.manifest(&format!("m{n:02}"), 100 + n);
            let label = if n % 2 == 0 { "labels: {side: even}" } else { "labels: {side: odd}" };
            let manifest = manifest
                .boot_disk("{sizeGB: 1, empty: true}")
                .without_cloud_init()
                .metadata(label)
                .memory("0.0625");
            bed.creates(&manifest);
            // A guest without a system keeps its processor busy in the firmware.
            bed.virsh().does(&["destroy", &manifest.name]);
            manifest.name
        })
        .collect();
    let pattern = bed.name("m*");
    let lines = |line: &[&str], code: i32| {
        let ran = bed.foundry(line).run().exits(code);
        let mut lines: Vec<String> = ran.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        (lines, ran)
    };
    let of = |names: &[&String], what: &str| -> Vec<String> {
        names.iter().map(|name| format!("virtualmachine/{name} {what}")).collect()
    };
    let all: Vec<&String> = names.iter().collect();
    let even: Vec<&String> = names.iter().step_by(2).collect();
    let (stopped, _) = lines(&["stop", &pattern, "--force", "--parallel", "12"], 0);
    assert_eq!(stopped, of(&all, "already off"));
    let (started, _) = lines(&["start", "-l", "side=even"], 0);
    assert_eq!(started, of(&even, "started"));
    // A foreign name among them, and each of the others has its line.
    let nobody = bed.name("nobody");
    let (paused, ran) = lines(&["pause", &nobody, &names[0], &names[1], &names[2]], 4);
    assert_eq!(paused, of(&[&names[0], &names[2]], "paused"));
    ran.mentions(&format!("there is no VM '{nobody}'")).mentions(&format!("VM '{}' is off", names[1]));
    let (resumed, _) = lines(&["resume", &format!("vm/{}", names[0]), &names[2]], 0);
    assert_eq!(resumed, of(&[&names[0], &names[2]], "resumed"));
    bed.foundry(&["stop", &bed.name("zz*")]).run().exits(4).mentions("no VM of foundry matches");

    // By label, then by pattern; each VM's own disks go, and nothing else.
    let destroyed = |names: &[&String]| -> Vec<String> {
        names.iter().map(|name| format!("Successfully destroyed VM '{name}'")).collect()
    };
    let (waited, _) = lines(&["wait", &names[0], &names[2], "--for=running"], 0);
    assert_eq!(waited, of(&[&names[0], &names[2]], "running"));
    let odd: Vec<&String> = names.iter().skip(1).step_by(2).collect();
    let (gone, _) = lines(&["destroy", "-l", "side=odd", "--yes"], 0);
    assert_eq!(gone, destroyed(&odd));
    let (gone, _) = lines(&["destroy", &pattern, "--force", "--yes", "--parallel", "8"], 0);
    assert_eq!(gone, destroyed(&even));
    let (gone, _) = lines(&["wait", &names[0], "--for=deleted"], 0);
    assert_eq!(gone, of(&[&names[0]], "deleted"));
    assert_eq!(bed.traces(), []);
}
