//! foundry killed or interrupted in the middle of its work on a real libvirtd. No guest boots here.
//!
//! What a kill hits depends on the machine's load; what must be true afterwards does not. The calls after
//! which to kill are taken from an undisturbed run, the ones that change something and the ones before.

use crate::support::live::{Bed, Manifest, Ran, Trace, program};

/// libvirt's functions that change what is on the host.
const CHANGING: [&str; 9] = [
    "virDomainDefineXMLFlags",
    "virStorageVolCreateXML",
    "virStorageVolUpload",
    "virStreamFinish",
    "virDomainSetMetadata",
    "virDomainCreate",
    "virDomainDestroy",
    "virStorageVolDelete",
    "virDomainUndefineFlags",
];

/// The numbers, from 1, of the calls to kill after: during a change, and between it and the next.
fn points(undisturbed: &Ran) -> Vec<usize> {
    let changes = undisturbed.calls.iter().enumerate().filter(|(_, call)| CHANGING.contains(&call.as_str()));
    let mut points: Vec<usize> = changes.flat_map(|(index, _)| [index, index + 1]).collect();
    points.dedup();
    assert!(points.len() >= 6, "{undisturbed:#?}");
    points
}

/// A bed with a VM's manifest, the pools made, and a bystander whose name begins as the VM's does.
fn bed(id: &str, octet: u8) -> Option<(Bed, Manifest, Trace)> {
    let bed = Bed::with_tiny(id)?;
    let manifest = bed.manifest("web", octet).disk("vdb", 1);
    bed.creates(&manifest);
    bed.foundry(&["destroy", &manifest.name, "--force"]).run().exits(0);
    let bystander = format!("{}_data-vdc", manifest.name);
    std::fs::write(bed.disk(&bystander), "somebody's").unwrap();
    assert_eq!(bed.traces(), [Trace::Disk(bystander.clone())]);
    Some((bed, manifest, Trace::Disk(bystander)))
}

/// Starts a command and sends it a signal after the `n`-th call.
fn disturbed(bed: &Bed, arguments: &[&str], manifest: &Manifest, n: usize, signal: &str) -> Ran {
    let mut started = bed.foundry(&[arguments, &["-vv"]].concat()).reads(manifest).start();
    started.until_call(n);
    started.signal(signal);
    started.end()
}

/// What the list says of the VM's state; `None` where it is not there.
fn listed(bed: &Bed, vm: &str) -> Option<String> {
    let list = bed.foundry(&["list", "--all", "-o", "json"]).run().exits(0);
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    let found = list.as_array().unwrap().iter().find(|one| one["metadata"]["name"] == vm)?;
    Some(found["status"]["phase"].as_str().unwrap().to_owned())
}

/// Destroys what a killed command left, if anything. libvirtd goes on with the call that it has received: what was not
/// listed a moment ago may be defined by now, and what was listed may be gone.
#[track_caller]
fn destroy_rest(bed: &Bed, vm: &str) {
    let ran = bed.foundry(&["destroy", vm, "--force"]).run();
    assert!(ran.code == 0 || ran.code == 4 && ran.stderr.contains("there is no VM"), "{ran:#?}");
}

#[test]
fn a_creation_killed_anywhere_is_destroyed_without_a_trace() {
    let Some((bed, manifest, bystander)) = bed("killed", 60) else { return };
    let vm = &manifest.name;
    let undisturbed = bed.foundry(&["create", "-", "-vv"]).reads(&manifest).run().exits(0);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let mut seen = Vec::new();
    for n in points(&undisturbed) {
        let killed = disturbed(&bed, &["create", "-"], &manifest, n, "KILL");
        let phase = listed(&bed, vm);
        seen.push(phase.clone());
        match phase.as_deref() {
            None => destroy_rest(&bed, vm),
            Some("Pending" | "Running" | "Stopped") => {
                let ran = bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
                // Killed early, it has no volumes. The bystander has a name as the VM gives them, and is told of.
                let steps = ran.stderr.replace("✓ Storage removed\n", "");
                let told = |line: &&str| !line.starts_with("warning: left: volume ");
                let steps: String = steps.split_inclusive('\n').filter(told).collect();
                assert_eq!(steps, format!("Destroying VM '{vm}'...\n✓ VM stopped\n✓ Domain undefined\n"));
            }
            Some(other) => panic!("after {killed:#?} it is {other}"),
        }
        assert_eq!(bed.traces(), std::slice::from_ref(&bystander), "after {killed:#?}");
    }
    // Otherwise all kills came too late or too early, and nothing was tested.
    assert!(seen.contains(&Some("Pending".into())), "{seen:?}");
}

