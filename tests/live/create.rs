//! `foundry create` on a real libvirtd: what a VM is once it is made, with guests that boot in seconds.

use std::os::unix::fs::MetadataExt;

use crate::support::live::{Bed, program};

/// Without what is new for each VM: its UUID, its generation id, and the record, in which are the time and
/// the maker.
fn without_identity(xml: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in xml.lines() {
        inside |= line.contains("<metadata>");
        if !inside && !line.contains("<uuid>") && !line.contains("<genid>") {
            lines.push(line);
        }
        inside &= !line.contains("</metadata>");
    }
    lines.join("\n")
}

#[track_caller]
fn validate(bed: &Bed, xml: &str) {
    let file = bed.home().join("domain.xml");
    std::fs::write(&file, xml).unwrap();
    program("virt-xml-validate", &[file.to_str().unwrap(), "domain"]).exits(0);
}

/// Seconds of a wait, which differ from run to run.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once(" after ") {
        Some((before, after)) if after.ends_with(" s") => format!("{before} after N s"),
        _ => line.to_owned(),
    };
    text.lines().map(|l| line(l) + "\n").collect()
}

#[test]
fn a_created_vm_answers_and_is_what_the_dry_run_said() {
    let Some(bed) = Bed::with_tiny("whole") else { return };
    let manifest = bed.manifest("web", 10).disk("vdb", 2).spec("autostart: true");
    let vm = &manifest.name;

    let dry =
        bed.foundry(&["create", "-", "--dry-run", "-o", "xml"]).reads(&manifest).run().exits(0).tells("");
    assert_eq!(bed.traces(), [], "a dry run makes nothing");
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), [bed.image_pool()], "nor a pool");
    validate(&bed, &dry.stdout);
    // Defined by hand, it is what libvirt makes of it.
    bed.virsh().defines("define", &dry.stdout);
    let by_hand = bed.virsh().definition(vm);
    bed.virsh().does(&["undefine", vm, "--nvram"]);

    let made = bed.foundry(&["create", "-", "--wait", "--timeout=3m"]).reads(&manifest).run().exits(0);
    assert_eq!(made.stdout, format!("Successfully created VM '{vm}'\n"));
    assert_eq!(
        without_times(&made.stderr),
        format!(
            "Creating VM '{vm}'...\n✓ Configuration validated\n✓ Domain defined\n✓ Storage created (1 GiB boot + 2 GiB data)\n\
             ✓ Cloud-init ISO generated\n✓ VM started\n✓ SSH answers after N s\nVM '{vm}' is ready: 10.77.0.10\n"
        )
    );

    let guest = bed.guest("10.77.0.10");
    assert_eq!(guest.says("hostname"), *vm);
    assert_eq!(guest.says("cat /sys/block/vda/size"), (1u64 << 21).to_string());
    assert_eq!(guest.says("cat /sys/block/vdb/size"), (2u64 << 21).to_string());
    assert!(guest.says("ip -4 addr show eth0").contains("inet 10.77.0.10/24"));
    assert_eq!(guest.says("cat /sys/class/net/eth0/address"), "be:ef:0a:4d:00:0a");
    assert!(std::path::Path::new("/sys/class/net").join(manifest.tap()).exists());

    let defined = bed.virsh().definition(vm);
    validate(&bed, &defined);
    assert_eq!(without_identity(&defined), without_identity(&by_hand));
    let info = bed.virsh().does(&["dominfo", vm]);
    assert!(info.lines().any(|l| l.split_whitespace().eq(["Autostart:", "enable"])), "{info}");

    let list = bed.foundry(&["list", "--no-headers"]).run().exits(0).tells("");
    let row = list.stdout.lines().find(|l| l.starts_with(vm.as_str())).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..6], [vm, "running", "1", "256", "MiB", "10.77.0.10"]);
    assert!(cells[6].ends_with('s') && cells[7] == "yes", "{row}");
    let got = bed.get(vm);
    assert_eq!(got["status"]["phase"], "Running");
    assert_eq!(got["status"]["conditions"][0]["status"], "True");
    assert_eq!(got["status"]["addresses"][0]["address"], "10.77.0.10");
    assert_eq!(got["spec"]["dataDisks"][0]["device"], "vdb");
}

