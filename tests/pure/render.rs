//! What foundry would tell libvirt and cloud-init, for each example: in snapshots, and valid by libvirt's own
//! schema.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test --test pure render`, and read the difference.
// The machine's architecture is in what is rendered.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::bench::{Bench, GIB};
use crate::support::command::{run, skip_without};
use crate::support::deadline::CommandInTime as _;
use foundry::host::memory::MemoryHost;
use foundry::manifest;
use foundry::operations::Settings;
use foundry::operations::vm::create::dry_run;
use foundry::plan::{BootSource, ImageRef, VmPlan};

/// The one example that is rendered for QEMU's translator too: what differs is the same in all.
const ALSO_QEMU: &str = "simple-vm";

fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("examples").unwrap();
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    files
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

fn render(file: &Path, what: &str, virt_type: &str) -> String {
    let ran = run(&["render", file.to_str().unwrap(), "--what", what, "--virt-type", virt_type]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", file.display());
    ran.stdout
}

fn assert_rendered(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../data/render", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name.to_owned(), text);
    });
}

#[test]
fn every_example_renders_as_it_did() {
    for file in examples() {
        assert_rendered(&stem(&file), &render(&file, "all", "kvm"));
        if stem(&file) == ALSO_QEMU {
            assert_rendered(&format!("{}-qemu", stem(&file)), &render(&file, "all", "qemu"));
        }
    }
}

/// A snapshot without an example is one that no test looks at.
#[test]
fn every_snapshot_has_its_example() {
    let snapshots = std::fs::read_dir("tests/data/render").unwrap().map(|e| stem(&e.unwrap().path()));
    let snapshots: BTreeSet<String> = snapshots.collect();
    let mut wanted: BTreeSet<String> = examples().iter().map(|f| stem(f)).collect();
    wanted.insert(format!("{ALSO_QEMU}-qemu"));
    assert_eq!(snapshots, wanted);
}

/// Renderings are compared over machines and days.
#[test]
fn a_rendering_is_the_same_each_time() {
    let reference = Path::new("examples/reference-vm.yaml");
    assert_eq!(render(reference, "all", "kvm"), render(reference, "all", "kvm"));
    assert_eq!(render(reference, "all", "kvm"), render(reference, "all", "auto"), "auto means kvm here");
}

#[test]
fn the_parts_are_those_of_the_whole() {
    let reference = Path::new("examples/reference-vm.yaml");
    let mut whole = String::new();
    for part in ["domain", "volumes", "user-data", "meta-data", "network-config"] {
        whole.push_str(&format!("### {part}\n{}\n", render(reference, part, "kvm")));
    }
    assert_eq!(whole, render(reference, "all", "kvm"));
}

/// `None` where the tool is missing and nobody requires it.
fn validate(xml: &str, what: &str) -> Option<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("domain.xml");
    std::fs::write(&file, xml).unwrap();
    let Ok(done) = Command::new("virt-xml-validate").arg(&file).arg("domain").output_in_time() else {
        skip_without("virt-xml-validate", "libvirt-clients");
        return None;
    };
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{what}: {told}\n{xml}");
    Some(())
}

#[test]
fn every_rendered_domain_is_valid() {
    for file in examples() {
        for virt_type in ["kvm", "qemu"] {
            let xml = render(&file, "domain", virt_type);
            if validate(&xml, &format!("{} {virt_type}", file.display())).is_none() {
                return;
            }
        }
    }
}

/// Each line is a volume that libvirt takes, or says what only the host knows.
#[test]
fn every_rendered_volume_is_xml_without_a_guess() {
    for file in examples() {
        let text = render(&file, "volumes", "kvm");
        assert!(!text.contains("backingStore"), "{text}");
        for line in text.lines() {
            let document = roxmltree::Document::parse(line.trim_start_matches("<!--"));
            let comment =
                line.starts_with("<!-- backing: image ") || line.starts_with("<!-- content: image ");
            assert!(comment || document.is_ok(), "{}: {line}", file.display());
        }
        roxmltree::Document::parse(&format!("<all>{text}</all>")).unwrap();
    }
}

/// The validation can fail: an element that libvirt would drop without a word.
#[test]
fn an_invalid_domain_is_noticed() {
    let xml = render(Path::new("examples/simple-vm.yaml"), "domain", "kvm")
        .replace("<devices>", "<devices><gizmo/>");
    let noticed = std::panic::catch_unwind(|| validate(&xml, "spoilt"));
    assert!(!matches!(noticed, Ok(Some(()))), "an unknown element passed");
}

/// A host on which the plan can be made, whatever it asks for.
fn host_for(plan: &VmPlan) -> Bench {
    let host = MemoryHost::new().with_pool(plan.pool.as_str(), "/pool/vms").with_network("default", true);
    Bench::on(match &plan.boot_disk.source {
        BootSource::Image(ImageRef::Volume { pool, volume }) => {
            host.with_image(pool.as_str(), volume.as_str(), "qcow2", GIB)
        }
        BootSource::Image(ImageRef::Path(_)) | BootSource::Empty => host,
    })
}

/// What a creation defines has more in it than a rendering: the UUID, the record, the paths.
#[test]
fn every_definition_is_valid_too() {
    for file in examples() {
        for manifest in manifest::load_file(&file).unwrap() {
            let plan = VmPlan::from_manifest(&manifest, &Settings::default().defaults(None)).unwrap();
            // That needs a warm image with its memory: `tests/pure/warm.rs` has one.
            if plan.warm.is_some() {
                continue;
            }
            let xml = dry_run(&host_for(&plan).context(), &plan).unwrap().domain_xml;
            assert!(xml.contains("<uuid>") && xml.contains("creating"), "{xml}");
            if validate(&xml, &file.display().to_string()).is_none() {
                return;
            }
        }
    }
}