#[test]
fn a_creation_killed_anywhere_is_replaced_by_the_next() {
    let Some((bed, manifest, bystander)) = bed("again", 61) else { return };
    let vm = &manifest.name;
    let undisturbed = bed.foundry(&["create", "-", "-vv"]).reads(&manifest).run().exits(0);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let mut replaced = 0;
    // After each change; between them is what the test above does.
    for n in points(&undisturbed).into_iter().step_by(2) {
        let killed = disturbed(&bed, &["create", "-"], &manifest, n, "KILL");
        let phase = listed(&bed, vm);
        let again = bed.foundry(&["create", "-"]).reads(&manifest).run();
        match phase.as_deref() {
            Some("Running" | "Stopped") => {
                let again = again.exits(4).prints("");
                again.mentions(&format!("VM '{vm}' exists"));
            }
            Some("Pending") => {
                again.exits(0).mentions("✓ Remains of an interrupted creation removed\n");
                replaced += 1;
            }
            None => {
                again.exits(0);
            }
            Some(other) => panic!("after {killed:#?} it is {other}"),
        }
        bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
        assert_eq!(bed.traces(), std::slice::from_ref(&bystander), "after {killed:#?}");
    }
    assert!(replaced > 0, "no kill left an interrupted creation");
}

#[test]
fn a_destruction_killed_anywhere_is_finished_by_the_next() {
    let Some((bed, manifest, bystander)) = bed("half", 62) else { return };
    let vm = &manifest.name;
    let destroy = ["destroy", vm, "--force"];
    bed.creates(&manifest);
    let undisturbed = bed.foundry(&[destroy.as_slice(), &["-vv"]].concat()).run().exits(0);
    let mut half = 0;
    for n in points(&undisturbed) {
        bed.creates(&manifest);
        let killed = disturbed(&bed, &destroy, &manifest, n, "KILL");
        match listed(&bed, vm).as_deref() {
            None => {}
            Some(phase) => {
                half += usize::from(phase == "Destroying");
                let create = bed.foundry(&["create", "-", "--dry-run"]).reads(&manifest).run();
                if phase == "Destroying" && listed(&bed, vm).is_some() {
                    create.exits(4).mentions(&format!(
                        "VM '{vm}' is half destroyed\n    foundry destroy {vm} finishes it\n"
                    ));
                }
                destroy_rest(&bed, vm);
            }
        }
        assert_eq!(bed.traces(), std::slice::from_ref(&bystander), "after {killed:#?}");
    }
    assert!(half > 0, "no kill came between the mark and the end");
}

/// Ctrl-C: what was made goes again, and the exit code says by which signal.
#[test]
fn an_interrupted_creation_undoes_itself() {
    let Some((bed, manifest, bystander)) = bed("ctrlc", 63) else { return };
    let vm = &manifest.name;
    let undisturbed = bed.foundry(&["create", "-", "-vv"]).reads(&manifest).run().exits(0);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let start = undisturbed.calls.iter().position(|c| c == "virDomainCreate").unwrap();
    let mut undone = 0;
    for n in [vec![2], points(&undisturbed)].concat().into_iter().filter(|n| *n < start) {
        let (signal, code) = if n % 2 == 0 { ("INT", 130) } else { ("TERM", 143) };
        let ran = disturbed(&bed, &["create", "-"], &manifest, n, signal);
        if ran.code == 0 {
            // The signal came when nothing could be stopped any more.
            assert_eq!(ran.stdout, format!("Successfully created VM '{vm}'\n"));
            bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
        } else {
            let ran = ran.exits(code).prints("");
            let made = ran.calls.iter().any(|c| c == "virDomainDefineXMLFlags");
            let outcome =
                if made { "everything that was made is removed again" } else { "nothing was changed" };
            undone += usize::from(made);
            assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran:#?}");
            ran.mentions(&format!("\n  {outcome}\n"));
        }
        assert_eq!(bed.traces(), std::slice::from_ref(&bystander));
    }
    assert!(undone > 0, "no signal came between the definition and the start");
}

