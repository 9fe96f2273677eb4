//! What `foundry create` costs beside the libvirt calls that it must make.
//!
//! The VM: an overlay on an image, two data disks, a cloud-init seed, one NIC on a bridge, UEFI, autostart;
//! defined and started, and not waited for. Each program is timed from before its process is started until it
//! has ended, so process start, connecting and reading its input count for all of them:
//!
//! * `libvirt calls`: this executable again, with all texts made beforehand: connect, look the pool up, define
//!   (with libvirt's validation, without which it drops what it does not know), create three disks, create and
//!   fill the seed, set the metadata, set autostart, start. It checks nothing, reads nothing back and undoes
//!   nothing. Each call stands for one effect that the VM must have; no program can make the same VM with fewer.
//! * `foundry create`: the same VM from its manifest, with all checks, the record and the progress lines. It has
//!   to stay within [`TARGET`] of the calls alone.
//! * `virsh, genisoimage`: a script as people write it, one virsh for each step, with the same domain XML.
//! * `virt-install`: `--import --cloud-init`, with a machine as much the same as its options allow.
//!
//! `start` is the same call with the same XML for the first two. It is most of the time and nearly all of the
//! noise on a machine that does other things too, so both say how long it took (`-vv`), and the last line is the
//! ratio with the calls' start in the place of either.
//!
//! A program that is not installed is left out. The VM is removed between the turns, which is not timed. Columns
//! after the ratios come from a turn of its own: libvirt calls sent (by libvirt's client log, connecting and
//! closing included), processes executed, the peak memory of the largest one, and the space that the VM takes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use foundry::storage_xml::{self, VolumeSpec};
use foundry::units::{Bytes, GIB};
use support::{FOUNDRY, IMAGE_POOL, PREFIX, Program, STORAGE, URI, VM_POOL, measure, run, table};
use virt::connect::Connect;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys as c;

/// What `foundry create` may cost, in libvirt calls alone.
const TARGET: f64 = 1.05;
const CALLS: &str = "--libvirt-calls";
const NAMESPACE: &str = foundry::record::METADATA_NAMESPACE;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, directory] = arguments.as_slice()
        && mode == CALLS
    {
        return match make(Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:?}");
                ExitCode::FAILURE
            }
        };
    }
    support::main(bench)
}

