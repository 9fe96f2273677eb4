//! The main job, whole: a Debian guest with real cloud-init, on a bridge, made, looked at from inside,
//! copied, and taken away without a trace. One test and three boots, as each takes a minute or two.

use std::time::{Duration, Instant};

use crate::support::live::{Bed, Guest, Manifest, environment, program};

/// SHA-512 crypt of "foundry", made by `openssl passwd -6 -salt livetest foundry`.
const HASH: &str =
    "$6$livetest$r4BU9CTPN953m7NZ3vm1RaKP5T6coinreRQj2RqHJpgK6Etg6FGKFwt28UCRQlJWJ5UpSjU3mhwz8/LETIzFa/";
const TOKEN: &str = "token-4711-of-nobody";

fn manifest(bed: &Bed) -> Manifest {
    let bridge = bed.bridge();
    bed.uses_address("10.78.0.90");
    bed.manifest("web", 90)
        .memory("1")
        .boot_disk("{sizeGB: 8, image: debian.qcow2}")
        .disk("vdb", 2)
        .disk("vdd", 3)
        .interfaces(&[
            &format!("{{ip: 10.77.0.90/24, gateway: 10.77.0.1, dnsServers: [10.77.0.1, 192.0.2.53], bridge: {bridge}}}"),
            &format!("{{ip: 10.78.0.90/24, gateway: 10.78.0.1, defaultRoute: false, bridge: {bridge}}}"),
        ])
        .cloud_init(&format!(
            "passwordHash: {HASH}
userData:
  write_files:
    - {{path: /etc/foundry-test, content: \"{TOKEN} & <it's>\\n\", permissions: \"0640\"}}
  runcmd:
    - [sh, -c, \"uname -m >/run/foundry-ran\"]"
        ))
}

#[test]
fn a_debian_guest_is_what_its_manifest_says_and_leaves_nothing() {
    let Some(image) = environment("FOUNDRY_TEST_DEBIAN") else { return };
    let Some(bed) = Bed::new("debian") else { return };
    bed.import(&image, "debian.qcow2");
    let manifest = manifest(&bed);
    let begun = Instant::now();
    let made = bed
        .foundry(&["create", "-", "--wait=cloud-init", "--timeout", "20m", "--pool", &bed.vm_pool()])
        .reads(&manifest)
        .run()
        .exits(0);
    println!("cloud-init was done after {:?}", begun.elapsed());
    let made = made.prints(&format!("Successfully created VM '{}'\n", manifest.name));
    made.mentions("✓ cloud-init is done after ");

    let guest = bed.guest("10.77.0.90");
    names(&guest, &manifest.name);
    addresses_and_routes(&guest);
    disks(&guest);
    cloud_init(&guest);
    seed(&guest, &bed, &manifest.name);
    secrets(&bed, &manifest);
    ssh_and_agent(&guest, &bed, &manifest.name);
    snapshot_is_consistent_and_restored(&guest, &bed, &manifest.name);
    copy_is_another_instance(&guest, &bed, &manifest.name);
}

fn names(guest: &Guest, name: &str) {
    assert_eq!(guest.says("hostname"), name);
    assert_eq!(guest.says("hostname -f"), format!("{name}.example.com"));
    assert_eq!(guest.says("id -un"), "root");
}

fn addresses_and_routes(guest: &Guest) {
    let addresses: serde_json::Value = serde_json::from_str(&guest.says("ip -j addr")).unwrap();
    let of_link = |mac: &str| -> Vec<String> {
        let link = addresses.as_array().unwrap().iter().find(|l| l["address"] == mac).unwrap();
        let list = link["addr_info"].as_array().unwrap();
        list.iter()
            .filter(|a| a["family"] == "inet")
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
            .collect()
    };
    assert_eq!(of_link("be:ef:0a:4d:00:5a"), ["10.77.0.90/24"]);
    assert_eq!(of_link("be:ef:0a:4e:00:5a"), ["10.78.0.90/24"]);
    let defaults = guest.says("ip -4 route show default");
    assert!(defaults.starts_with("default via 10.77.0.1 ") && defaults.lines().count() == 1, "{defaults}");
    assert!(guest.says("ip -4 route get 10.78.0.1").contains(" src 10.78.0.90"));
    let dns = guest.says("resolvectl dns 2>/dev/null || cat /etc/resolv.conf");
    assert!(dns.contains("10.77.0.1") && dns.contains("192.0.2.53"), "{dns}");
}

fn disks(guest: &Guest) {
    let size = |device: &str| guest.says(&format!("blockdev --getsize64 {device}")).parse::<u64>().unwrap();
    assert_eq!(size("/dev/vda"), 8 << 30);
    assert_eq!((size("/dev/vdb"), size("/dev/disk/by-id/virtio-vdb")), (2 << 30, 2 << 30));
    let by_id = guest.says("readlink -f /dev/disk/by-id/virtio-vdb /dev/disk/by-id/virtio-vdd");
    let real: Vec<&str> = by_id.lines().collect();
    assert_eq!(real[0], "/dev/vdb");
    assert_eq!(size("/dev/disk/by-id/virtio-vdd"), 3 << 30, "{by_id}");
    // The image's own file system has 3 GiB; it grew into the disk's 8.
    let root = guest.says("df --output=size -B1 / | tail -1").trim().parse::<u64>().unwrap();
    assert!((7 << 30..8 << 30).contains(&root), "/ has {root} bytes");
    // Trimmed blocks go back to the host.
    assert!(guest.says("lsblk -bndo DISC-MAX /dev/vda").trim().parse::<u64>().unwrap() > 0);
}

fn cloud_init(guest: &Guest) {
    // Its exit code is 2 for "done" with recoverable errors.
    let status = guest.tries("cloud-init status --long").exits(0);
    assert!(status.stdout.starts_with("status: done\n"), "{status:?}");
    let result = guest.says("cat /run/cloud-init/result.json");
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["v1"]["errors"], serde_json::json!([]));
    assert!(result["v1"]["datasource"].as_str().unwrap().contains("DataSourceNoCloud"), "{result}");
    let warnings = guest.says("grep -h WARNING /var/log/cloud-init.log || true");
    assert_eq!(warnings, "", "cloud-init warns");
    assert_eq!(
        guest.says("cat /etc/foundry-test; stat -c %a /etc/foundry-test"),
        format!("{TOKEN} & <it's>\n640")
    );
    assert_eq!(guest.says("cat /run/foundry-ran"), std::env::consts::ARCH);
    // The key that foundry made, and no other.
    assert_eq!(guest.says("ls /etc/ssh/ssh_host_*_key"), "/etc/ssh/ssh_host_ed25519_key");
    let shadow = guest.says("getent shadow root");
    assert_eq!(shadow.split(':').nth(1), Some(HASH));
    assert_eq!(guest.says("sshd -T | grep ^passwordauthentication"), "passwordauthentication no");
}

/// The seed as the guest's own kernel sees it.
fn seed(guest: &Guest, bed: &Bed, vm: &str) {
    guest.says("mkdir -p /mnt/seed && mount -o ro /dev/sr0 /mnt/seed");
    assert_eq!(guest.says("ls -A /mnt/seed"), "meta-data\nnetwork-config\nuser-data\nvendor-data");
    assert_eq!(guest.says("blkid -o value -s LABEL /dev/sr0"), "cidata");
    let user_data = guest.says("cat /mnt/seed/user-data");
    assert!(user_data.starts_with("#cloud-config\n") && user_data.contains(HASH), "{user_data}");
    let instance = bed.record(vm)["instanceId"].as_str().unwrap().to_owned();
    assert!(guest.says("cat /mnt/seed/meta-data").contains(&instance));
    assert_eq!(guest.says("cloud-init query instance_id"), instance);
    guest.says("umount /mnt/seed");
    let host_key = &bed.record(vm)["ssh"]["hostKeys"][0];
    assert_eq!(*host_key, serde_json::json!(guest.says("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")));
    assert_eq!(bed.record(vm)["ssh"]["user"], "root");
}

/// foundry's own ways into the guest, with the real ssh, scp and agent.
fn ssh_and_agent(guest: &Guest, bed: &Bed, vm: &str) {
    let key = bed.private_key();
    bed.foundry(&["ssh", vm, "-i", key, "--", "hostname"])
        .run()
        .exits(0)
        .prints(&format!("{vm}\n"))
        .tells("");
    let printf = ["--", "printf", "%s|", "a b", "$HOME", "it's"];
    let printed = "a b|$HOME|it's|";
    for way in [&["-i", key][..], &["--agent"]] {
        let exec = |command: &[&str]| bed.foundry(&[&["exec", vm], way, command].concat());
        exec(&printf).run().exits(0).prints(printed).tells("");
        exec(&["--", "sh", "-c", "cat; echo err >&2; exit 42"])
            .reads("in")
            .run()
            .exits(42)
            .prints("in")
            .tells("err\n");
        // More than libvirt passes on of an agent's answer.
        let large = exec(&["--", "head", "-c", "5000000", "/dev/zero"]).run().exits(0);
        assert_eq!(large.stdout.len(), 5_000_000, "{way:?}");
        exec(&["--", "no-such-program"]).run().exits(127);
    }
    assert_eq!(guest.says("ls -d /tmp/foundry-exec.* 2>/dev/null || true"), "");

    let file = bed.home().join("sent");
    let content: String = (0..400_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(&file, &content).unwrap();
    for (way, name) in [(&["-i", key][..], "by-ssh"), (&["--agent"], "by-agent")] {
        let cp = |from: &str, to: &str| bed.foundry(&[&["cp", from, to], way].concat()).run();
        let (there, back) = (format!("{vm}:/root/{name}"), format!("back-{name}"));
        cp("sent", &there).exits(0).prints("").tells("");
        cp(&there, &back).exits(0);
        assert!(std::fs::read_to_string(bed.home().join(&back)).unwrap() == content, "{name}");
    }
    bed.foundry(&["cp", "-r", "-i", key, &format!("{vm}:/etc/cloud"), "."]).run().exits(0);
    assert!(bed.home().join("cloud/cloud.cfg").exists());
    bed.foundry(&["cp", "--agent", &format!("{vm}:/no/such"), "."]).run().exits(4).has_code("FND-4323");

    // Without an SSH server the agent does it.
    bed.foundry(&["exec", vm, "--agent", "--", "systemctl", "stop", "ssh.socket", "ssh"]).run();
    bed.foundry(&["exec", vm, "--", "hostname"]).run().exits(0).prints(&format!("{vm}\n"));
    bed.foundry(&["exec", vm, "--", "systemctl", "start", "ssh"]).run().exits(0);
    guest.answers_within(Duration::from_secs(60));

    bed.virsh().does(&["domfsfreeze", vm]);
    let frozen = bed.foundry(&["exec", vm, "--agent", "--", "true"]).run();
    bed.virsh().does(&["domfsthaw", vm]);
    frozen.exits(4).has_code("FND-4323").mentions("frozen");
}

/// A read-only connection shows the metadata, so it must not hold what is in the seed.
fn secrets(bed: &Bed, manifest: &Manifest) {
    let vm = &manifest.name;
    let seen =
        program("virsh", &["-r", "-c", &environment("FOUNDRY_TEST_URI").unwrap(), "dumpxml", vm]).exits(0);
    let got = bed.foundry(&["get", vm, "-o", "yaml"]).run().exits(0);
    assert_eq!(
        got.stderr,
        "secrets omitted: spec.cloudInit.passwordHash, spec.cloudInit.userData; --with-secrets reads them from the seed volume\n"
    );
    for text in [&seen.stdout, &got.stdout, &got.stderr] {
        assert!(!text.contains("$6$") && !text.contains(TOKEN) && !text.contains("runcmd"), "{text}");
    }
    assert!(seen.stdout.contains(vm.as_str()) && got.stdout.contains("fqdn: "), "{}", got.stdout);

    let with = bed.foundry(&["get", vm, "-o", "yaml", "--with-secrets"]).run().exits(0).tells("");
    assert!(with.stdout.contains(HASH) && with.stdout.contains(TOKEN), "{}", with.stdout);
    // What it gives back makes the same machine, and the same seed.
    for what in ["domain", "user-data", "network-config", "meta-data"] {
        let render =
            |text: String| bed.foundry(&["render", "-", "--what", what]).reads(text).run().exits(0).stdout;
        assert_eq!(render(with.stdout.clone()), render(manifest.to_string()), "{what}");
    }
}

/// The guest is done with it: it needs none at its next boot, and keeps what it made of it.
fn the_seed_is_ejected(guest: &Guest, bed: &Bed, vm: &str) {
    guest.tries("cloud-init status --wait");
    let ran = bed.foundry(&["seed", "eject", vm]).run().exits(0);
    ran.prints(&format!("Successfully ejected the seed of VM '{vm}'\n"));
    assert_eq!(guest.says("ls /sys/block | grep ^sr || true"), "");
    assert!(!bed.disk(&format!("{vm}_cloudinit")).exists());
    let got = bed.foundry(&["get", vm, "-o", "yaml"]).run().exits(0);
    got.mentions("; the seed that held them was ejected; only the guest has them\n");
    if std::env::var_os("FOUNDRY_TEST_FULL").is_none() {
        return;
    }
    let kept =
        "cat /var/lib/cloud/data/instance-id /etc/ssh/ssh_host_ed25519_key.pub; ip -4 route show default";
    let before = guest.says(kept);
    reboots(guest);
    assert_eq!(guest.says(kept), before, "without its seed it is the same instance");
    println!("cloud-init without its seed: {}", guest.tries("cloud-init status --long").stdout);
}

fn boot_id(guest: &Guest) -> String {
    guest.says("cat /proc/sys/kernel/random/boot_id")
}

/// Reboots the guest, and waits until it is up again.
fn reboots(guest: &Guest) {
    let boot = boot_id(guest);
    guest.tries("systemctl reboot");
    let begun = Instant::now();
    loop {
        let now = guest.tries("cat /proc/sys/kernel/random/boot_id");
        if now.code == 0 && now.stdout.trim() != boot {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(240), "it does not come up again");
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("the reboot took {:?}", begun.elapsed());
}

/// Made while the agent has frozen the file systems, which it then thaws.
/// The restore starts the guest again, which is the same instance to cloud-init.
fn snapshot_is_consistent_and_restored(guest: &Guest, bed: &Bed, vm: &str) {
    let instance = || guest.says("cloud-init query instance_id; cat /etc/ssh/ssh_host_ed25519_key.pub");
    let (before, boot) = ((bed.record(vm)["instanceId"].clone(), instance()), boot_id(guest));
    let frozen = || {
        let asked = ["qemu-agent-command", vm, r#"{"execute":"guest-fsfreeze-status"}"#];
        bed.virsh().does(&asked).contains("frozen")
    };
    guest.says("echo before > /root/snapshot");
    let begun = Instant::now();
    let made = bed.foundry(&["snapshot", "create", vm, "before", "-vv"]).run().exits(0);
    println!("the snapshot was made in {:?}", begun.elapsed());
    made.mentions("were frozen meanwhile and are thawed");
    assert!(!frozen());
    // No sync: what was written is in the snapshot, because of the freeze.
    guest.says("echo after > /root/snapshot && sync");

    // Another program has frozen them: it is left to that one.
    bed.virsh().does(&["domfsfreeze", vm]);
    bed.foundry(&["snapshot", "create", vm]).run().exits(4).has_code("FND-4331").mentions("virsh domfsthaw");
    assert!(frozen());
    bed.virsh().does(&["domfsthaw", vm]);

    let restored = bed.foundry(&["snapshot", "restore", vm, "before", "--timeout", "2m"]).run().exits(0);
    restored.prints(&format!("virtualmachine/{vm} restored to before and started\n"));
    guest.answers_within(Duration::from_secs(300));
    assert_ne!(boot_id(guest), boot);
    guest.tries("cloud-init status --wait");
    let after = (bed.record(vm)["instanceId"].clone(), instance());
    assert_eq!(after, before, "a new instance would have made new host keys");
    assert_eq!(guest.says("ls /var/lib/cloud/instances | wc -l"), "1");
    assert_eq!(guest.says("cat /root/snapshot"), "before");
    bed.foundry(&["snapshot", "delete", vm, "before"]).run().exits(0);
    assert_eq!(guest.says("cat /root/snapshot"), "before");
    assert!(!bed.virsh().does(&["domblklist", vm]).contains("_boot."));
}

fn nothing_is_left(bed: &Bed, vm: &str) {
    let begun = Instant::now();
    let ran = bed.foundry(&["destroy", vm, "--timeout", "60s"]).run().exits(0);
    assert!(!ran.stderr.contains("warning"), "{ran:#?}");
    ran.prints(&format!("Successfully destroyed VM '{vm}'\n"));
    println!("it was destroyed in {:?}", begun.elapsed());
    assert_eq!(bed.traces(), []);
    bed.foundry(&["image", "info", "debian.qcow2"]).run().exits(0);
}

/// cloud-init in the copy sees another instance, and gives it its own host keys, name and addresses. The original is off
/// meanwhile: an emulated guest keeps one processor busy. That both run side by side is `clone.rs`'s.
fn copy_is_another_instance(guest: &Guest, bed: &Bed, old: &str) {
    let new = bed.name("copy");
    let addresses = ["10.77.0.187", "10.78.0.187"];
    addresses.iter().for_each(|address| bed.uses_address(address));
    let key = "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub";
    let own = ["cloud-init query instance_id", key, "ip -4 -o addr"];
    let of = |guest: &Guest| own.map(|command| guest.says(command));
    guest.says("echo kept-in-both >/root/word && sync");
    let (first, machine) = (of(guest), guest.says("cat /etc/machine-id"));
    bed.foundry(&["stop", old, "--timeout", "5m"]).run().exits(0);

    let begun = Instant::now();
    bed.foundry(&["clone", old, &new, "--ip", addresses[0], "--ip", addresses[1]]).run().exits(0);
    println!("copied and started after {:?}", begun.elapsed());
    bed.foundry(&["wait", &new, "--for=cloud-init", "--timeout", "20m"]).run().exits(0);
    let copy = bed.guest(addresses[0]);
    for (old, new) in first.iter().zip(of(&copy)) {
        assert_ne!(*old, new);
    }
    assert!(addresses.iter().all(|address| copy.says(own[2]).contains(&format!(" {address}/24 "))));
    assert_eq!(copy.says("cat /root/word"), "kept-in-both");
    assert_eq!(copy.says("hostname"), new);
    // The guide says so: what the image's own first boot made is the original's.
    assert_eq!(copy.says("cat /etc/machine-id"), machine);
    let known = |vm: &str| bed.record(vm)["ssh"]["hostKeys"][0].as_str().unwrap().to_owned();
    assert_eq!((known(old), known(&new)), (first[1].clone(), copy.says(key)));
    bed.foundry(&["ssh", "--identity", bed.private_key(), &new, "--", "true"]).run().exits(0);

    the_seed_is_ejected(&copy, bed, &new);
    bed.foundry(&["destroy", old, "--yes"]).run().exits(0);
    nothing_is_left(bed, &new);
}