/// Undoing ends with the start: a wait that is interrupted, or whose time is up, leaves the VM.
#[test]
fn an_interrupted_wait_leaves_the_vm() {
    let Some((bed, manifest, _)) = bed("waits", 64) else { return };
    let vm = &manifest.name;
    let mut started = bed.foundry(&["create", "-", "--wait=agent"]).reads(&manifest).start();
    assert!(started.until(|line| line == "✓ VM started\n"));
    started.signal("INT");
    let ran = started.end().exits(130).prints(&format!("Successfully created VM '{vm}'\n"));
    let stays = format!("\n  VM '{vm}' is kept as it is; foundry destroy {vm} removes it\n");
    assert!(ran.stderr.ends_with(&stays), "{ran:#?}");
    ran.mentions(&format!("error: VM '{vm}': interrupted while waiting for the guest agent: "));
    assert_eq!(bed.get(vm)["status"]["phase"], "Running");
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);

    let timed = bed.foundry(&["create", "-", "--wait=agent", "--timeout=1s"]).reads(&manifest).run().exits(6);
    let timed = timed.prints(&format!("Successfully created VM '{vm}'\n"));
    assert!(timed.stderr.ends_with(&stays), "{timed:#?}");
    timed.mentions(&format!("error: VM '{vm}': waited 1 s for the guest agent: "));
    assert_eq!(bed.get(vm)["status"]["phase"], "Running");
}

/// A guest that stops will not come up, however long one waits; why it did, libvirt knows.
#[test]
fn a_wait_ends_when_the_guest_stops() {
    let Some((bed, manifest, _)) = bed("stops", 67) else { return };
    let vm = &manifest.name;
    let kill_qemu = || {
        let pid = std::fs::read_to_string(format!("/run/libvirt/qemu/{vm}.pid")).unwrap();
        program("kill", &["-KILL", pid.trim()]).exits(0);
    };
    let pull_plug = || drop(bed.virsh().does(&["destroy", vm]));
    let ways: [(&dyn Fn(), &str, &str); 2] = [
        (&pull_plug, "its plug was pulled", "Stopped"),
        (&kill_qemu, "its QEMU ended by itself, or was killed", "Failed"),
    ];
    for (stop, why, phase) in ways {
        let mut started = bed.foundry(&["create", "-", "--wait", "--timeout=2m"]).reads(&manifest).start();
        assert!(started.until(|line| line == "✓ VM started\n"));
        stop();
        let ran = started.end().exits(4).prints(&format!("Successfully created VM '{vm}'\n"));
        let ran = ran.mentions(&format!("error: VM '{vm}' stopped before it was ready: {why}\n"));
        ran.mentions(&format!("\n  VM '{vm}' is kept as it is; foundry destroy {vm} removes it\n"));
        assert_eq!(bed.get(vm)["status"]["phase"], phase);
        bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    }
}

/// Ctrl-C while the guest is asked to shut down: nothing has gone, and the VM is as whole as it was.
#[test]
fn an_interrupted_destruction_leaves_the_vm() {
    let Some((bed, manifest, bystander)) = bed("asked", 68) else { return };
    let vm = &manifest.name;
    bed.creates(&manifest);
    // Its firmware hears no power button.
    let mut started = bed.foundry(&["destroy", vm, "--timeout=60s", "-vv"]).start();
    assert!(started.until(|line| line.contains("virDomainShutdown")));
    started.signal("INT");
    let ran = started.end().exits(130).prints("");
    assert!(ran.stderr.starts_with(&format!("Deleting with VM '{vm}': ")), "{}", ran.stderr);
    ran.mentions(&format!(
        "Destroying VM '{vm}'...\nerror: interrupted\n  nothing was removed; VM '{vm}' still runs\n"
    ));
    let got = bed.get(vm);
    assert_eq!((&got["status"]["phase"], &got["status"]["state"]), (&"Running".into(), &"running".into()));
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), std::slice::from_ref(&bystander));
}

/// The rest of a file is not made, and that must not look like success.
#[test]
fn an_interruption_between_two_vms_is_no_success() {
    let Some((bed, one, _)) = bed("between", 65) else { return };
    let two = bed.manifest("db", 66);
    let vm = &one.name;
    let mut started = bed.foundry(&["create", "-", "-vv"]).reads(format!("{one}---\n{two}")).start();
    // The last call before the first one's start, which takes a third of a second and is not undone.
    assert!(started.until(|line| line.contains("virDomainSetMetadata")) && started.until_call(1));
    started.signal("INT");
    let ran = started.end().exits(130);
    // After its start it is only looked whether its image is still there.
    let makes =
        ["virDomainDefineXMLFlags", "virStorageVolCreateXML", "virDomainCreate", "virStorageVolDelete"];
    assert_eq!(makes.map(|call| ran.count(call)), [1, 3, 1, 0], "{ran:#?}");
    let ran = ran.prints(&format!("Successfully created VM '{vm}'\n"));
    ran.mentions(&format!("✓ VM started\nerror: interrupted\n  not begun: {}\n", two.name));
    assert_eq!((listed(&bed, vm).as_deref(), listed(&bed, &two.name)), (Some("Running"), None));
}
