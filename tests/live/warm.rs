//! A warm image of a real guest, two VMs from it side by side, and foundry killed in the middle. One boot of some
//! minutes, so all of it is one test.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::live::{Bed, Manifest, environment, files_in};

/// No server of addresses answers on the tests' bridge, and without a word about that a guest waits two minutes for one.
const NETWORK: &str = "networkConfig: {version: 2, ethernets: {any: {match: {name: 'e*'}, optional: true, link-local: [ipv6]}}}";

fn interface(bed: &Bed) -> String {
    format!("{{bridge: {}}}", bed.bridge())
}

fn base(bed: &Bed) -> Manifest {
    let manifest = bed.manifest("base", 194).memory("0.75").boot_disk("{sizeGiB: 4, image: debian.qcow2}");
    let manifest = manifest.interfaces(&[&interface(bed)]).without_cloud_init();
    manifest.cloud_init(&format!("sshAuthorizedKeys: [{}]\n{NETWORK}", bed.public_key()))
}

/// A VM from the warm image.
fn warm(bed: &Bed, end: &str) -> Manifest {
    let manifest =
        bed.manifest(end, 195).memory("0.75").boot_disk(&format!("{{sizeGiB: 4, warm: {}}}", bed.name("ci")));
    manifest.interfaces(&[&interface(bed)]).without_cloud_init()
}

/// What a command prints in a guest.
fn said(bed: &Bed, vm: &str, command: &str) -> String {
    bed.foundry(&["exec", "--agent", vm, "--", "sh", "-c", command]).run().exits(0).stdout
}

/// The files of the image pool, but the base.
fn parts(bed: &Bed) -> Vec<String> {
    files_in(bed.storage().join("images"), &bed.name("ci"))
}

/// Starts a command and kills it after it has said that.
fn kill_after(bed: &Bed, line: &[&str], manifest: &Manifest, said: &str) {
    let mut started = bed.foundry(line).reads(manifest).start();
    assert!(started.until(|line| line.contains(said)), "{said}");
    started.signal("KILL");
    started.end();
}

/// A pool's VM from the warm image, with a pretended forge and job. A trial that was killed is taken back by the next.
fn a_pool_starts_from_it(bed: &Bed, image: &str) {
    let file = bed.home().join("pool.yaml");
    let spec = json!({
        "forge": {"command": {"register": ["/nowhere"], "list": ["/nowhere"], "unregister": ["/nowhere"]}},
        "labels": ["warm"],
        "size": {"max": 1},
        "guest": {"user": "root", "directory": "/tmp"},
        "template": {
            "vcpus": 1,
            "memoryGiB": 0.75,
            "bootDisk": {"sizeGiB": 4, "warm": image},
            "networkInterfaces": [{"bridge": bed.bridge()}],
        },
    });
    let pool = json!({"apiVersion": "foundry.cofront.xyz/v1alpha1", "kind": "RunnerPool",
        "metadata": {"name": "warm"}, "spec": spec});
    std::fs::write(&file, pool.to_string()).unwrap();
    let trial = ["runner", "try", file.to_str().unwrap()];
    let left = || -> Vec<Value> {
        let listed = bed.foundry(&["runner", "list", "try", "-o", "json"]).run().exits(0).stdout;
        serde_json::from_str(&listed).unwrap()
    };
    let mut killed = bed.foundry(&trial).start();
    let begun = Instant::now();
    while left().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    bed.foundry(&trial).run().exits(4).mentions("serves it");
    killed.signal("KILL");
    killed.end();
    let name = left()[0]["name"].as_str().unwrap().to_owned();
    let ran = bed.foundry(&trial).run().exits(0);
    for said in [&format!("destroy {name}"), "is busy", "it works: the guest answered after"] {
        assert!(ran.stderr.contains(said), "{said}: {ran:#?}");
    }
    assert!(left().is_empty());
}

