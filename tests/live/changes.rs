//! A manifest is compared with its VM and applied to it, on a real libvirtd with a real guest.

use std::time::Duration;

use crate::support::arena::{Chance, is_full};
use crate::support::live::{Bed, Guest, Manifest, Ran};
use foundry::host::libvirt_xml::DomainDescription;

/// The PCI addresses of a definition, each with the tag of its device, without those of its root ports.
fn addresses(definition: &str) -> Vec<(String, String)> {
    let document = roxmltree::Document::parse(definition).unwrap();
    let of_device = |node: roxmltree::Node<'_, '_>| {
        let device = node.parent_element().unwrap();
        let named = ["target", "mac"].iter().find_map(|tag| {
            let child = device.children().find(|c| c.has_tag_name(*tag))?;
            child.attribute("dev").or(child.attribute("address")).map(str::to_owned)
        });
        let index = device.attribute("index").unwrap_or_default();
        let place = ["bus", "slot", "function"].map(|part| node.attribute(part).unwrap_or_default());
        (format!("{} {}{index}", device.tag_name().name(), named.unwrap_or_default()), place.join(":"))
    };
    let is_pci =
        |n: &roxmltree::Node<'_, '_>| n.has_tag_name("address") && n.attribute("type") == Some("pci");
    document.descendants().filter(is_pci).map(of_device).collect()
}

fn apply(bed: &Bed, manifest: &Manifest) -> Ran {
    bed.foundry(&["apply", "-"]).reads(manifest).run().exits(0)
}

fn diff(bed: &Bed, manifest: &Manifest) -> Ran {
    bed.foundry(&["diff", "-", "-o", "json"]).reads(manifest).run()
}

/// The fields that differ, and whether all of them wait for a restart.
fn differing(ran: &Ran) -> (Vec<String>, bool) {
    let views: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let fields = views[0]["fields"].as_array().unwrap();
    let paths = fields.iter().map(|field| field["path"].as_str().unwrap().to_owned()).collect();
    (paths, fields.iter().all(|field| field["pending"] == true))
}

fn cpus(guest: &Guest) -> String {
    guest.says("grep -c ^processor /proc/cpuinfo")
}

/// Off, and on again.
fn restart(bed: &Bed, vm: &str) {
    bed.virsh().does(&["destroy", vm]);
    bed.virsh().does(&["start", vm]);
}

