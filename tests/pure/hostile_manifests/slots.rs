//! Manifests in which every text has a place, and where each text must be found again.

use foundry::yaml::node::{Node, read_documents};
use roxmltree::Document;
use serde_json::{Value, json};

use crate::support::rendered::{Rendered, attributes, parsed};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD ";
const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Where a text stands in a manifest.
pub(crate) struct Slot {
    /// The place, as a JSON pointer (RFC 6901).
    at: &'static str,
    /// Whether the text is a key of the mapping there.
    is_key: bool,
    /// What stands before and after it in the same value.
    around: (&'static str, &'static str),
    home: Home,
}

/// Where the text is in what is rendered.
enum Home {
    /// In the record only.
    Record,
    /// In the record and in an attribute of the domain's XML.
    Attribute(&'static str, &'static str),
    /// In the user-data at another pointer, and nowhere in libvirt.
    UserData(&'static str),
    /// In the network-config at another pointer, and nowhere in libvirt.
    NetworkConfig(&'static str),
    /// In the user-data and in the record.
    Both(&'static str),
    /// In a text that is a document of its own.
    Document,
}

const fn slot(at: &'static str, home: Home) -> Slot {
    Slot { at, is_key: false, around: ("", ""), home }
}

const fn key(at: &'static str, home: Home) -> Slot {
    Slot { at, is_key: true, around: ("", ""), home }
}

const fn within(at: &'static str, around: (&'static str, &'static str), home: Home) -> Slot {
    Slot { at, is_key: false, around, home }
}

/// The texts of all manifests.
const COMMON: [Slot; 12] = [
    slot("/metadata/name", Home::Record),
    slot("/metadata/labels/role", Home::Record),
    key("/metadata/labels", Home::Record),
    slot("/metadata/annotations/note", Home::Record),
    key("/metadata/annotations", Home::Record),
    slot("/spec/bootDisk/image", Home::Record),
    slot("/spec/storagePool", Home::Attribute("source", "pool")),
    slot("/spec/dataDisks/0/serial", Home::Record),
    slot("/spec/networkInterfaces/0/bridge", Home::Attribute("source", "bridge")),
    slot("/spec/networkInterfaces/1/network", Home::Attribute("source", "network")),
    slot("/spec/networkInterfaces/0/ip", Home::Record),
    within("/spec/cloudInit/sshAuthorizedKeys/0", (KEY, ""), Home::Both("/users/0/ssh_authorized_keys/0")),
];

/// Of a manifest whose user-data is merged.
const MERGED: [Slot; 9] = [
    slot("/spec/cloudInit/fqdn", Home::Both("/fqdn")),
    slot("/spec/bootDisk/imagePool", Home::Record),
    within("/spec/cloudInit/passwordHash", ("$6$", HASH), Home::UserData("/chpasswd/users/0/password")),
    within("/spec/cloudInit/passwordHash", ("$y$", ""), Home::UserData("/chpasswd/users/0/password")),
    slot("/spec/cloudInit/userData/bootcmd/0", Home::UserData("/bootcmd/0")),
    slot("/spec/cloudInit/userData/write_files/0/content", Home::UserData("/write_files/0/content")),
    slot("/spec/cloudInit/userData/write_files/0/path", Home::UserData("/write_files/0/path")),
    key("/spec/cloudInit/userData/own", Home::UserData("/own")),
    slot("/spec/cloudInit/userData/own/word", Home::UserData("/own/word")),
];

/// Of one whose user-data is another text.
const RAW: [Slot; 4] = [
    within("/spec/bootDisk/image", ("/srv/", ".qcow2"), Home::Record),
    within("/spec/cloudInit/rawUserData", ("#!/bin/sh\n", ""), Home::Document),
    within("/spec/cloudInit/rawUserData", ("#cloud-config\na: ", "\n"), Home::Document),
    slot("/spec/cloudInit/rawUserData", Home::Document),
];

/// Of one whose user-data is YAML as text, and whose network-config is its own.
const TEXT: [Slot; 5] = [
    slot("/spec/cloudInit/networkConfig/ethernets/uplink/own", Home::NetworkConfig("/ethernets/uplink/own")),
    key("/spec/cloudInit/networkConfig/ethernets", Home::NetworkConfig("/ethernets")),
    slot("/spec/networkInterfaces/0/searchDomains/0", Home::Document),
    within("/spec/cloudInit/userData", ("own: ", "\n"), Home::Document),
    slot("/spec/cloudInit/userData", Home::Document),
];

/// How many manifests there are.
pub(crate) const TEMPLATES: usize = 3;

/// A manifest with harmless words.
pub(crate) fn template(number: usize) -> Value {
    let mut manifest = json!({
        "apiVersion": "foundry.cofront.xyz/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": { "name": "web", "labels": { "role": "word" }, "annotations": { "note": "word" } },
        "spec": {
            "vcpus": 1, "memoryGiB": 0.5, "arch": "x86_64",
            "bootDisk": { "sizeGB": 5, "image": "word" },
            "dataDisks": [{ "device": "vdb", "sizeGB": 1, "format": "raw", "serial": "word" }],
            "networkInterfaces": [{ "ip": "10.0.0.5/24", "gateway": "10.0.0.1", "bridge": "br0" }, { "network": "word" }],
            "storagePool": "word",
            "cloudInit": { "sshAuthorizedKeys": [format!("{KEY}word")] },
        },
    });
    let cloud_init = &mut manifest["spec"]["cloudInit"];
    match number {
        0 => {
            cloud_init["fqdn"] = "web.example.com".into();
            cloud_init["passwordHash"] = format!("$6$salt${HASH}").into();
            let file = json!({ "path": "/word", "content": "word" });
            cloud_init["userData"] =
                json!({ "bootcmd": ["word"], "write_files": [file], "own": { "word": "word" } });
            manifest["spec"]["bootDisk"]["imagePool"] = "word".into();
        }
        1 => cloud_init["rawUserData"] = "#!/bin/sh\nword".into(),
        _ => {
            cloud_init["userData"] = "own: word\n".into();
            let uplink = json!({ "match": { "macaddress": "be:ef:0a:00:00:05" }, "own": "word" });
            cloud_init["networkConfig"] = json!({ "version": 2, "ethernets": { "uplink": uplink } });
            manifest["spec"]["networkInterfaces"][0]["searchDomains"] = json!(["example.com"]);
        }
    }
    manifest
}

/// The places of texts in a template.
pub(crate) fn slots(number: usize) -> impl Iterator<Item = &'static Slot> {
    let own: &[Slot] = [MERGED.as_slice(), &RAW, &TEXT][number];
    COMMON.iter().chain(own)
}

impl Slot {
    /// Puts a text there; the salt of a hash ends where its digest begins.
    pub(crate) fn fill(&self, manifest: &mut Value, text: &str) {
        let (before, after) = self.around;
        let separator = if after == HASH { "$" } else { "" };
        let text = format!("{before}{text}{separator}{after}");
        let Some(place) = manifest.pointer_mut(self.at) else { return };
        match place.as_object_mut() {
            Some(mapping) if self.is_key => {
                mapping.insert(text, "word".into());
            }
            _ => *place = text.into(),
        }
    }

    /// Asserts that what stands here in the manifest stands in what was rendered, unchanged.
    pub(crate) fn check(&self, manifest: &Value, found: &Found<'_>) {
        let Some(meant) = manifest.pointer(self.at) else { return };
        let meant = self.normal(meant);
        if matches!(self.home, Home::Record | Home::Attribute(..) | Home::Both(_)) {
            assert_eq!(found.record["manifest"].pointer(self.at), Some(&meant), "{}", self.at);
        }
        if let Home::Attribute(element, attribute) = self.home {
            let values = attributes(&found.domain, element, attribute);
            assert!(values.iter().any(|value| meant == **value), "{meant:?} is not in {values:?}");
        }
        if let (Home::NetworkConfig(pointer), Some(config)) = (&self.home, &found.network_config) {
            assert_eq!(config.pointer(pointer), Some(&meant), "{pointer} of {config:#}");
        }
        if let (Home::UserData(pointer) | Home::Both(pointer), Some(config)) = (&self.home, &found.config) {
            // Keys lose the blanks around them.
            let text = meant.as_str().filter(|_| self.around.0 == KEY).map(str::trim);
            let meant = text.map_or(meant.clone(), Value::from);
            assert_eq!(config.pointer(pointer), Some(&meant), "{pointer} of {config:#}");
        }
    }

    /// What becomes of a value on purpose: names are made lower case.
    fn normal(&self, value: &Value) -> Value {
        let Some(text) = value.as_str() else { return value.clone() };
        match self.at {
            "/metadata/name" => text.trim().to_lowercase().into(),
            "/spec/cloudInit/fqdn" => text.trim().trim_end_matches('.').to_lowercase().into(),
            _ => value.clone(),
        }
    }
}

/// What was rendered, read.
pub(crate) struct Found<'r> {
    domain: Document<'r>,
    record: Value,
    /// The user-data, where foundry made it.
    config: Option<Value>,
    /// The network-config, where the manifest has its own.
    network_config: Option<Value>,
}

impl<'r> Found<'r> {
    pub(crate) fn of(manifest: &Value, rendered: &'r Rendered) -> Self {
        let is_raw = !manifest["spec"]["cloudInit"]["rawUserData"].is_null();
        let made = rendered.seed.as_ref().filter(|_| !is_raw);
        let own =
            rendered.seed.as_ref().filter(|_| manifest["spec"]["cloudInit"]["networkConfig"].is_object());
        Self {
            domain: parsed(&rendered.domain),
            record: serde_json::from_str(&rendered.record).unwrap(),
            config: made.map(|seed| value_of(&read_documents(&seed.user_data).unwrap()[0])),
            network_config: own.map(|seed| value_of(&read_documents(&seed.network_config).unwrap()[0])),
        }
    }
}

/// A tree of which every leaf is text.
fn value_of(node: &Node) -> Value {
    match (node.as_mapping(), node.as_sequence()) {
        (Some(mapping), _) => mapping.iter().map(|(k, v)| (k.text().to_owned(), value_of(v))).collect(),
        (_, Some(items)) => items.iter().map(value_of).collect(),
        _ => node.as_text().unwrap_or_default().into(),
    }
}

/// What cloud-init is to be told by the first template, by foundry's documentation of the seed; `None` for others.
pub(crate) fn cloud_config(manifest: &Value) -> Option<Value> {
    let given = &manifest["spec"]["cloudInit"];
    let user = given["userData"].as_object()?;
    let fqdn = given["fqdn"].as_str()?.trim().trim_end_matches('.').to_lowercase();
    let keys = json!([given["sshAuthorizedKeys"][0].as_str()?.trim()]);
    let hash = &given["passwordHash"];
    let mut config = json!({
        "hostname": fqdn.split('.').next(), "fqdn": fqdn, "manage_etc_hosts": "localhost",
        "users": [{ "name": "root", "ssh_authorized_keys": keys }],
        "disable_root": false,
        "chpasswd": { "expire": false, "users": [{ "name": "root", "password": hash, "type": "hash" }] },
        "ssh_pwauth": false,
    });
    user.iter().for_each(|(key, value)| config[key] = value.clone());
    Some(config)
}
