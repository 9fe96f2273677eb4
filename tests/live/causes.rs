//! Causes provoked for real, on a host of the test's own: each has its code and its exit code, is told with the object
//! that it is about, and goes away by what the error says to do. No guest boots to its end here.

use std::process::Command;

use crate::support::daemon::host::{PrivateHost, eventually};
use crate::support::live::{Foundry, Ran, environment};

const STORAGE: &str = "/var/lib/libvirt/images/foundry-test";
const IMAGE: &str = "/var/lib/libvirt/images/foundry-test/images/tiny.qcow2";
const BIOS: &str = "firmware: {type: bios}";

/// A host with the tiny guest's image.
fn host() -> Option<PrivateHost> {
    let tiny = environment("FOUNDRY_TEST_TINY")?;
    let host = PrivateHost::new()?;
    inside(&host, &["image", "import", &tiny, "tiny.qcow2"]).run().exits(0);
    Some(host)
}

/// foundry inside, where its machine is libvirtd's: files, processes and interfaces are the same ones.
fn inside(host: &PrivateHost, arguments: &[&str]) -> Foundry {
    program_inside(host, &[&[env!("CARGO_BIN_EXE_foundry")], arguments].concat())
}

/// A program inside with foundry's environment.
fn program_inside(host: &PrivateHost, line: &[&str]) -> Foundry {
    let mut command = Command::new("nsenter");
    command.args(["-t", &host.first, "-m", "-n", "-u", "-p", "--"]).args(line);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).current_dir(host.home());
    host.configured(command).env("FOUNDRY_CONNECT", "qemu:///system")
}

/// The manifest of VM `web` at 10.77.0.50 with this in its spec; what is said later stands for what is said before.
fn manifest(spec: &[&str]) -> String {
    let mut fields = vec![
        "vcpus: 1",
        "memoryGiB: 0.25",
        "bootDisk: {sizeGB: 1, image: tiny.qcow2}",
        "networkInterfaces: [{ip: 10.77.0.50/24, gateway: 10.77.0.1, dnsServers: [10.77.0.1], bridge: br0}]",
    ];
    for line in spec {
        let key = |line: &str| line.split(':').next().unwrap().to_owned();
        fields.retain(|field| key(field) != key(line));
        fields.push(line);
    }
    let fields: String = fields.iter().map(|field| format!("  {field}\n")).collect();
    format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\nspec:\n{fields}"
    )
}

fn create(host: &PrivateHost, spec: &[&str]) -> Foundry {
    inside(host, &["create", "-"]).reads(manifest(spec))
}

/// It is made, and goes again.
#[track_caller]
fn succeeds(host: &PrivateHost, spec: &[&str]) {
    create(host, spec).run().exits(0);
    inside(host, &["destroy", "web", "--yes", "--force"]).run().exits(0);
}

/// Creating it ends with that code, and says so in that sentence.
#[track_caller]
fn fails(host: &PrivateHost, spec: &[&str], exit: i32, code: &str, sentence: &str) -> Ran {
    told(create(host, spec).run(), exit, code, sentence)
}

#[track_caller]
fn told(ran: Ran, exit: i32, code: &str, sentence: &str) -> Ran {
    ran.exits(exit).has_code(code).mentions(sentence)
}

/// Runs a command of the hint, which must be in it word by word.
#[track_caller]
fn does(host: &PrivateHost, ran: Ran, command: &str) -> Ran {
    let ran = ran.mentions(command);
    shell(host, command);
    ran
}

/// As the hint says, or, where the package acl is not there, as wide as the test may be.
#[track_caller]
fn opens(host: &PrivateHost, ran: Ran, directory: &str) {
    let command = format!("setfacl -m u:libvirt-qemu:x {directory}");
    ran.mentions(&command);
    shell(host, &format!("{command} || chmod o+x {directory}"));
}

#[track_caller]
fn shell(host: &PrivateHost, command: &str) {
    host.inside(&["sh", "-c", command]).exits(0);
}