#[test]
fn two_vms_from_one_warm_image_are_two_machines_and_leave_nothing() {
    let Some(image) = environment("FOUNDRY_TEST_DEBIAN") else { return };
    let Some(bed) = Bed::new("warm") else { return };
    bed.import(&image, "debian.qcow2");
    let does = |line: &[&str]| bed.foundry(line).run();
    let image = bed.name("ci");
    let make = ["image", "warm", &image, "--from", "-", "--timeout=15m"];

    // Killed while the guest boots: it runs, and is deleted all the same.
    kill_after(&bed, &make, &base(&bed), "Cloud-init ISO generated");
    std::thread::sleep(Duration::from_secs(2));
    does(&["gc", "--yes"]).exits(0);
    assert_eq!((bed.traces(), parts(&bed)), (vec![], vec![]));

    // Killed while the image is copied; the second run begins again. That is one more boot of minutes.
    if std::env::var_os("FOUNDRY_TEST_FULL").is_some() {
        kill_after(&bed, &make, &base(&bed), "qcow2.memory' copied");
        assert!(!parts(&bed).is_empty());
        let listed = does(&["gc", "--dry-run"]).exits(0).stdout;
        assert!(listed.contains("the making of the warm image was interrupted"), "{listed}");
    }
    bed.foundry(&make)
        .reads(base(&bed))
        .run()
        .exits(0)
        .prints(&format!("Successfully made warm image '{image}.qcow2'\n"));
    assert_eq!(parts(&bed), ["", ".memory", ".warm.json"].map(|end| format!("{image}.qcow2{end}")));
    assert_eq!(bed.traces(), []);
    let info: Value =
        serde_json::from_str(&does(&["image", "info", &image, "-o", "json"]).exits(0).stdout).unwrap();
    assert_eq!(info["warm"], "ready");

    // Killed in the middle of a warm start.
    let killed = warm(&bed, "killed");
    kill_after(&bed, &["create", "-"], &killed, "Storage created");
    std::thread::sleep(Duration::from_secs(2));
    does(&["gc", "--yes"]).exits(0);
    assert_eq!(bed.traces(), []);
    let begun = Instant::now();
    kill_after(&bed, &["create", "-"], &killed, "_memory' copied");
    does(&["destroy", &killed.name, "--yes"]).exits(0);
    assert_eq!(bed.traces(), [], "after {:?}", begun.elapsed());

    let (one, two) = (warm(&bed, "one"), warm(&bed, "two"));
    for manifest in [&one, &two] {
        let begun = Instant::now();
        bed.creates(manifest).mentions("✓ Guest has its own identity");
        println!("{} started after {:?}", manifest.name, begun.elapsed());
    }
    let ask = |command: &str| [&one, &two].map(|manifest| said(&bed, &manifest.name, command));
    assert_eq!(ask("hostname"), [&one, &two].map(|m| format!("{}\n", m.name.replace('_', "-"))));
    for (what, command) in [
        ("machine id", "cat /etc/machine-id"),
        ("SSH key", "cat /etc/ssh/ssh_host_ed25519_key.pub"),
        ("MAC address", "cat /sys/class/net/e*/address"),
        ("instance", "cat /var/lib/cloud/data/instance-id"),
        ("random numbers", "head -c 32 /dev/urandom | base64"),
    ] {
        let [first, second] = ask(command);
        assert!(!first.trim().is_empty() && first != second, "{what}: {first} {second}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for clock in ask("date +%s") {
        let clock: u64 = clock.trim().parse().unwrap();
        assert!(clock.abs_diff(now) < 20, "{clock} {now}");
    }
    assert_eq!(ask("ls /etc/ssh | grep -c '^ssh_host.*_key$'"), ["1\n", "1\n"]);
    assert_eq!(ask("cat /sys/class/net/e*/carrier"), ["1\n", "1\n"]);
    assert_eq!(ask("wc -l </root/.ssh/authorized_keys"), ["1\n", "1\n"]);
    let recorded = |m: &Manifest| bed.record(&m.name)["ssh"]["hostKeys"][0].as_str().unwrap().to_owned();
    let keys = ask("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    assert_eq!(keys, [recorded(&one), recorded(&two)].map(|key| format!("{key}\n")));

    a_pool_starts_from_it(&bed, &image);
    does(&["image", "delete", &image]).exits(5).has_code("FND-5103");
    for manifest in [&one, &two] {
        bed.foundry(&["diff", "-"]).reads(manifest).run().exits(0);
        does(&["destroy", &manifest.name, "--yes", "--force"]).exits(0);
    }
    assert_eq!(bed.traces(), []);
    does(&["image", "delete", &image]).exits(0);
    assert_eq!(parts(&bed), Vec::<String>::new());
}
