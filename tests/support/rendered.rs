//! Everything that a plan becomes, read back by others than those who wrote it. Fuzz targets use it, too.

use std::path::Path;

use foundry::cloud_init::{SeedFiles, build_seed_files, read_iso, write_iso};
use foundry::domain_xml::{self, DiskLocation, Placement, VirtType};
use foundry::manifest::VirtualMachine;
use foundry::operations::preflight::planned_volumes;
use foundry::operations::vm::console;
use foundry::plan::{Arch, UserData, VmPlan};
use foundry::record::split_secrets;
use foundry::storage_xml::{self, VolumeSpec};
use foundry::yaml::node::{Node, read_documents};
use roxmltree::Document;

/// What libvirt and cloud-init would be told.
pub(crate) struct Rendered {
    pub(crate) domain: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) seed: Option<SeedFiles>,
    /// What the domain's metadata would say of the manifest.
    pub(crate) record: String,
}

/// Renders a plan as `create` does, up to the digits of its UUID and the places of its pools.
pub(crate) fn rendered(plan: &VmPlan) -> Rendered {
    let record = format!("{{\"manifest\":{}}}", json(&split_secrets(&plan.manifest).0));
    let log = console::log_path("qemu:///system", plan.name.as_str());
    let placement = Placement {
        uuid: None,
        virt_type: VirtType::Kvm,
        arch: plan.arch.unwrap_or(Arch::X86_64),
        native: true,
        disks: sources(plan),
        console_log: log.as_deref(),
        record: Some(&record),
    };
    let domain = domain_xml::render_domain(plan, &placement).unwrap();
    let seed = plan.seed.as_ref().map(|seed| build_seed_files(plan, seed, "web-1").unwrap());
    let volumes = planned_volumes(plan).into_iter().map(|volume| {
        let (name, format) = (volume.name.to_string(), volume.format.as_str().to_owned());
        let backing = Some((format!("/pool/{name}"), format.clone()));
        let size = volume.capacity;
        storage_xml::render_volume(&VolumeSpec { name, format, capacity: size, allocation: size, backing })
            .unwrap()
    });
    Rendered { volumes: volumes.collect(), domain, seed, record }
}

/// The manifest as the record holds it.
fn json(manifest: &VirtualMachine) -> String {
    serde_json::to_string(manifest).unwrap()
}

/// The boot disk by pool and volume, the others by path.
fn sources(plan: &VmPlan) -> Vec<DiskLocation> {
    let names = planned_volumes(plan).into_iter().map(|volume| volume.name.to_string());
    let source = |(index, volume)| match index {
        0 => DiskLocation::Volume { pool: plan.pool.to_string(), volume },
        _ => DiskLocation::File(format!("/pool/{volume}")),
    };
    names.enumerate().map(source).collect()
}

/// The elements of an XML text with the names of their attributes, in its order.
pub(crate) fn shape(xml: &str) -> Vec<String> {
    let document = parsed(xml);
    let elements = document.descendants().filter(roxmltree::Node::is_element);
    elements
        .map(|element| {
            let depth = element.ancestors().count();
            let attributes: Vec<&str> = element.attributes().map(|a| a.name()).collect();
            format!("{depth} {} {}", element.tag_name().name(), attributes.join(" "))
        })
        .collect()
}

pub(crate) fn parsed(xml: &str) -> Document<'_> {
    Document::parse(xml).unwrap_or_else(|e| panic!("{e}\n{xml}"))
}

/// The values of an attribute of all elements with that name.
pub(crate) fn attributes(document: &Document<'_>, element: &str, attribute: &str) -> Vec<String> {
    let elements = document.descendants().filter(|node| node.has_tag_name(element));
    elements.filter_map(|node| node.attribute(attribute)).map(str::to_owned).collect()
}

