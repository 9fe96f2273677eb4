//! `foundry destroy` on a real libvirtd: whatever state a VM is in, all of it goes and nothing else does.

use crate::support::live;
use crate::support::live::{Bed, Manifest, Ran, Trace};

/// Destroys it, which must leave nothing of it.
#[track_caller]
fn destroys(bed: &Bed, vm: &str) -> Ran {
    let ran = bed.foundry(&["destroy", vm]).run().exits(0);
    let ran = ran.prints(&format!("Successfully destroyed VM '{vm}'\n"));
    assert_eq!(bed.traces(), [], "left behind by {ran:#?}");
    ran
}

fn steps(vm: &str) -> String {
    format!("Destroying VM '{vm}'...\n✓ VM stopped\n✓ Storage removed\n✓ Domain undefined\n")
}

/// How often the guest was asked to shut down, and how often it was forced off.
fn ways_to_stop(ran: &Ran) -> (usize, usize) {
    (ran.count("virDomainShutdownFlags"), ran.count("virDomainDestroy"))
}

/// Not on a terminal, so nobody is asked. A guest that hears the power button shuts down by itself.
#[test]
fn a_running_guest_shuts_down_and_is_gone() {
    let Some(bed) = Bed::with_tiny("running") else { return };
    let manifest = bed.manifest("web", 40).disk("vdb", 1);
    bed.boots(&manifest);
    let vm = &manifest.name;
    assert!(bed.traces().contains(&Trace::EfiVariables(format!("{vm}_VARS.fd"))), "{:?}", bed.traces());
    assert!(bed.traces().contains(&Trace::ConsoleLog(format!("{vm}-console.log"))), "{:?}", bed.traces());
    assert!(bed.traces().contains(&Trace::Tap(manifest.tap())), "{:?}", bed.traces());
    let ran = bed.foundry(&["destroy", vm, "-vv"]).run().exits(0).mentions(&steps(vm));
    assert_eq!(bed.traces(), [], "left behind by {ran:#?}");
    assert_eq!(ways_to_stop(&ran), (1, 0), "asked and waited for: {ran:#?}");
    // Its event wakes the wait: the guest is not asked for over and over.
    assert!(ran.count("virDomainGetState") <= 12, "{ran:#?}");
    // Where the host has a VM that is called nearly so, the hint names it.
    let again = bed.foundry(&["destroy", vm]).run().exits(4).has_code("FND-4002").prints("");
    assert!(again.stderr.starts_with(&format!("error: there is no VM '{vm}'\n  hint: ")), "{again:#?}");
}

/// The first foundry stopped a VM only in the state "running": of the others it deleted the disks while
/// they lived on.
#[test]
fn a_vm_in_any_state_is_stopped_before_its_disks_go() {
    let Some(bed) = Bed::with_tiny("states") else { return };
    let manifest = bed.manifest("web", 41);
    let vm = &manifest.name;
    let virsh = bed.virsh();

    bed.creates(&manifest);
    virsh.does(&["suspend", vm]);
    assert_eq!(virsh.state(vm), "paused");
    destroys(&bed, vm).tells(&steps(vm));

    bed.creates(&manifest);
    virsh.does(&["destroy", vm]);
    destroys(&bed, vm).tells(&steps(vm));

    bed.creates(&manifest);
    virsh.does(&["managedsave", vm]);
    destroys(&bed, vm).tells(&steps(vm));
    let saved = std::path::Path::new("/var/lib/libvirt/qemu/save").join(format!("{vm}.save"));
    assert!(!saved.exists());

    // A guest that hears nothing, as its firmware runs, is forced off when the time is up.
    bed.creates(&manifest);
    let ran = bed.foundry(&["destroy", vm, "--timeout", "1s"]).run().exits(0);
    ran.tells(&steps(vm).replacen(
        '✓',
        &format!("warning: VM '{vm}' did not shut down in 1 s and is forced off\n✓"),
        1,
    ));
    assert_eq!(bed.traces(), []);

    bed.creates(&manifest);
    let ran = bed.foundry(&["destroy", vm, "--force", "-vv"]).run().exits(0).mentions(&steps(vm));
    assert_eq!(ways_to_stop(&ran), (0, 1), "--force does not wait for the guest: {ran:#?}");
    assert_eq!(bed.traces(), []);
}