#[test]
fn volumes_are_thin_private_and_know_what_they_lie_on() {
    let Some(bed) = Bed::with_tiny("vols") else { return };
    let manifest = bed.manifest("web", 11).disk("vdb", 100).disk("vdz", 3);
    bed.creates(&manifest);
    let vm = &manifest.name;
    let volumes = [
        (format!("{vm}_boot"), "qcow2", 1u64 << 30),
        (format!("{vm}_cloudinit"), "raw", 0),
        (format!("{vm}_data-vdb"), "qcow2", 100 << 30),
        (format!("{vm}_data-vdz"), "qcow2", 3 << 30),
    ];
    assert_eq!(bed.virsh().volumes(&bed.vm_pool()), volumes.each_ref().map(|v| v.0.clone()));
    for (name, format, capacity) in &volumes {
        let file = std::fs::metadata(bed.disk(name)).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
        let info =
            program("qemu-img", &["info", "-U", "--output=json", bed.disk(name).to_str().unwrap()]).exits(0);
        let info: serde_json::Value = serde_json::from_str(&info.stdout).unwrap();
        assert_eq!(info["format"], *format, "{name}");
        if *capacity > 0 {
            assert_eq!(info["virtual-size"], *capacity, "{name}");
            assert!(file.blocks() * 512 < 2 << 20, "{name} takes {} blocks at once", file.blocks());
        } else {
            // The first foundry's seeds took 1 GiB each.
            assert!(
                file.len() < 512 << 10 && file.blocks() * 512 <= file.len() + 4096,
                "{name}: {} bytes",
                file.len()
            );
        }
    }
    let info =
        program("qemu-img", &["info", "-U", "--output=json", bed.disk(&volumes[0].0).to_str().unwrap()]);
    let info: serde_json::Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["backing-filename"], bed.image("tiny.qcow2").to_str().unwrap());
    assert_eq!(info["backing-filename-format"], "qcow2");
    let seed = bed.disk(&volumes[1].0);
    let label = program("blkid", &["-p", "-o", "value", "-s", "LABEL", seed.to_str().unwrap()]).exits(0);
    assert_eq!(label.stdout, "cidata\n");
    // The record names exactly these, and nothing else is ever deleted with the VM.
    let record = bed.record(vm);
    let mut recorded: Vec<&str> =
        record["volumes"].as_array().unwrap().iter().filter_map(|v| v["name"].as_str()).collect();
    recorded.sort_unstable();
    assert_eq!(recorded, volumes.each_ref().map(|v| v.0.as_str()));
    assert_eq!(record["state"], "created");
}

/// The first foundry wrote its manifest unescaped into the XML and with flags 0: `&` and `<` broke it, `>`
/// came back as `&gt;`, and the first power-off lost all of it.
#[test]
fn every_character_of_a_manifest_survives_a_power_off() {
    let Some(bed) = Bed::with_tiny("chars") else { return };
    let nasty = r#"a && b < c > d "e" 'f' ]]> &amp; \u0041 %s ${x} ä€𝄞"#;
    let user_data = "userData: |\n  #cloud-config\n  runcmd:\n    - |\n      cat >/x <<EOF && echo \"a\" 'b' & < >\n      ]]>&lt;\n      EOF\n";
    let manifest = bed
        .manifest("web", 12)
        .metadata(&format!("annotations: {{note: {}}}", serde_json::to_string(nasty).unwrap()))
        .metadata("labels: {\"role\": \"a&b<c>\"}")
        .cloud_init(user_data);
    bed.creates(&manifest);
    let vm = &manifest.name;
    let before = bed.get(vm);
    assert_eq!(before["metadata"]["annotations"]["note"], nasty);
    assert_eq!(before["metadata"]["labels"]["role"], "a&b<c>");
    let (record, secrets) =
        (bed.record(vm), bed.foundry(&["get", vm, "--with-secrets", "-o", "json"]).run().exits(0));
    let secrets: serde_json::Value = serde_json::from_str(&secrets.stdout).unwrap();
    let text = secrets["spec"]["cloudInit"]["userData"].as_str().unwrap();
    assert!(text.contains("cat >/x <<EOF && echo \"a\" 'b' & < >\n"), "{text}");

    bed.virsh().does(&["destroy", vm]);
    assert_eq!(bed.get(vm)["status"]["phase"], "Stopped");
    bed.virsh().does(&["start", vm]);

    let after = bed.get(vm);
    assert_eq!(after["metadata"], before["metadata"]);
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["status"]["phase"], "Running");
    assert_eq!(bed.record(vm), record, "the instance-id with it: the guest is still the same one");
}