#[test]
fn what_keeps_a_vm_from_its_network_is_named_and_mended() {
    let Some(host) = host() else { return };
    let missing = "networkInterfaces: [{ip: 10.77.0.50/24, gateway: 10.77.0.1, bridge: br9}]";
    fails(&host, &[BIOS, missing], 4, "FND-4201", "there is no bridge 'br9'\n    did you mean 'br0'?\n");

    shell(&host, "ip link set br0 down");
    let ran =
        fails(&host, &[BIOS], 4, "FND-4202", "spec.networkInterfaces[0].bridge: bridge 'br0' is down\n");
    does(&host, ran, "ip link set br0 up");
    succeeds(&host, &[BIOS]);

    shell(&host, "ip link set br0 mtu 65535");
    let sentence = "cannot start domain 'web': bridge 'br0' has an MTU of 65535, and a VM's tap can have 65521 at most\n";
    let ran = fails(&host, &[BIOS], 4, "FND-4203", sentence)
        .mentions("everything that was made is removed again\n");
    does(&host, ran, "ip link set br0 mtu 65521");
    succeeds(&host, &[BIOS]);

    shell(&host, "ip link add vm0a4d0032 type bridge");
    let sentence = "the host has a network interface vm0a4d0032, which is the name of the VM's tap\n";
    let ran = fails(&host, &[BIOS], 4, "FND-4211", sentence);
    does(&host, ran, "ip link delete vm0a4d0032");
    succeeds(&host, &[BIOS]);
}

#[test]
fn what_keeps_qemu_from_a_disk_is_named_and_mended() {
    let Some(host) = host() else { return };
    succeeds(&host, &[BIOS]);
    shell(&host, &format!("chmod 700 {STORAGE}"));
    let sentence = &format!(
        "may not enter the directory {STORAGE} (mode 700), and so cannot open '{STORAGE}/vms/web_boot'\n"
    );
    let ran = fails(&host, &[BIOS], 5, "FND-5003", sentence);
    opens(&host, ran, STORAGE);
    succeeds(&host, &[BIOS]);

    shell(&host, &format!("chmod 700 {STORAGE}/images"));
    let sentence =
        &format!("may not enter the directory {STORAGE}/images (mode 700), and so cannot open '{IMAGE}'\n");
    let ran = fails(&host, &[BIOS], 5, "FND-5003", sentence);
    opens(&host, ran, &format!("{STORAGE}/images"));
    succeeds(&host, &[BIOS]);

    // Paused, it only holds the image's lock.
    let drive = format!("file={IMAGE},if=virtio,format=qcow2");
    let pidfile = host.home().join("holder.pid").display().to_string();
    host.inside(&[
        "qemu-system-x86_64",
        "-S",
        "-display",
        "none",
        "-nodefaults",
        "-drive",
        &drive,
        "-daemonize",
        "-pidfile",
        &pidfile,
    ])
    .exits(0);
    let pid = std::fs::read_to_string(&pidfile).unwrap().trim().to_owned();
    let sentence = &format!(
        "qemu-system-x86 of user root (process {pid}) has '{IMAGE}' open, which is one of its disks or below one\n"
    );
    let ran = fails(&host, &[BIOS], 5, "FND-5203", sentence);
    // It may be a guest of another libvirt's: nobody is told to kill it.
    let ran = ran.mentions(&format!(
        "ps -fp {pid} shows what for; if that guest is not needed, stop it where it was started"
    ));
    assert!(!ran.stderr.contains(&format!("kill {pid}")), "{}", ran.stderr);
    shell(&host, &format!("kill {pid}"));
    eventually("the holder ends", || host.inside(&["kill", "-0", &pid]).code != 0);
    succeeds(&host, &[BIOS]);

    // Whoever told libvirt to leave the owners of files as they are has to see to them.
    let conf = "/etc/libvirt/qemu.conf";
    shell(&host, &format!("cp {conf} {conf}.old && echo 'dynamic_ownership = 0' >>{conf}"));
    host.restart("KILL");
    let ran =
        fails(&host, &[BIOS], 5, "FND-5204", "(mode 600), and libvirt does not change the owners of disks\n");
    ran.mentions("dynamic_ownership = 1 in /etc/libvirt/qemu.conf");
    shell(&host, &format!("mv {conf}.old {conf}"));
    host.restart("KILL");
    succeeds(&host, &[BIOS]);

    // No inode is left, of which a file system has its own number.
    shell(
        &host,
        "mkdir -p /var/lib/libvirt/images/small && mount -t tmpfs -o nr_inodes=1,size=64m none /var/lib/libvirt/images/small",
    );
    inside(&host, &["pool", "add", "small", "dir", "/var/lib/libvirt/images/small"]).run().exits(0);
    let full = &[BIOS, "storagePool: small"];
    let ran =
        fails(&host, full, 5, "FND-5201", "no space left on the host's file system\n").mentions("df -i");
    assert!(ran.stderr.contains("cannot create volume 'web_boot' in pool 'small'"), "{ran:#?}");
    shell(&host, "mount -o remount,nr_inodes=100 /var/lib/libvirt/images/small");
    succeeds(&host, full);

    shell(&host, "mount -o remount,ro /var/lib/libvirt/images/small");
    let sentence = "cannot create a file in the pool's directory /var/lib/libvirt/images/small: its file system is read-only\n";
    let ran = fails(&host, full, 5, "FND-5011", sentence);
    does(&host, ran, "findmnt -T /var/lib/libvirt/images/small");
    shell(&host, "virsh -q -c qemu:///system pool-destroy small && umount /var/lib/libvirt/images/small");
}

