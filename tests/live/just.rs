//! The recipes of examples/justfile, run by just on a real libvirtd.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::live::{Bed, environment};

const JUSTFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/justfile");

/// Runs recipes; `vms` is the directory with the manifests.
fn just(bed: &Bed, just: &str, vms: &Path, recipes: &[&str]) -> Output {
    let mut command = Command::new(just);
    command.arg("--justfile").arg(JUSTFILE).args(recipes);
    in_its_place(bed, vms, command).output_in_time().unwrap()
}

/// The same for somebody at a terminal, who answers.
fn at_a_terminal(bed: &Bed, just: &str, vms: &Path, recipes: &str, answer: &str) -> String {
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{just} --justfile {JUSTFILE} {recipes}"), "/dev/null"]);
    let mut child =
        in_its_place(bed, vms, command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    String::from_utf8_lossy(&child.wait_with_output_in_time().unwrap().stdout).into_owned()
}

fn in_its_place(bed: &Bed, vms: &Path, mut command: Command) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_foundry")).parent().unwrap();
    command.current_dir(bed.home()).env_clear();
    for (name, value) in bed.variables() {
        let value = if name == "PATH" { format!("{}:{value}", program.display()) } else { value };
        command.env(name, value);
    }
    command.env("FOUNDRY_VMS", vms);
    command
}

#[track_caller]
fn stdout(done: &Output) -> String {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout.clone()).unwrap()
}

#[test]
fn the_recipes_do_what_they_say() {
    let Some(program) = environment("FOUNDRY_TEST_JUST") else { return };
    let Some(bed) = Bed::with_tiny("just") else { return };
    let vms = bed.home().join("my vms");
    std::fs::create_dir(&vms).unwrap();
    let manifests = [bed.manifest("one", 96), bed.manifest("two", 97)];
    for manifest in &manifests {
        std::fs::write(vms.join(format!("{}.yaml", manifest.name)), manifest.to_string()).unwrap();
    }
    let [one, two] = [manifests[0].name.as_str(), manifests[1].name.as_str()];
    let run = |recipes: &[&str]| stdout(&just(&bed, &program, &vms, recipes));
    let names = || bed.virsh().names("list", &bed.name(""));
    let uuid = |vm: &str| bed.virsh().does(&["domuuid", vm]);

    assert!(run(&["check", one]).contains("nothing was changed"));
    run(&["up"]);
    assert_eq!(names(), [one, two]);
    let before = [uuid(one), uuid(two)];
    run(&["up"]);
    assert_eq!([uuid(one), uuid(two)], before, "what exists is left alone");
    assert!(run(&["list"]).contains(one));
    run(&["recreate", one]);
    assert_ne!(uuid(one), before[0]);

    // A manifest with a slip of the pen costs no VM.
    let file = vms.join(format!("{two}.yaml"));
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("vcpus", "vcpu")).unwrap();
    let refused = just(&bed, &program, &vms, &["recreate", two]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("vcpu"));
    assert_eq!(uuid(two), before[1]);

    // Whoever sits there is asked, before anything goes.
    std::fs::write(&file, good).unwrap();
    for recipe in [format!("destroy {two}"), format!("recreate {two}")] {
        let said = at_a_terminal(&bed, &program, &vms, &recipe, "n\n");
        assert!(said.contains("Continue?") && said.contains("nothing was destroyed"), "{recipe}: {said}");
    }
    let said = at_a_terminal(&bed, &program, &vms, "down", "n\n");
    assert!(said.contains("Destroy every VM of the directory"), "{said}");
    assert_eq!((names().len(), uuid(two)), (2, before[1].clone()));

    run(&["destroy", two, "--force"]);
    assert_eq!(names(), [one]);
    run(&["--yes", "down"]);
    assert!(names().is_empty(), "{:?}", names());
}
