//! What `foundry list --all` costs beside `virsh list --all`, with 1,000 domains defined.
//!
//! Each program is timed from before its process is started until it has ended; its output goes to a file. All
//! domains are foundry's, none runs. That is the dearest case for foundry, which reads and judges each one's record
//! and tells its address, size and age, where virsh tells name and state. It has to take no longer than virsh.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

mod support;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use support::{FOUNDRY, PREFIX, Program, URI, measure, run, table};
use virt::connect::Connect;

const DOMAINS: usize = 1000;
/// What `foundry list --all` may cost, in `virsh list --all`.
const TARGET: f64 = 1.0;

fn main() -> ExitCode {
    support::main(bench)
}

fn bench() -> Result<()> {
    virt::error::clear_error_callback();
    let connection = Connect::open(Some(URI))?;
    define(&connection)?;
    let programs = [
        Program::new("virsh list --all", ["virsh", "-c", URI, "list", "--all"]),
        Program::new("foundry list --all", [FOUNDRY, "list", "--all"]),
        Program::new("foundry list --all -o json", [FOUNDRY, "list", "--all", "-o", "json"]),
    ];
    let listed = run(Command::new(FOUNDRY).args(["list", "--all", "-o", "wide"]))?;
    ensure!(listed.lines().filter(|l| l.contains("10.77.")).count() == DOMAINS, "they are not all listed");
    let measured = measure(&programs, support::rounds(40)?, || Ok(()))?;
    println!("{}", table(&format!("list of {DOMAINS} domains"), &measured)?);
    let ratio = measured[1].ratio_to(&measured[0]);
    println!("foundry list --all / virsh list --all: {ratio:.3}, to be at most {TARGET}");
    Ok(())
}

/// Domains as foundry would define them, with name, address and identity of their own.
fn define(connection: &Connect) -> Result<()> {
    let work = support::work_directory()?;
    let (manifest, image) = (work.join("vm.yaml"), work.join("base.qcow2"));
    fs::write(&manifest, MANIFEST)?;
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("64M"))?;
    run(Command::new(FOUNDRY).args(["image", "import"]).arg(&image).arg("base.qcow2"))?;
    let xml = run(Command::new(FOUNDRY).args(["create", "--dry-run", "-o", "xml"]).arg(&manifest))?;
    let uuid = xml
        .split_once("<uuid>")
        .and_then(|(_, rest)| rest.split_once("</uuid>"))
        .map(|(uuid, _)| uuid.to_owned())
        .context("a definition without a UUID")?;
    // As it stands after a creation; nobody makes these.
    let xml = xml.replace(r#""state":"creating""#, r#""state":"created""#);
    for index in 0..DOMAINS {
        let text = xml
            .replace(&uuid, &uuid::Uuid::new_v4().to_string())
            .replace(NAME, &format!("{PREFIX}-{index:04}"))
            .replace("10.77.0.150", &format!("10.77.{}.{}", index / 250, index % 250 + 1));
        connection.define_domain_xml(&text)?;
    }
    Ok(())
}

const NAME: &str = "foundry-test-bench-one";

const MANIFEST: &str = "\
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata:
  name: foundry-test-bench-one
  labels: {role: web, env: test}
spec:
  vcpus: 2
  memoryGiB: 2
  bootDisk: {sizeGiB: 20, image: base.qcow2}
  dataDisks:
    - {device: vdb, sizeGiB: 100}
    - {device: vdc, sizeGiB: 100}
  networkInterfaces:
    - {ip: 10.77.0.150/24, gateway: 10.77.0.1, dnsServers: [10.77.0.1], bridge: br0}
  cloudInit:
    fqdn: vm.example.com
    sshAuthorizedKeys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD bench
";