/// What is true of every rendering, whatever the manifest was.
pub(crate) fn check(plan: &VmPlan, rendered: &Rendered) {
    let domain = parsed(&rendered.domain);
    let comment = |node: roxmltree::Node<'_, '_>| node.is_comment() || node.is_pi();
    assert!(!domain.descendants().any(comment), "{}", rendered.domain);
    let count = |name| domain.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!(count("disk"), planned_volumes(plan).len());
    assert_eq!(count("interface"), plan.interfaces.len());
    let name = domain.root_element().children().find(|node| node.has_tag_name("name"));
    assert_eq!(name.and_then(|node| node.text()), Some(plan.name.as_str()));
    let record = domain.descendants().find(|node| node.has_tag_name((NAMESPACE, "vm"))).unwrap();
    assert_eq!(record.text(), Some(rendered.record.as_str()));
    check_record(&rendered.record);
    check_places(plan, &domain);
    for xml in &rendered.volumes {
        let is_qcow2 = xml.contains("<target><format type=\"qcow2\"/>");
        let elements: Vec<_> = VOLUME.into_iter().filter(|line| is_qcow2 || *line != COMPAT).collect();
        assert_eq!(shape(xml), elements, "{xml}");
    }
    if let Some(seed) = &rendered.seed {
        check_seed(plan, seed);
    }
}

const NAMESPACE: &str = "http://foundry.cofront.xyz/v1alpha1";

/// The version of qcow2.
const COMPAT: &str = "4 compat ";

/// A volume with a backing file.
const VOLUME: [&str; 12] = [
    "2 volume ",
    "3 name ",
    "3 capacity unit",
    "3 allocation unit",
    "3 target ",
    "4 format type",
    "4 permissions ",
    "5 mode ",
    COMPAT,
    "3 backingStore ",
    "4 path ",
    "4 format type",
];

/// The record has a cloudInit without what is secret in it.
fn check_record(text: &str) {
    let record: serde_json::Value = serde_json::from_str(text).unwrap();
    for secret in ["passwordHash", "userData", "rawUserData", "networkConfig"] {
        assert_eq!(record["manifest"]["spec"]["cloudInit"].get(secret), None, "{text}");
    }
}

/// No path leaves its directory, and no name is one.
fn check_places(plan: &VmPlan, domain: &Document<'_>) {
    let safe = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['/', '\0', '\n']);
    for path in attributes(domain, "source", "file") {
        assert_eq!(Path::new(&path).parent(), Some(Path::new("/pool")), "{path:?}");
        assert!(safe(&path["/pool/".len()..]), "{path:?}");
    }
    let names = [attributes(domain, "source", "pool"), attributes(domain, "source", "volume")].concat();
    assert!(names.iter().all(|name| safe(name)), "{names:?}");
    for log in attributes(domain, "log", "file") {
        assert_eq!(log, format!("/var/log/libvirt/qemu/{}-console.log", plan.name));
    }
    // Of this libvirt makes the path of the NVRAM file, and libvirt's own logs.
    assert!(safe(plan.name.as_str()) && plan.name.as_str().bytes().all(|b| b.is_ascii_graphic()));
}

/// The three files.
fn check_seed(plan: &VmPlan, seed: &SeedFiles) {
    let meta = mapping_of(&seed.meta_data);
    let label = plan.seed.as_ref().map(|s| s.hostname.as_str());
    assert_eq!(meta.get("local-hostname").and_then(Node::as_text), label);
    assert_eq!(meta.as_mapping().unwrap().iter().count(), 2);
    let network = mapping_of(&seed.network_config);
    match plan.seed.as_ref().and_then(|s| s.network_config.as_ref()) {
        Some(own) => assert_eq!(&seed.network_config, own),
        None => {
            let interfaces = network.get("ethernets").and_then(Node::as_mapping).unwrap().iter().count();
            assert_eq!(interfaces, plan.interfaces.len());
        }
    }
    match plan.seed.as_ref().map(|s| &s.user_data) {
        Some(UserData::Raw(text)) => assert_eq!(&seed.user_data, text),
        _ => check_cloud_config(&seed.user_data),
    }
}

/// The image of the seed holds the three files as they are.
pub(crate) fn check_image(rendered: &Rendered) {
    let Some(seed) = &rendered.seed else { return };
    let image = write_iso(seed).unwrap();
    assert!(image.len() < 64 * 2048 + seed.user_data.len(), "{} bytes", image.len());
    assert_eq!(read_iso(&image).as_ref(), Ok(seed));
}

/// It is one mapping, and the same once it is written again.
fn check_cloud_config(text: &str) {
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    let config = mapping_of(text);
    assert_eq!(mapping_of(&config.to_yaml()), config, "{text}");
    assert!(config.get("users").and_then(Node::as_sequence).is_some(), "{text}");
}

fn mapping_of(text: &str) -> Node {
    let mut documents = read_documents(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(documents.len() == 1 && documents[0].as_mapping().is_some(), "{text}");
    documents.remove(0)
}
