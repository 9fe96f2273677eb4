//! What the verbs of a VM's later life cost beside virsh doing the same, and 50 creations side by side and one after
//! another.
//!
//! Each comparison has two VMs of the same definition: one that foundry made, and one that virsh changes. Each program
//! is timed from before its process is started until it has ended. What a turn changed is put back after it, which is
//! not timed. A script is as people write it, one virsh for each step; it checks nothing and undoes nothing. The
//! ratios are of one run; the columns after them come from a turn of its own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use support::{FOUNDRY, IMAGE_POOL, PREFIX, Program, STORAGE, VM_POOL, measure, run, table};

/// As many VMs are created at once.
const FLEET: usize = 50;
/// The VM of foundry's, and the one that virsh changes.
const OURS: &str = "foundry-test-bench-ours";
const THEIRS: &str = "foundry-test-bench-theirs";
const COPY: &str = "foundry-test-bench-copy";

fn main() -> ExitCode {
    support::main(bench)
}

fn bench() -> Result<()> {
    virt::error::clear_error_callback();
    let work = support::work_directory()?;
    prepare(&work)?;
    let rounds = support::rounds(15)?;
    let compare = |title: &str, programs: &[Program], tidy: &str| -> Result<()> {
        let measured = measure(programs, rounds, || shell(tidy))?;
        println!("{}", table(title, &measured)?);
        Ok(())
    };
    let manifest = work.join("ours.yaml").display().to_string();
    let off = format!("for vm in {OURS} {THEIRS}; do virsh -q destroy $vm || true; done");
    let on = format!("for vm in {OURS} {THEIRS}; do virsh -q start $vm || true; done");
    compare("apply, nothing to do", &[virsh("dumpxml", THEIRS), ours("apply", &[&manifest])], "true")?;
    compare("stop --force", &[virsh("destroy", THEIRS), ours("stop", &[OURS, "--force"])], &on)?;
    shell(&off)?;
    compare("start", &[virsh("start", THEIRS), ours("start", &[OURS])], &off)?;
    let copying = [script("virsh", &copy_script()), ours("clone", &[OURS, COPY, "--ip", "10.77.0.151"])];
    compare("clone, and start", &copying, &remove_vms(COPY))?;
    shell(&on)?;
    compare(
        "repave --force",
        &[script("virsh", &repave_script()), ours("repave", &[OURS, "--force", "--yes"])],
        &repave_tidy(),
    )?;
    let made = format!("virsh -q snapshot-create-as {THEIRS} one --disk-only --atomic");
    let delete = format!(
        "{FOUNDRY} snapshot delete {OURS} one --yes || true; virsh -q snapshot-delete {THEIRS} one || true"
    );
    let snapshots = [script("virsh", &made), ours("snapshot", &["create", OURS, "one", "--no-freeze"])];
    compare("snapshot create", &snapshots, &delete)?;
    let again = format!("{FOUNDRY} snapshot create {OURS} one --no-freeze || true; {made} || true");
    shell(&again)?;
    let deleting = [
        virsh("snapshot-delete", &format!("{THEIRS} one")),
        ours("snapshot", &["delete", OURS, "one", "--yes"]),
    ];
    compare("snapshot delete", &deleting, &again)?;
    fleet(&work)
}

fn fleet(work: &Path) -> Result<()> {
    let manifests = work.join("fleet.yaml").display().to_string();
    let one = work.join("one.sh").display().to_string();
    let (last, all) = (FLEET - 1, format!("{PREFIX}-n"));
    let programs = [
        script("virsh, one by one", &format!("for n in $(seq 0 {last}); do bash {one} $n; done")),
        ours("create", &[&manifests]),
        script("virsh, 8 side by side", &format!("seq 0 {last} | xargs -P 8 -n 1 bash {one}")),
        Program::new("create --parallel 8", [FOUNDRY, "create", "--parallel", "8", &manifests]),
    ];
    let measured = measure(&programs, support::rounds(3)?, || shell(&remove_vms(&all)))?;
    println!("{}", table(&format!("{FLEET} creations, each with a start"), &measured)?);
    shell(&format!("seq 0 {last} | xargs -P 8 -n 1 bash {one}"))?;
    let listing = [
        Program::new("virsh list --all", ["virsh", "list", "--all"]),
        ours("list", &["--all"]),
        Program::new("foundry list --all -o wide", [FOUNDRY, "list", "--all", "-o", "wide"]),
    ];
    println!("{}", table("list", &measure(&listing, support::rounds(15)?, || Ok(()))?)?);
    Ok(())
}

fn virsh(verb: &'static str, words: &str) -> Program {
    Program::new("virsh", ["virsh", "-q", verb].into_iter().chain(words.split(' ')))
}

fn ours(verb: &'static str, words: &[&str]) -> Program {
    Program::new("foundry", [FOUNDRY, verb].into_iter().chain(words.iter().copied()))
}

fn script(name: &'static str, text: &str) -> Program {
    Program::new(name, ["bash", "-euc", text])
}

fn shell(text: &str) -> Result<()> {
    run(Command::new("bash").args(["-uc", text])).map(drop)
}

