//! A first manifest: the fields that every VM needs, each with its meaning.
//!
//! The comments are the descriptions of [`crate::schema`].

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::manifest::{API_VERSION, KIND, Number};
use crate::schema::{self, Field};
use crate::text::wrap_words;
use crate::yaml;

/// What a first manifest says.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestWriter {
    /// The VM's name.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in GiB.
    pub memory_gib: Number,
    /// Size of the boot disk in GiB.
    pub disk_gib: u64,
    /// The image, as `spec.bootDisk.image` takes it.
    pub image: String,
    /// What its network interface is attached to.
    pub link: InterfaceTemplate,
    /// Public keys that may log in.
    pub ssh_keys: Vec<String>,
}

/// What the network interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceTemplate {
    /// A bridge, where the VM has an address of its own.
    Bridge {
        /// The bridge.
        bridge: String,
        /// IPv4 address with prefix length.
        ip: Ipv4Net,
        /// Gateway; without one the VM is isolated.
        gateway: Option<Ipv4Addr>,
        /// Name servers.
        dns: Vec<IpAddr>,
    },
    /// A libvirt network, with DHCP.
    Network(String),
}

impl ManifestWriter {
    /// The manifest.
    pub fn to_yaml(&self, head: &str) -> String {
        let mut page = CommentedYaml::new(head);
        page.line(0, &format!("apiVersion: {API_VERSION}"));
        page.line(0, &format!("kind: {KIND}"));
        page.line(0, "metadata:");
        page.field(1, "metadata.name", &self.name);
        page.line(0, "spec:");
        page.field(1, "spec.vcpus", self.vcpus);
        page.field(1, "spec.memoryGiB", self.memory_gib);
        page.head(1, "spec.bootDisk");
        page.field(2, "spec.bootDisk.sizeGiB", self.disk_gib);
        page.field(2, "spec.bootDisk.image", &self.image);
        page.head(1, "spec.networkInterfaces");
        self.interface(&mut page);
        if !self.ssh_keys.is_empty() {
            page.head(1, "spec.cloudInit");
            page.list(2, "spec.cloudInit.sshAuthorizedKeys", &self.ssh_keys);
        }
        page.text
    }

    fn interface(&self, page: &mut CommentedYaml) {
        const PATH: &str = "spec.networkInterfaces";
        match &self.link {
            InterfaceTemplate::Network(network) => page.line(2, &format!("- network: {}", scalar(network))),
            InterfaceTemplate::Bridge { bridge, ip, gateway, dns } => {
                page.line(2, &format!("- bridge: {}", scalar(bridge)));
                page.field(3, &format!("{PATH}.ip"), ip.to_string());
                match gateway {
                    Some(gateway) => page.field(3, &format!("{PATH}.gateway"), gateway.to_string()),
                    None => page.field(3, &format!("{PATH}.defaultRoute"), false),
                }
                if !dns.is_empty() {
                    page.list(3, &format!("{PATH}.dnsServers"), dns);
                }
            }
        }
    }
}

/// The text as far as it is written.
struct CommentedYaml {
    schema: serde_json::Value,
    text: String,
}

impl CommentedYaml {
    fn new(head: &str) -> Self {
        Self { schema: schema::document(), text: head.into() }
    }

    fn line(&mut self, depth: usize, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }

    /// A field and its value, below what the field means.
    fn field(&mut self, depth: usize, path: &str, value: impl serde::Serialize) {
        self.comment(depth, path);
        self.line(depth, &format!("{}: {}", last(path), scalar(value)));
    }

    /// A field whose value is in the lines that follow.
    fn head(&mut self, depth: usize, path: &str) {
        self.comment(depth, path);
        self.line(depth, &format!("{}:", last(path)));
    }

    fn list(&mut self, depth: usize, path: &str, values: &[impl serde::Serialize]) {
        self.head(depth, path);
        values.iter().for_each(|value| self.line(depth + 1, &format!("- {}", scalar(value))));
    }

    fn comment(&mut self, depth: usize, path: &str) {
        // A path that is no field would have no comment; a test sees that each has one.
        let text = Field::find(&self.schema, path).map(|field| field.description().to_owned());
        for line in wrap_words(&text.unwrap_or_default(), COLUMNS - depth * 2) {
            self.line(depth, &format!("# {line}"));
        }
    }
}

/// How wide a line of a comment is.
const COLUMNS: usize = 98;

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// A value in one line of YAML, whatever it holds.
fn scalar(value: impl serde::Serialize) -> String {
    yaml::write(&value).unwrap_or_default().trim_end().to_owned()
}
