//! The commands that change a host, and the states from which they begin.

/// Prefix of all that is made.
pub(crate) const PREFIX: &str = "foundry-test-f";
pub(crate) const VM_POOL: &str = "foundry-test-f-vms";
pub(crate) const IMAGE_POOL: &str = "foundry-test-f-images";
pub(crate) const STORAGE: &str = "/var/lib/libvirt/images/foundry-test-f";
/// The VM that the commands are about; two more for several documents.
pub(crate) const VMS: [&str; 3] = ["foundry-test-f-web", "foundry-test-f-db", "foundry-test-f-app"];
/// Neighbours of foundry's, whose names begin as the VM's, or are its beginning.
pub(crate) const NEIGHBOURS: [&str; 3] = ["foundry-test-f-web2", "foundry-test-f-web_data", "foundry-test-f"];
/// A domain of somebody else's, with a disk in foundry's pool.
pub(crate) const FOREIGN: &str = "foundry-test-f-web-foreign";

/// What is there when a command begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// The foreign domain; none of foundry's pools.
    Bare,
    /// Pools, images and neighbours.
    Images,
    /// Besides, the VM, which is off.
    Off,
    /// The VM, which runs.
    Running,
    /// The VM, which is off and has a snapshot.
    Snapshot,
    /// As off, with a domain that foundry did not make, but could have.
    Handmade,
}

/// A command under fault.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Its name in the table.
    pub(crate) name: &'static str,
    pub(crate) start: Start,
    /// Whether foundry takes the host for another machine.
    pub(crate) far: bool,
    pub(crate) arguments: Vec<&'static str>,
    /// What it reads.
    pub(crate) input: String,
    /// What it deletes before it makes it anew.
    pub(crate) replaces: Option<&'static str>,
    /// What finishes it after a kill, by the documentation, where no listing can say it.
    pub(crate) documented: Option<&'static str>,
}

fn command(name: &'static str, start: Start, line: &'static str) -> Command {
    let arguments = line.split(' ').collect();
    // What is there is changed: the same again. What is made is listed as unfinished.
    let documented = Some(line).filter(|_| !matches!(start, Start::Bare | Start::Images));
    Command { name, start, far: false, arguments, input: String::new(), replaces: None, documented }
}

/// All of them.
pub(crate) fn all() -> Vec<Command> {
    use Start::{Bare, Handmade, Images, Off, Running, Snapshot};
    let [web, db, app] = VMS;
    let three = [small(web, 20), small(db, 21), small(app, 22)].join("---\n");
    let reads = |command: Command, input: String| Command { input, ..command };
    let far = |command: Command| Command { far: true, ..command };
    vec![
        reads(command("create", Images, "create -"), full(web, 20)),
        reads(command("create, three documents", Images, "create -"), three),
        reads(command("create, first use", Bare, "create -"), empty(web, 20)),
        command("destroy, off", Off, "destroy foundry-test-f-web --yes"),
        command("destroy, running", Running, "destroy foundry-test-f-web --yes --force"),
        command("image import", Images, "image import new.qcow2"),
        far(command("image import, far", Images, "image import new.qcow2")),
        command("image import, first use", Bare, "image import new.qcow2"),
        command("image pull", Images, "image pull URL/new.qcow2"),
        Command {
            replaces: Some("old.qcow2"),
            ..command("image pull --refresh", Images, "image pull --refresh URL/old.qcow2")
        },
        command("image delete", Images, "image delete spare.qcow2 --yes"),
        reads(command("apply, off", Off, "apply -"), changed(web, 20)),
        reads(command("apply, running", Running, "apply -"), changed(web, 20)),
        command("start", Off, "start foundry-test-f-web"),
        command("stop", Running, "stop foundry-test-f-web --force"),
        command("snapshot create, off", Off, "snapshot create foundry-test-f-web one"),
        command("snapshot create, running", Running, "snapshot create foundry-test-f-web one --no-freeze"),
        command("snapshot restore", Snapshot, "snapshot restore foundry-test-f-web one --yes"),
        command("snapshot delete", Snapshot, "snapshot delete foundry-test-f-web one --yes"),
        command("repave, off", Off, "repave foundry-test-f-web --image spare.qcow2 --yes"),
        command("repave, running", Running, "repave foundry-test-f-web --image spare.qcow2 --yes --force"),
        command("adopt", Handmade, "adopt foundry-test-f-db --yes"),
        command("disk resize, off", Off, "disk resize foundry-test-f-web vdb 2GiB"),
        command("disk resize, running", Running, "disk resize foundry-test-f-web vdb 2GiB"),
        command("disk attach, off", Off, "disk attach foundry-test-f-web 1GiB"),
        command("disk attach, running", Running, "disk attach foundry-test-f-web 1GiB"),
        command("disk detach", Off, "disk detach foundry-test-f-web vdc --yes"),
        command("disk detach --keep", Off, "disk detach foundry-test-f-web vdc --yes --keep"),
        command("seed eject", Off, "seed eject foundry-test-f-web --yes --force"),
        command("seed eject, running", Running, "seed eject foundry-test-f-web --yes --force"),
        Command {
            documented: None,
            ..command("clone", Off, "clone foundry-test-f-web foundry-test-f-db --ip 10.77.0.21")
        },
        Command {
            documented: None,
            ..command(
                "clone --link",
                Off,
                "clone foundry-test-f-web foundry-test-f-db --ip 10.77.0.21 --link",
            )
        },
        command("rename", Off, "rename foundry-test-f-web foundry-test-f-db"),
        command("pool add", Images, "pool add foundry-test-f-more dir /var/lib/libvirt/images/more"),
        Command {
            documented: Some("pool delete foundry-test-f-spare --force"),
            ..command("pool delete", Images, "pool delete foundry-test-f-spare")
        },
    ]
}