#[test]
fn what_the_machine_lacks_is_named_and_done_without() {
    let Some(host) = host() else { return };
    // libvirt may offer KVM, and QEMU then says that it is none; or it offers none.
    shell(&host, "[ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm");
    let ran = create(&host, &[BIOS]).env("FOUNDRY_VIRT_TYPE", "kvm").run();
    told(ran, 4, "FND-4101", "--virt-type qemu works without it");
    // More than a process can address (128 TiB); found before anything is made.
    let sentence = "spec.memoryGiB: the VM needs 195.3 TiB of memory, but the host has only ";
    fails(&host, &[BIOS, "memoryGiB: 200000"], 4, "FND-4107", sentence).mentions("assign less memory");
    succeeds(&host, &[BIOS]);

    let arch = &["arch: aarch64"];
    if host.inside(&["sh", "-c", "command -v qemu-system-aarch64"]).code != 0 {
        fails(
            &host,
            arch,
            4,
            "FND-4102",
            "the host cannot run aarch64 guests with qemu; it offers nothing\n    apt install qemu-system-arm",
        );
    }

    let secure = "firmware: {type: efi, secureBoot: true}";
    let described = host.home().join("firmware");
    shell(
        &host,
        &format!(
            "mkdir {0} && cp $(grep -L '\"secure-boot\"' /usr/share/qemu/firmware/*.json) {0} && mount --bind {0} /usr/share/qemu/firmware",
            described.display()
        ),
    );
    let sentence = "cannot define domain 'web': the host has no UEFI firmware with Secure Boot for this VM\n";
    fails(&host, &[secure], 4, "FND-4106", sentence)
        .mentions("spec.firmware.secureBoot: false\n")
        .mentions("nothing was changed\n");
    succeeds(&host, &["firmware: {type: efi, secureBoot: false}"]);
    shell(&host, &format!("rm {}/*", described.display()));
    let sentence = "cannot define domain 'web': the host has no UEFI firmware for this VM\n";
    fails(&host, &[], 4, "FND-4105", sentence).mentions("spec.firmware.type: bios\n");
    succeeds(&host, &[BIOS]);
    shell(&host, "umount /usr/share/qemu/firmware");

    // The variables of an earlier VM of that name, cut off.
    let nvram = "/var/lib/libvirt/qemu/nvram/web_VARS.fd";
    shell(&host, &format!("mkdir -p $(dirname {nvram}) && truncate -s 100 {nvram}"));
    let sentence = "the new VM would get the EFI variables of an earlier domain with its name: ";
    let ran = fails(&host, &[], 4, "FND-4108", sentence);
    ran.mentions(&format!("foundry gc {nvram}\n")).mentions("nothing was changed\n");
    inside(&host, &["gc", nvram, "--yes"]).run().exits(0);
    succeeds(&host, &[]);

    shell(
        &host,
        "kill $(cat /run/libvirt/virtlogd.pid); while [ -S /run/libvirt/virtlogd-sock ]; do sleep 0.05; done",
    );
    let ran = fails(&host, &[BIOS], 4, "FND-4112", "'/run/libvirt/virtlogd-sock' does not exist");
    ran.mentions("(without systemd: virtlogd -d)");
    shell(&host, "virtlogd -d -p /run/libvirt/virtlogd.pid");
    eventually("virtlogd listens", || host.inside(&["test", "-S", "/run/libvirt/virtlogd-sock"]).code == 0);
    succeeds(&host, &[BIOS]);
}