/// A guest that crashed and is kept for its owner to look at.
#[test]
fn a_crashed_vm_is_destroyed() {
    let Some(bed) = Bed::with_tiny("crashed") else { return };
    let manifest = bed.manifest("web", 42);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    let xml =
        bed.virsh().definition(vm).replace("<on_crash>destroy</on_crash>", "<on_crash>preserve</on_crash>");
    assert!(xml.contains("preserve"), "{xml}");
    let xml = xml.replace("</devices>", "<panic model='pvpanic'/></devices>");
    bed.virsh().defines("define", &xml);
    bed.virsh().does(&["start", vm]);
    let guest = bed.guest(manifest.address());
    guest.answers_within(std::time::Duration::from_secs(60));
    // QEMU's pvpanic device (docs/specs/pvpanic): bit 0 written to its register says that the guest panicked.
    // In the background, as nobody answers after that.
    guest.tries(
        "(sleep 1; cd /sys/bus/pci/devices; for d in *; do [ $(cat $d/device) = 0x0011 ] && echo 1 >$d/enable && \
         devmem $(head -n1 $d/resource | cut -d' ' -f1) 8 1; done) >/dev/null 2>&1 &",
    );
    bed.virsh().waits_for(vm, "crashed");
    assert_eq!(bed.get(vm)["status"]["phase"], "Failed");
    destroys(&bed, vm).tells(&steps(vm));
}

/// A guest that sleeps is not off: its disks are in use.
#[test]
fn a_suspended_guest_is_destroyed() {
    let Some(bed) = Bed::with_tiny("asleep") else { return };
    let manifest = bed.manifest("web", 56);
    let vm = &manifest.name;
    let guest = bed.boots(&manifest);
    guest.tries("(sleep 1; echo mem >/sys/power/state) >/dev/null 2>&1 &");
    bed.virsh().waits_for(vm, "pmsuspended");
    assert_eq!(bed.get(vm)["status"]["state"], "pmsuspended");
    destroys(&bed, vm).tells(&steps(vm));
}

#[test]
fn snapshots_go_with_the_vm() {
    let Some(bed) = Bed::with_tiny("snaps") else { return };
    // Internal snapshots want EFI variables in qcow2; one with BIOS and off is a snapshot all the same.
    let manifest = bed.manifest("web", 43).spec("firmware: {type: bios}").disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    // The seed is raw, and raw has no snapshots.
    bed.virsh().does(&["detach-disk", vm, "sda", "--config"]);
    bed.virsh().does(&["snapshot-create-as", vm, "first"]);
    assert_eq!(bed.virsh().does(&["snapshot-list", vm, "--name"]).trim(), "first");
    destroys(&bed, vm).tells(&steps(vm));
}

/// The overlays of external snapshots are in no record, and are this VM's all the same.
#[test]
fn overlays_of_external_snapshots_go_with_the_vm() {
    let Some(bed) = Bed::with_tiny("overlay") else { return };
    let manifest = bed.manifest("web", 44).disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    for snapshot in ["one", "two"] {
        bed.virsh().does(&["snapshot-create-as", vm, snapshot, "--disk-only", "--no-metadata"]);
    }
    let overlays = [format!("{vm}_boot.one"), format!("{vm}_boot.two"), format!("{vm}_data-vdb.two")];
    assert!(overlays.iter().all(|o| bed.disk(o).exists()), "{:?}", bed.traces());
    // A file beside them that is named as an overlay is and that nobody uses stays.
    std::fs::write(bed.disk(&format!("{vm}_boot.three")), "somebody's").unwrap();

    let (code, shown) = answers(&bed, &["destroy", vm], "n");
    assert_eq!(code, 4, "{shown}");
    for overlay in &overlays {
        let line = format!("    {}/{overlay}  1 GiB, made by a snapshot\n", bed.vm_pool());
        assert!(shown.contains(&line), "no {line} in {shown}");
    }
    let ran = bed.foundry(&["destroy", vm, "--force"]).run().exits(0).tells(&steps(vm));
    assert_eq!(bed.traces(), [Trace::Disk(format!("{vm}_boot.three"))], "{ran:#?}");
    assert!(bed.image("tiny.qcow2").exists());
}