/// The calls alone.
fn make(texts: &Path) -> Result<()> {
    let text = |name: &str| fs::read_to_string(texts.join(name)).with_context(|| name.to_owned());
    let connection = Connect::open(Some(URI))?;
    let domain = connection.define_domain_xml_flags(&text("domain.xml")?, c::VIR_DOMAIN_DEFINE_VALIDATE)?;
    let pool = connection.lookup_storage_pool_by_name(VM_POOL)?;
    for name in ["boot.xml", "vdb.xml", "vdc.xml"] {
        StorageVol::create_xml(&pool, &text(name)?, 0)?;
    }
    let seed = StorageVol::create_xml(&pool, &text("seed.xml")?, 0)?;
    let iso = fs::read(texts.join("seed.iso"))?;
    let stream = Stream::new(&connection, 0)?;
    seed.upload(&stream, 0, iso.len() as u64, c::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)?;
    let mut left = iso.as_slice();
    while !left.is_empty() {
        left = &left[usize::try_from(stream.send(left)?)?..];
    }
    stream.finish()?;
    let kind = c::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    let record = text("record.xml")?;
    domain.set_metadata(
        kind,
        Some(&record),
        Some("foundry"),
        Some(NAMESPACE),
        c::VIR_DOMAIN_AFFECT_CONFIG,
    )?;
    domain.set_autostart(true)?;
    let begun = Instant::now();
    domain.create()?;
    // As foundry -vv says it.
    eprintln!("[libvirt] {:.3} ms  virDomainCreate (start)", begun.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}

fn bench() -> Result<()> {
    virt::error::clear_error_callback();
    let work = support::work_directory()?;
    let connection = Connect::open(Some(URI))?;
    prepare(&connection, &work)?;
    let at = |name: &str| work.join(name).display().to_string();
    let mut programs = vec![
        Program::new("libvirt calls", [&std::env::current_exe()?.display().to_string(), CALLS, &at("")]),
        Program::new("foundry create", [FOUNDRY, "-vv", "create", &at("vm.yaml")]),
    ];
    if has("genisoimage") {
        fs::write(work.join("script.sh"), script(&work))?;
        programs.push(Program::new("virsh, genisoimage", ["bash", &at("script.sh")]));
    }
    if has("virt-install") {
        programs.push(Program::new("virt-install", virt_install(&work)));
    }
    let measured = measure(&programs, support::rounds(15)?, || remove(&connection))?;
    println!("{}", table("create", &measured)?);
    let ((start, rest), (their_start, their_rest)) =
        (measured[1].start_and_rest(), measured[0].start_and_rest());
    println!(
        "start and the rest: foundry create {start:.1} + {rest:.1} ms, libvirt calls {their_start:.1} + \
         {their_rest:.1} ms\nfoundry create / libvirt calls, with the same start: {:.3}, to be at most {TARGET}",
        (their_start + rest) / (their_start + their_rest)
    );
    Ok(())
}

fn has(program: &str) -> bool {
    let found = Command::new("which").arg(program).output().is_ok_and(|o| o.status.success());
    if !found {
        println!("{program} is not installed and is left out");
    }
    found
}

/// The manifest, the image, and all texts that the other programs need, taken from a VM that foundry made.
fn prepare(connection: &Connect, work: &Path) -> Result<()> {
    let manifest = work.join("vm.yaml");
    fs::write(&manifest, MANIFEST)?;
    let image = work.join("base.qcow2");
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("64M"))?;
    run(Command::new(FOUNDRY).args(["image", "import"]).arg(&image).arg("base.qcow2"))?;
    run(Command::new(FOUNDRY).arg("create").arg(&manifest))?;
    let domain = connection.lookup_domain_by_name(NAME)?;
    let kind = c::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    fs::write(work.join("record.xml"), domain.metadata(kind, Some(NAMESPACE), 0)?)?;
    let iso = fs::read(format!("{STORAGE}/vms/{NAME}_cloudinit"))?;
    fs::write(work.join("seed.iso"), &iso)?;
    remove(connection)?;
    let defined = run(Command::new(FOUNDRY).args(["create", "--dry-run", "-o", "xml"]).arg(&manifest))?;
    fs::write(work.join("domain.xml"), defined)?;
    for (what, name) in
        [("user-data", "user-data"), ("meta-data", "meta-data"), ("network-config", "network-config")]
    {
        let rendered = run(Command::new(FOUNDRY).args(["render", "--what", what]).arg(&manifest))?;
        fs::write(work.join(name), rendered)?;
    }
    write_volumes(work, iso.len() as u64)
}

fn write_volumes(work: &Path, seed: u64) -> Result<()> {
    let volume = |name: &str, format: &str, capacity, allocation, backing| {
        storage_xml::render_volume(&VolumeSpec {
            name: format!("{NAME}_{name}"),
            format: format.into(),
            capacity,
            allocation,
            backing,
        })
    };
    let disk = |name, backing| volume(name, "qcow2", Bytes(GIB), Bytes(0), backing);
    fs::write(work.join("boot.xml"), disk("boot", Some((image_path(), "qcow2".into())))?)?;
    fs::write(work.join("vdb.xml"), disk("data-vdb", None)?)?;
    fs::write(work.join("vdc.xml"), disk("data-vdc", None)?)?;
    fs::write(work.join("seed.xml"), volume("cloudinit", "raw", Bytes(seed), Bytes(seed), None)?)?;
    Ok(())
}

fn image_path() -> String {
    format!("{STORAGE}/images/base.qcow2")
}