#[test]
fn what_is_in_the_way_of_a_vm_is_named_and_avoided() {
    let Some(host) = host() else { return };
    let near = "bootDisk: {sizeGB: 1, image: tinny.qcow2}";
    fails(
        &host,
        &[BIOS, near],
        5,
        "FND-5101",
        "image 'tinny.qcow2' not found in pool 'foundry-test-images'\n    did you mean 'tiny.qcow2'?\n",
    );
    host.inside(&["qemu-img", "create", "-q", "-f", "qcow2", &format!("{STORAGE}/images/large.qcow2"), "2G"])
        .exits(0);
    inside(&host, &["pool", "refresh", "foundry-test-images"]).run().exits(0);
    let small = "bootDisk: {sizeGB: 1, image: large.qcow2}";
    fails(
        &host,
        &[BIOS, small],
        5,
        "FND-5102",
        "image 'foundry-test-images:large.qcow2' needs 2 GiB, but the boot disk has only 1 GiB\n",
    )
    .mentions("spec.bootDisk.sizeGB: 2, or more");
    succeeds(&host, &[BIOS, "bootDisk: {sizeGB: 2, image: large.qcow2}"]);

    create(&host, &[BIOS]).run().exits(0);
    fails(
        &host,
        &[BIOS],
        4,
        "FND-4001",
        "VM 'web' exists\n    choose another name, or foundry destroy web first\n",
    );
    let other = manifest(&[BIOS]).replace("name: web", "name: other");
    let ran = inside(&host, &["create", "-"]).reads(&other).run();
    told(ran, 4, "FND-4206", "VM 'web' already has the address 10.77.0.50")
        .mentions("choose another address\n");
    inside(&host, &["create", "-"]).reads(other.replace("10.77.0.50", "10.77.0.51")).run().exits(0);
    inside(&host, &["destroy", "other", "--yes", "--force"]).run().exits(0);

    shell(
        &host,
        "virsh -q -c qemu:///system destroy web && virsh -q -c qemu:///system snapshot-create-as web first",
    );
    let ran = inside(&host, &["disk", "resize", "web", "vda", "2"]).run();
    let ran = told(ran, 4, "FND-4109", "VM 'web' has snapshots: first");
    does(&host, ran, "virsh snapshot-delete web first");
    inside(&host, &["disk", "resize", "web", "vda", "2"]).run().exits(0);
    inside(&host, &["destroy", "web", "--yes", "--force"]).run().exits(0);
}

#[test]
fn what_keeps_a_user_from_libvirt_is_named_and_mended() {
    let Some(host) = host() else { return };
    host.configure("unix_sock_group = \"users\"\nunix_sock_rw_perms = \"0770\"\nauth_unix_rw = \"none\"");
    // Not from a directory that is only root's.
    let foundry = host.home().join("foundry");
    std::fs::copy(env!("CARGO_BIN_EXE_foundry"), &foundry).unwrap();
    let list = [foundry.to_str().unwrap(), "list"];
    let nobody = |groups: &[&str]| {
        let line = [&["setpriv", "--reuid", "65534", "--regid", "65534"], groups, &list].concat();
        program_inside(&host, &line).run()
    };
    let sentence = "this user may not use the socket '/var/run/libvirt/libvirt-sock'\n";
    told(nobody(&["--clear-groups"]), 3, "FND-3001", sentence).mentions("sudo usermod -aG libvirt \"$USER\"");
    // 100 is the group that the socket is of; it is libvirt elsewhere.
    nobody(&["--groups", "users"]).exits(0);

    host.signal("KILL");
    let sentence = "no libvirt daemon listens at the socket '/var/run/libvirt/libvirt-sock'\n";
    eventually("the daemon is gone", || inside(&host, &["list"]).run().stderr.contains(sentence));
    told(inside(&host, &["list"]).run(), 3, "FND-3002", sentence).mentions("systemctl start libvirtd");
    shell(&host, "rm /run/libvirt/libvirt-sock");
    let sentence = "no libvirt daemon listens there: '/var/run/libvirt/libvirt-sock' does not exist\n";
    told(inside(&host, &["list"]).run(), 3, "FND-3002", sentence);
    shell(&host, "libvirtd -d -p /run/libvirt/libvirtd.pid");
    eventually("the daemon is there", || inside(&host, &["list"]).run().code == 0);
}