fn manifest(name: &str, octet: u8, boot_disk: &str, disks: &[&str], rest: &str) -> String {
    let disks: String = disks.iter().map(|d| format!("    - {{device: {d}, sizeGB: 1}}\n")).collect();
    let disks = if disks.is_empty() { disks } else { format!("  dataDisks:\n{disks}") };
    format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: {name}\nspec:\n  \
         vcpus: 1\n  memoryGiB: 0.0625\n  bootDisk: {boot_disk}\n{disks}  networkInterfaces:\n    - {{ip: \
         10.77.0.{octet}/24, gateway: 10.77.0.1, bridge: br0}}\n{rest}"
    )
}

const SEED: &str = "  cloudInit:\n    passwordHash: $6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2\
                    /jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/\n";
const BIOS: &str = "  firmware: {type: bios}\n";

/// Four disks, a seed, autostart.
fn full(name: &str, octet: u8) -> String {
    let rest = format!("  autostart: true\n{SEED}");
    manifest(name, octet, "{sizeGB: 1, image: base.qcow2}", &["vdb", "vdc", "vdd"], &rest)
}

/// The same with five changes: CPUs, memory, autostart, a larger disk, a new one.
fn changed(name: &str, octet: u8) -> String {
    full(name, octet)
        .replace("vcpus: 1", "vcpus: 2")
        .replace("memoryGiB: 0.0625", "memoryGiB: 0.125")
        .replace("autostart: true", "autostart: false")
        .replace("{device: vdb, sizeGB: 1}", "{device: vdb, sizeGB: 2}")
        .replace("  networkInterfaces:", "    - {device: vde, sizeGB: 1}\n  networkInterfaces:")
}

fn small(name: &str, octet: u8) -> String {
    manifest(name, octet, "{sizeGB: 1, image: base.qcow2}", &[], BIOS)
}

fn empty(name: &str, octet: u8) -> String {
    manifest(name, octet, "{sizeGB: 1, empty: true}", &[], BIOS)
}

/// The neighbours, to be made at the beginning.
pub(crate) fn neighbours() -> String {
    let one = |(index, name): (u8, &&str)| {
        manifest(name, 40 + index, "{sizeGB: 1, image: base.qcow2}", &["vdb"], &format!("{BIOS}{SEED}"))
    };
    (0..).zip(&NEIGHBOURS).map(one).collect::<Vec<_>>().join("---\n")
}

/// The VM, to be made for the states in which it is there.
pub(crate) fn vm() -> String {
    full(VMS[0], 20)
}

/// A domain as somebody writes it by hand, with a disk in foundry's pool.
pub(crate) fn handmade(disk: &str) -> String {
    format!(
        "<domain type='qemu'><name>{}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' \
         machine='q35'>hvm</type></os><features><acpi/></features><devices><disk type='file' device='disk'><driver \
         name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk><interface \
         type='bridge'><source bridge='br0'/><mac address='52:54:00:00:00:21'/><model type='virtio'/></interface>\
         <serial type='pty'/></devices></domain>",
        VMS[1]
    )
}

/// Somebody else's domain.
pub(crate) fn foreign(disk: &str) -> String {
    format!(
        "<domain type='qemu'><name>{FOREIGN}</name><memory unit='MiB'>64</memory><os><type \
         arch='x86_64'>hvm</type></os><devices><disk type='file' device='disk'><source file='{disk}'/><target \
         dev='vda'/></disk></devices></domain>"
    )
}

/// Whether something on the host, by the name that it has in a picture, is none of the commands' business. Volumes are
/// there as files, too: those show in pools that a command makes.
pub(crate) fn is_bystanders(what: &str) -> bool {
    let name = last_part(what);
    let is_other = ["pool ", "volume ", "directory "].iter().any(|kind| what.starts_with(kind));
    let is_named = name == "base.qcow2" || name.starts_with(PREFIX);
    is_named && !is_other && !what.contains("/storage/") && VMS.iter().all(|vm| !is_vms(what, vm))
}

/// Whether something on the host belongs to that VM.
pub(crate) fn is_vms(what: &str, vm: &str) -> bool {
    last_part(what).strip_prefix(vm).is_some_and(|rest| {
        let rest = without_revision(rest);
        matches!(rest, "" | ".xml" | "_boot" | "_cloudinit" | "-console.log" | "_VARS.fd" | "_VARS.qcow2")
            || rest.starts_with("_data-")
    })
}

/// A name without what distinguishes the files of one disk, `.2` and so on.
fn without_revision(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((disk, revision)) if revision.bytes().all(|b| b.is_ascii_digit()) => disk,
        _ => name,
    }
}

fn last_part(what: &str) -> &str {
    what.rsplit(['/', ' ']).next().unwrap_or(what)
}