/// Takes the VM away, whoever made it.
fn remove(connection: &Connect) -> Result<()> {
    if let Ok(domain) = connection.lookup_domain_by_name(NAME) {
        // A translated guest takes more than a second to end when it is asked to, as libvirt does first.
        if let Ok(pid) = fs::read_to_string(format!("/run/libvirt/qemu/{NAME}.pid")) {
            run(Command::new("kill").args(["-KILL", pid.trim()]))?;
        }
        let stopped = domain.destroy();
        ensure!(!domain.is_active()?, "the VM does not stop: {stopped:?}");
        domain.undefine_flags(c::VIR_DOMAIN_UNDEFINE_NVRAM)?;
    }
    for pool in connection.list_all_storage_pools(c::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)? {
        if pool.name()? == IMAGE_POOL {
            continue;
        }
        // virt-install keeps its seed outside and makes a pool of its own for that.
        pool.refresh(0)?;
        for volume in pool.list_all_volumes(0)? {
            volume.delete(0)?;
        }
    }
    ensure!(connection.list_all_domains(0)?.is_empty(), "a domain is left");
    Ok(())
}

const NAME: &str = "foundry-test-bench-vm";

const MANIFEST: &str = "\
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata:
  name: foundry-test-bench-vm
spec:
  vcpus: 1
  memoryGiB: 0.25
  autostart: true
  bootDisk: {sizeGiB: 1, image: base.qcow2}
  dataDisks:
    - {device: vdb, sizeGiB: 1}
    - {device: vdc, sizeGiB: 1}
  networkInterfaces:
    - {ip: 10.77.0.150/24, gateway: 10.77.0.1, dnsServers: [10.77.0.1], bridge: br0}
  cloudInit:
    fqdn: vm.example.com
    sshAuthorizedKeys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD bench
";

fn script(work: &Path) -> String {
    let (work, image) = (work.display(), image_path());
    format!(
        "set -eu
cd {work}
virsh -q vol-create-as {VM_POOL} {NAME}_boot 1G --format qcow2 --backing-vol {image} --backing-vol-format qcow2
virsh -q vol-create-as {VM_POOL} {NAME}_data-vdb 1G --format qcow2
virsh -q vol-create-as {VM_POOL} {NAME}_data-vdc 1G --format qcow2
genisoimage -quiet -output script.iso -volid cidata -joliet -rock user-data meta-data network-config
virsh -q vol-create-as {VM_POOL} {NAME}_cloudinit \"$(stat -c %s script.iso)\" --format raw
virsh -q vol-upload {NAME}_cloudinit script.iso --pool {VM_POOL}
rm script.iso
virsh -q define domain.xml
virsh -q autostart {NAME}
virsh -q start {NAME}
"
    )
}

fn virt_install(work: &Path) -> Vec<String> {
    let work = work.display();
    let mut argv =
        vec!["virt-install".to_owned(), "--connect".into(), URI.into(), "--name".into(), NAME.into()];
    let virt_type = std::env::var("FOUNDRY_VIRT_TYPE").unwrap_or_else(|_| "qemu".into());
    argv.extend(["--virt-type".to_owned(), virt_type]);
    let fixed = "--import --vcpus 1 --memory 256 --osinfo detect=off,require=off --noautoconsole --autostart \
                 --boot firmware=efi,firmware.feature0.enabled=no,firmware.feature0.name=secure-boot \
                 --network bridge=br0,model=virtio --graphics none --rng /dev/urandom";
    argv.extend(fixed.split_whitespace().map(String::from));
    let image = image_path();
    for disk in
        [format!("size=1,backing_store={image},backing_format=qcow2"), "size=1".into(), "size=1".into()]
    {
        argv.extend(["--disk".to_owned(), format!("pool={VM_POOL},format=qcow2,bus=virtio,{disk}")]);
    }
    argv.push("--cloud-init".into());
    argv.push(format!(
        "user-data={work}/user-data,meta-data={work}/meta-data,network-config={work}/network-config"
    ));
    debug_assert!(NAME.starts_with(PREFIX));
    argv
}