/// Runs foundry on a terminal and types an answer; the exit code and what the terminal showed.
fn answers(bed: &Bed, arguments: &[&str], answer: &str) -> (i32, String) {
    let quoted = |word: &&str| format!("'{word}'");
    let line =
        [env!("CARGO_BIN_EXE_foundry")].iter().chain(arguments).map(quoted).collect::<Vec<_>>().join(" ");
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(bed.home()).env_clear();
    command.envs(bed.variables()).env("NO_COLOR", "1").env("TERM", "dumb").env("SHELL", "/bin/sh");
    let ran = live::Foundry::of(command).reads(format!("{answer}\n")).run();
    (ran.code, ran.stdout.replace("\r\n", "\n"))
}

#[test]
fn on_a_terminal_it_asks_and_takes_no_for_an_answer() {
    let Some(bed) = Bed::with_tiny("asks") else { return };
    let manifest = bed.manifest("web", 45).disk("vdb", 2);
    let vm = &manifest.name;
    bed.creates(&manifest);
    let before = bed.traces();
    let pool = bed.vm_pool();
    let volume = |end: &str, size: &str| format!("    {pool}/{vm}_{end}  {size}\n");
    for answer in ["n", "", "yess", "nyes"] {
        let (code, shown) = answers(&bed, &["destroy", vm], answer);
        assert_eq!(code, 4, "{answer:?}: {shown}");
        let question = format!("Destroy VM '{vm}' (running)\n  and delete these disks:\n");
        assert!(shown.contains(&question), "{shown}");
        assert!(
            shown.contains(&volume("boot", "1 GiB")) && shown.contains(&volume("data-vdb", "2 GiB")),
            "{shown}"
        );
        // Whoever said no is told so, and not that something failed.
        assert!(shown.contains("Continue? [y/N] nothing was destroyed\n"), "{shown}");
        assert!(!shown.contains("error"), "{shown}");
    }
    assert_eq!(bed.traces(), before);
    let (code, shown) = answers(&bed, &["destroy", vm, "--force"], "y");
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains(&format!("Successfully destroyed VM '{vm}'\n")), "{shown}");
    assert_eq!(bed.traces(), []);
}

#[test]
fn yes_on_a_terminal_asks_nothing() {
    let Some(bed) = Bed::with_tiny("yes") else { return };
    let manifest = bed.manifest("web", 46);
    bed.creates(&manifest);
    let (code, shown) = answers(&bed, &["destroy", &manifest.name, "--yes", "--force"], "n");
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("Continue"), "{shown}");
    assert_eq!(bed.traces(), []);
}

/// Creates it and turns it off.
#[track_caller]
fn made_and_off(bed: &Bed, manifest: &Manifest) {
    bed.creates(manifest);
    bed.virsh().does(&["destroy", &manifest.name]);
}

#[test]
fn kept_disks_are_named_and_can_be_used_by_nobody_by_mistake() {
    let Some(bed) = Bed::with_tiny("keep") else { return };
    let manifest = bed.manifest("web", 47).disk("vdb", 1);
    let vm = &manifest.name;
    made_and_off(&bed, &manifest);
    let ran = bed.foundry(&["destroy", vm, "--keep-disks"]).run().exits(0);
    let pool = bed.vm_pool();
    // The only thing that went of its storage.
    assert!(ran.stderr.contains("Seed removed") && !ran.stderr.contains("Storage removed"), "{}", ran.stderr);
    ran.prints(&format!("{pool}/{vm}_boot\n{pool}/{vm}_data-vdb\nSuccessfully destroyed VM '{vm}'\n"));
    let kept = [format!("{vm}_boot"), format!("{vm}_data-vdb")];
    assert_eq!(bed.traces(), kept.clone().map(Trace::Disk));
    bed.foundry(&["destroy", vm]).run().exits(4).mentions("there is no VM");
    // A new VM of that name would need them: it is told, and they stay.
    bed.foundry(&["create", "-"]).reads(&manifest).run().exits(5).mentions(&kept[0]).mentions(&kept[1]);
    assert_eq!(bed.traces(), kept.map(Trace::Disk));
}