fn prepare(work: &Path) -> Result<()> {
    let image = work.join("base.qcow2");
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("64M"))?;
    run(Command::new(FOUNDRY).args(["image", "import"]).arg(&image).arg("base.qcow2"))?;
    let ours = work.join("ours.yaml");
    fs::write(&ours, manifest(OURS, 150))?;
    run(Command::new(FOUNDRY).arg("create").arg(&ours))?;
    let mut fleet = String::new();
    for n in 0..FLEET {
        write!(fleet, "---\n{}", manifest(&format!("{PREFIX}-n{n}"), 160 + n))?;
    }
    fs::write(work.join("fleet.yaml"), fleet)?;
    let definition = run(Command::new("virsh").args(["dumpxml", "--inactive", OURS]))?;
    let without: Vec<&str> = definition.lines().filter(|line| !is_identity(line)).collect();
    fs::write(work.join("domain.xml"), without.join("\n"))?;
    let (directory, image) = (work.display(), format!("{STORAGE}/images/base.qcow2"));
    // The record is left out: virsh's VM is anybody's.
    let make = format!(
        "set -eu
name=$1
virsh -q vol-create-as {VM_POOL} ${{name}}_boot 1G --format qcow2 --backing-vol {image} --backing-vol-format qcow2
virsh -q vol-create-as {VM_POOL} ${{name}}_data-vdb 1G --format qcow2
sed -e \"s/{OURS}/$name/g\" -e '/<metadata>/,/<\\/metadata>/d' {directory}/domain.xml >{directory}/$name.xml
virsh -q define {directory}/$name.xml
virsh -q start $name
"
    );
    fs::write(work.join("make.sh"), make)?;
    fs::write(work.join("one.sh"), format!("exec bash {directory}/make.sh {PREFIX}-n$1\n"))?;
    run(Command::new("bash").arg(work.join("make.sh")).arg(THEIRS)).map(drop)
}

/// A line of a definition that no second domain may have.
fn is_identity(line: &str) -> bool {
    ["<uuid>", "<genid>", "<mac ", "<target dev='vm"].iter().any(|part| line.trim_start().starts_with(part))
}

/// Takes the VMs whose names begin so away, whoever made them. A translated guest takes a second to end when it is asked
/// to.
fn remove_vms(prefix: &str) -> String {
    format!(
        "for vm in $(virsh list --all --name | grep '^{prefix}'); do
  kill -KILL $(cat /run/libvirt/qemu/$vm.pid) 2>/dev/null; virsh -q destroy $vm 2>/dev/null; virsh -q undefine $vm
done
virsh -q pool-refresh {VM_POOL}
for volume in $(virsh -q vol-list {VM_POOL} | awk '{{print $1}}' | grep '^{prefix}'); do
  virsh -q vol-delete $volume {VM_POOL}
done"
    )
}

fn copy_script() -> String {
    format!(
        "virsh -q vol-clone {THEIRS}_boot {COPY}_boot --pool {VM_POOL}
virsh -q vol-clone {THEIRS}_data-vdb {COPY}_data-vdb --pool {VM_POOL}
virsh dumpxml --inactive {THEIRS} | sed -e 's/{THEIRS}/{COPY}/g' -e '/<uuid>/d' -e '/<genid>/d' -e '/<mac /d' \\
  -e \"/<target dev='vm/d\" >$HOME/copy.xml
virsh -q define $HOME/copy.xml
virsh -q start {COPY}"
    )
}

/// The boot disk is by turns one of two volumes.
fn repave_script() -> String {
    format!(
        "old=$(virsh -q domblklist {THEIRS} | awk '$1 == \"vda\" {{print $2}}')
new={THEIRS}_boot; [[ $old != *_boot ]] || new={THEIRS}_boot2
virsh -q vol-create-as {VM_POOL} $new 1G --format qcow2 --backing-vol {STORAGE}/images/base.qcow2 \\
  --backing-vol-format qcow2
virsh -q destroy {THEIRS}
virsh dumpxml --inactive {THEIRS} | sed \"s,'$old','{STORAGE}/vms/$new',\" >$HOME/repaved.xml
virsh -q define $HOME/repaved.xml
virsh -q start {THEIRS}"
    )
}

fn repave_tidy() -> String {
    format!(
        "{FOUNDRY} repave {OURS} --accept --yes || true
has=$(virsh -q domblklist {THEIRS} | awk '$1 == \"vda\" {{print $2}}')
for volume in {THEIRS}_boot {THEIRS}_boot2; do
  [[ $has == */$volume ]] || virsh -q vol-delete $volume {VM_POOL} || true
done"
    )
}

fn manifest(name: &str, octet: usize) -> String {
    debug_assert!(name.starts_with(PREFIX) && !IMAGE_POOL.is_empty());
    format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata:
  name: {name}
spec:
  vcpus: 1
  memoryGiB: 0.0625
  firmware: {{type: bios}}
  bootDisk: {{sizeGiB: 1, image: base.qcow2}}
  dataDisks:
    - {{device: vdb, sizeGiB: 1}}
  networkInterfaces:
    - {{ip: 10.77.0.{octet}/24, gateway: 10.77.0.1, bridge: br0}}
"
    )
}