/// An image is what its header says, not what it is called: cloud images named .img are qcow2.
#[test]
fn a_qcow2_image_called_img_boots() {
    let Some(bed) = Bed::with_tiny("img") else { return };
    std::fs::copy(bed.tiny(), bed.image("cloud.img")).unwrap();
    bed.foundry(&["pool", "refresh", &bed.image_pool()]).run().exits(0);
    let manifest = bed.manifest("web", 13).boot_disk("{sizeGB: 1, image: cloud.img}");
    let guest = bed.boots(&manifest);
    assert_eq!(guest.says("hostname"), manifest.name);
    let boot = bed.disk(&format!("{}_boot", manifest.name));
    let info = program("qemu-img", &["info", "-U", "--output=json", boot.to_str().unwrap()]).exits(0);
    assert!(info.stdout.contains("\"backing-filename-format\": \"qcow2\""), "{}", info.stdout);
}

#[test]
fn a_raw_boot_disk_is_a_copy_of_the_image_and_boots() {
    let Some(bed) = Bed::with_tiny("raw") else { return };
    let manifest = bed.manifest("web", 14).boot_disk("{sizeGB: 1, image: tiny.qcow2, format: raw}");
    let guest = bed.boots(&manifest);
    assert_eq!(guest.says("cat /sys/block/vda/size"), (1u64 << 21).to_string());
    let boot = bed.disk(&format!("{}_boot", manifest.name));
    let file = std::fs::metadata(&boot).unwrap();
    assert_eq!((file.len(), file.mode() & 0o777), (1 << 30, 0o600));
    assert!(file.blocks() * 512 < 200 << 20, "it is sparse: {} blocks", file.blocks());
    let info =
        program("qemu-img", &["info", "-U", "-f", "raw", "--output=json", boot.to_str().unwrap()]).exits(0);
    assert!(!info.stdout.contains("backing"), "{}", info.stdout);
    // Nothing lies on the image any more.
    bed.foundry(&["image", "delete", "tiny.qcow2"]).run().exits(0);
}

#[test]
fn an_empty_boot_disk_and_no_seed() {
    let Some(bed) = Bed::new("empty") else { return };
    let manifest = bed.manifest("web", 15).boot_disk("{sizeGB: 1, empty: true}").without_cloud_init();
    let made = bed.creates(&manifest);
    let vm = &manifest.name;
    made.tells(&format!(
        "Creating VM '{vm}'...\n✓ Configuration validated\n✓ Domain defined\n✓ Storage created (1 GiB boot)\n✓ VM started\n"
    ));
    assert_eq!(bed.virsh().volumes(&bed.vm_pool()), [format!("{vm}_boot")]);
    let info =
        program("qemu-img", &["info", "-U", bed.disk(&format!("{vm}_boot")).to_str().unwrap()]).exits(0);
    assert!(
        info.stdout.contains("file format: qcow2") && !info.stdout.contains("backing"),
        "{}",
        info.stdout
    );
    // The firmware finds nothing to boot and stays: `--wait` gives up, and the VM stays too.
    let got = bed.get(vm);
    assert_eq!(got["status"]["phase"], "Running");
    assert_eq!(got["spec"]["cloudInit"], serde_json::Value::Null);
}

/// The first foundry told libvirt to build its pools, which gave an existing directory to QEMU's user.
#[test]
fn default_pools_are_made_on_first_use_and_stay_and_a_directory_keeps_its_owner() {
    let Some(bed) = Bed::with_tiny("pools") else { return };
    let directory = bed.storage().join("vms");
    std::fs::create_dir_all(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(4321), Some(4322)).unwrap();
    program("chmod", &["0751", directory.to_str().unwrap()]).exits(0);
    let owner_and_mode = |path: &std::path::Path| {
        let of = std::fs::metadata(path).unwrap();
        (of.uid(), of.gid(), of.mode() & 0o7777)
    };
    let manifest = bed.manifest("web", 16);
    bed.creates(&manifest);
    assert_eq!(owner_and_mode(&directory), (4321, 4322, 0o751));
    let pool = bed.virsh().does(&["pool-info", &bed.vm_pool()]);
    for line in [["State:", "running"], ["Persistent:", "yes"], ["Autostart:", "yes"]] {
        assert!(pool.lines().any(|l| l.split_whitespace().eq(line)), "{pool}");
    }
    bed.foundry(&["destroy", &manifest.name]).run().exits(0);
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), [bed.image_pool(), bed.vm_pool()]);
    assert_eq!(owner_and_mode(&directory), (4321, 4322, 0o751));

    // One that was stopped is started again.
    bed.virsh().does(&["pool-destroy", &bed.vm_pool()]);
    bed.creates(&manifest);
    assert_eq!(bed.get(&manifest.name)["status"]["phase"], "Running");
}