#[test]
fn a_running_guest_is_changed_and_keeps_its_addresses() {
    let Some(bed) = Bed::with_tiny("changes") else { return };
    let first = bed.manifest("web", 170).disk("vdb", 1);
    let vm = first.name.clone();
    let missing = diff(&bed, &first).exits(7);
    assert!(missing.stdout.contains("\"exists\": false"), "{missing:#?}");
    apply(&bed, &first).prints(&format!("virtualmachine/{vm} created\n"));
    diff(&bed, &first).exits(0).prints(&format!(
        "[\n  {{\n    \"name\": \"{vm}\",\n    \"exists\": true,\n    \"fields\": []\n  }}\n]\n"
    ));
    apply(&bed, &first).prints(&format!("virtualmachine/{vm} unchanged\n"));
    let guest = bed.guest(first.address());
    guest.answers_within(Duration::from_secs(180));
    let before = addresses(&bed.virsh().definition(&vm));

    // Five changes: two disks and a label at once, CPUs and memory when it starts next.
    let second =
        bed.manifest("web", 170).disk("vdb", 2).disk("vdc", 1).memory("0.375").vcpus(2).label("role", "db");
    let dry = bed.foundry(&["apply", "-", "--dry-run"]).reads(&second).run().exits(0);
    assert!(dry.stdout.contains("spec.vcpus: 1 to 2 at the next start"), "{dry:#?}");
    assert_eq!(differing(&diff(&bed, &first).exits(0)).0, [] as [&str; 0], "a dry run changes nothing");
    apply(&bed, &second)
        .prints(&format!("virtualmachine/{vm} configured (restart required: vcpus, memory)\n"));
    apply(&bed, &second)
        .prints(&format!("virtualmachine/{vm} unchanged (restart required: vcpus, memory)\n"));
    let (paths, pending) = differing(&diff(&bed, &second).exits(7));
    assert_eq!((paths, pending), (vec!["spec.vcpus".to_owned(), "spec.memoryGiB".to_owned()], true));
    assert_eq!(cpus(&guest), "1");
    let shown = bed.get(&vm);
    assert_eq!(shown["metadata"]["labels"]["role"], "db");
    let conditions = shown["status"]["conditions"].to_string();
    assert!(conditions.contains("RestartRequired") && !conditions.contains("Drifted"), "{conditions}");
    let wide = bed.foundry(&["list", "-o", "wide"]).run().exits(0).stdout;
    assert!(
        wide.lines().any(|l| l.starts_with(&vm) && l.contains("restart required: vcpus, memory")),
        "{wide}"
    );

    restart(&bed, &vm);
    let guest = bed.guest(first.address());
    guest.answers_within(Duration::from_secs(180));
    assert_eq!(cpus(&guest), "2");
    assert_eq!(differing(&diff(&bed, &second).exits(0)).0, [] as [&str; 0]);
    // Every device is where it was; the new disk is one more.
    let after = addresses(&bed.virsh().definition(&vm));
    let moved: Vec<_> = before.iter().filter(|old| !after.contains(old)).collect();
    assert!(moved.is_empty(), "{moved:?} are not in {after:?}");
    assert_eq!(after.len(), before.len() + 1);

    // What virsh changes is kept, and --force sets it back.
    bed.virsh().does(&["setvcpus", &vm, "1", "--config"]);
    let (paths, _) = differing(&diff(&bed, &second).exits(7));
    assert!(paths.contains(&"spec.vcpus".to_owned()), "{paths:?}");
    apply(&bed, &second).prints(&format!("virtualmachine/{vm} unchanged\n"));
    assert!(bed.get(&vm)["status"]["conditions"].to_string().contains("Drifted"));
    bed.foundry(&["apply", "-", "--force"]).reads(&second).run().exits(0);
    assert_eq!(differing(&diff(&bed, &second).exits(0)).0, [] as [&str; 0]);

    // An earlier manifest that cannot come back is refused as a whole.
    let refused = bed.foundry(&["apply", "-"]).reads(&first).run().exits(4);
    refused.has_code("FND-4020").mentions("spec.dataDisks[vdc]").mentions("nothing was changed");
    let history = bed.foundry(&["history", &vm]).run().exits(0).stdout;
    assert!(history.lines().count() > 2 && history.contains('@'), "{history}");
    bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

#[test]
fn room_to_grow_is_used_while_the_guest_runs() {
    let Some(bed) = Bed::with_tiny("room") else { return };
    let manifest =
        bed.manifest("web", 171).memory("0.25").spec("resources: {maxVcpus: 2, maxMemoryGiB: 0.5}");
    let vm = manifest.name.clone();
    bed.boots(&manifest);
    diff(&bed, &manifest).exits(0);
    let set = |pairs: &[&str]| bed.foundry(&[&["set", &vm], pairs].concat()).run().exits(0);
    set(&["vcpus=2", "memoryGiB=0.375"]).prints(&format!("virtualmachine/{vm} configured\n"));
    let info = bed.virsh().does(&["vcpucount", &vm, "--current", "--live"]);
    assert_eq!(info.trim(), "2");
    assert_eq!(
        bed.foundry(&["list", "-o", "wide"]).run().exits(0).stdout.matches("restart required").count(),
        0
    );
    set(&["vcpus=2"]).prints(&format!("virtualmachine/{vm} unchanged\n"));
    bed.foundry(&["label", &vm, "a=1", "b=2"]).run().exits(0);
    bed.foundry(&["label", &vm, "a-"]).run().exits(0);
    bed.foundry(&["annotate", &vm, "note=x y"]).run().exits(0);
    let shown = bed.get(&vm);
    assert_eq!(shown["metadata"]["labels"].to_string(), "{\"b\":\"2\"}");
    assert_eq!(shown["metadata"]["annotations"]["note"], "x y");
    // An editor that makes a mistake first, and sees it as a comment.
    let script = bed.home().join("editor.sh");
    let text = "#!/bin/sh\nif grep -q '^# error' \"$1\"; then sed -i 's/^  vcpus: .*/  vcpus: 1/' \"$1\"\n\
                else sed -i 's/^  vcpus: .*/  vcpus: 0/' \"$1\"; fi\n";
    std::fs::write(&script, text).unwrap();
    let editor = format!("sh {}", script.display());
    bed.foundry(&["edit", &vm])
        .env("EDITOR", &editor)
        .run()
        .exits(0)
        .prints(&format!("virtualmachine/{vm} configured (restart required: vcpus)\n"));
    bed.foundry(&["edit", &vm])
        .env("EDITOR", "true")
        .run()
        .exits(0)
        .prints(&format!("virtualmachine/{vm} unchanged\n"));
    // Revision 1 is what was created.
    bed.foundry(&["apply", &vm, "--to-revision", "1"]).run().exits(0);
    assert_eq!(differing(&diff(&bed, &manifest)).0, ["spec.vcpus"], "the running guest keeps its CPU");
    bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
}

#[test]
fn an_interface_moves_to_another_bridge_while_the_guest_runs() {
    let Some(bed) = Bed::with_tiny("moves") else { return };
    let manifest = bed.manifest("web", 172);
    let vm = manifest.name.clone();
    bed.creates(&manifest);
    let network = bed.name("net");
    let xml = bed.home().join("net.xml");
    let text = format!(
        "<network><name>{network}</name><bridge name='fdtmove0'/><ip address='10.78.9.1' netmask='255.255.255.0'/></network>"
    );
    std::fs::write(&xml, text).unwrap();
    bed.virsh().does(&["net-define", xml.to_str().unwrap()]);
    bed.virsh().does(&["net-start", &network]);
    let moved =
        manifest.to_string().replace(&format!("bridge: {}", bed.bridge()), &format!("network: {network}"));
    bed.foundry(&["apply", "-"])
        .reads(&moved)
        .run()
        .exits(0)
        .prints(&format!("virtualmachine/{vm} configured\n"));
    let live = bed.virsh().does(&["domiflist", &vm]);
    assert!(live.contains(&network) && !live.contains(bed.bridge()), "{live}");
    bed.foundry(&["diff", "-"]).reads(&moved).run().exits(0);
    bed.foundry(&["apply", "-"]).reads(&manifest).run().exits(0);
    assert!(bed.virsh().does(&["domiflist", &vm]).contains(bed.bridge()));
    bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
}

/// A directory is applied, and what has no manifest any more is pruned, of foundry's alone.
#[test]
fn a_directory_is_applied_and_pruned() {
    let Some(bed) = Bed::with_tiny("prune") else { return };
    let directory = bed.home().join("vms");
    std::fs::create_dir_all(directory.join("deeper")).unwrap();
    let (web, db) = (bed.manifest("web", 173).label("lab", "a"), bed.manifest("db", 174).label("lab", "a"));
    std::fs::write(directory.join("web.yaml"), web.to_string()).unwrap();
    std::fs::write(directory.join("deeper/db.yaml"), db.to_string()).unwrap();
    let line = |vm: &Manifest, word: &str| format!("virtualmachine/{} {word}\n", vm.name);
    bed.foundry(&["apply", "vms"]).run().exits(0).prints(&line(&web, "created"));
    let both = line(&db, "created") + &line(&web, "unchanged");
    bed.foundry(&["apply", "-R", "-f", "vms"]).run().exits(0).prints(&both);
    std::fs::remove_file(directory.join("deeper/db.yaml")).unwrap();
    let prune = ["apply", "-R", "vms", "--prune", "-l", "lab=a"];
    bed.foundry(&prune).run().exits(1).mentions("--yes");
    let dry = bed.foundry(&[&prune[..], &["--dry-run"]].concat()).run().exits(0);
    assert!(dry.stdout.contains("pruned (dry run)"), "{dry:#?}");
    bed.foundry(&[&prune[..], &["--yes"]].concat()).run().exits(0);
    assert_eq!(bed.virsh().names("list", &bed.name("")), std::slice::from_ref(&web.name));
    bed.foundry(&["destroy", &web.name, "--yes", "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A manifest whose numbers are drawn; a later one takes nothing away.
fn drawn(bed: &Bed, chance: &Chance, before: Option<(u64, u64)>) -> (Manifest, (u64, u64)) {
    let (least_disks, least_gib) = before.unwrap_or((0, 1));
    let (disks, gib) = (least_disks + chance.below(3 - least_disks), least_gib + chance.below(2));
    let mut vm =
        bed.manifest("pair", 175).boot_disk("{sizeGB: 1, empty: true}").spec("firmware: {type: bios}");
    vm = vm.vcpus(1 + u32::try_from(chance.below(2)).unwrap());
    vm = vm.memory(["0.0625", "0.1", "0.125"][usize::try_from(chance.below(3)).unwrap()]);
    if chance.below(2) == 0 {
        vm = vm.spec("resources: {maxVcpus: 3, maxMemoryGiB: 0.25}");
    }
    vm = vm.spec(&format!("autostart: {}", chance.below(2) == 0));
    let pxe = chance.below(2) == 0;
    let interface =
        format!("{{ip: 10.77.0.175/24, defaultRoute: false, bridge: {}, pxeBoot: {pxe}}}", bed.bridge());
    vm = vm.interfaces(&[&interface]).label("n", ["a", "b"][usize::try_from(chance.below(2)).unwrap()]);
    for device in ["vdb", "vdc", "vdd"].iter().take(usize::try_from(disks).unwrap()) {
        vm = vm.disk(device, u32::try_from(gib).unwrap());
    }
    (vm.without_cloud_init(), (disks, gib))
}

/// Both definitions, without what differs between two VMs of one manifest.
fn definitions(bed: &Bed, vm: &str) -> [DomainDescription; 2] {
    [bed.virsh().definition(vm), bed.virsh().does(&["dumpxml", vm])].map(|xml| {
        let mut read = DomainDescription::read(&xml).unwrap();
        read.uuid = None;
        read.record = None;
        read.disks.sort_by(|a, b| a.target.cmp(&b.target));
        // A disk of another domain id; the balloon moves by itself.
        read.current_memory = read.memory;
        read.mentions.paths.retain(|path| path.contains("/foundry-test-"));
        read.mentions.paths.retain(|path| !path.contains("/domain-") && !path.contains("/channel/"));
        read
    })
}

/// What was applied is what a creation makes, in both definitions.
#[test]
fn drawn_pairs_end_as_they_would_have_been_created() {
    let Some(bed) = Bed::with_tiny("pairs") else { return };
    let chance = Chance::seeded();
    for round in 0..if is_full() { 20 } else { 4 } {
        let (first, sizes) = drawn(&bed, &chance, None);
        let (second, _) = drawn(&bed, &chance, Some(sizes));
        let vm = first.name.clone();
        println!("{round}:\n{first}{second}");
        bed.creates(&first);
        assert_eq!(differing(&diff(&bed, &first).exits(0)).0, [] as [&str; 0]);
        apply(&bed, &second);
        let waiting = differing(&diff(&bed, &second));
        assert!(waiting.1, "{waiting:?}");
        let again = apply(&bed, &second).stdout;
        assert!(again.starts_with(&format!("virtualmachine/{vm} unchanged")), "{again}");
        restart(&bed, &vm);
        assert_eq!(differing(&diff(&bed, &second).exits(0)).0, [] as [&str; 0]);
        let applied = definitions(&bed, &vm);
        bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
        bed.creates(&second);
        assert_eq!(applied, definitions(&bed, &vm));
        bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
    }
    assert_eq!(bed.traces(), []);
}
