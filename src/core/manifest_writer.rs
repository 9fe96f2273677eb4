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
        page.write_line(0, &format!("apiVersion: {API_VERSION}"));
        page.write_line(0, &format!("kind: {KIND}"));
        page.write_line(0, "metadata:");
        page.write_field(1, "metadata.name", &self.name);
        page.write_line(0, "spec:");
        page.write_field(1, "spec.vcpus", self.vcpus);
        page.write_field(1, "spec.memoryGiB", self.memory_gib);
        page.write_head(1, "spec.bootDisk");
        page.write_field(2, "spec.bootDisk.sizeGiB", self.disk_gib);
        page.write_field(2, "spec.bootDisk.image", &self.image);
        page.write_head(1, "spec.networkInterfaces");
        self.write_interface(&mut page);
        if !self.ssh_keys.is_empty() {
            page.write_head(1, "spec.cloudInit");
            page.write_list(2, "spec.cloudInit.sshAuthorizedKeys", &self.ssh_keys);
        }
        page.text
    }

    fn write_interface(&self, page: &mut CommentedYaml) {
        const PATH: &str = "spec.networkInterfaces";
        match &self.link {
            InterfaceTemplate::Network(network) => {
                page.write_line(2, &format!("- network: {}", one_line_yaml(network)))
            }
            InterfaceTemplate::Bridge { bridge, ip, gateway, dns } => {
                page.write_line(2, &format!("- bridge: {}", one_line_yaml(bridge)));
                page.write_field(3, &format!("{PATH}.ip"), ip.to_string());
                match gateway {
                    Some(gateway) => page.write_field(3, &format!("{PATH}.gateway"), gateway.to_string()),
                    None => page.write_field(3, &format!("{PATH}.defaultRoute"), false),
                }
                if !dns.is_empty() {
                    page.write_list(3, &format!("{PATH}.dnsServers"), dns);
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
        Self { schema: schema::document_schema(), text: head.into() }
    }

    fn write_line(&mut self, depth: usize, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }

    /// A field and its value, below what the field means.
    fn write_field(&mut self, depth: usize, path: &str, value: impl serde::Serialize) {
        self.write_comment(depth, path);
        self.write_line(depth, &format!("{}: {}", last_name(path), one_line_yaml(value)));
    }

    /// A field whose value is in the lines that follow.
    fn write_head(&mut self, depth: usize, path: &str) {
        self.write_comment(depth, path);
        self.write_line(depth, &format!("{}:", last_name(path)));
    }

    fn write_list(&mut self, depth: usize, path: &str, values: &[impl serde::Serialize]) {
        self.write_head(depth, path);
        values.iter().for_each(|value| self.write_line(depth + 1, &format!("- {}", one_line_yaml(value))));
    }

    fn write_comment(&mut self, depth: usize, path: &str) {
        // A path that is no field would have no comment; a test sees that each has one.
        let text = Field::find(&self.schema, path).map(|field| field.description().to_owned());
        for line in wrap_words(&text.unwrap_or_default(), COLUMNS - depth * 2) {
            self.write_line(depth, &format!("# {line}"));
        }
    }
}

/// How wide a line of a comment is.
const COLUMNS: usize = 98;

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// A value in one line of YAML, whatever it holds.
fn one_line_yaml(value: impl serde::Serialize) -> String {
    yaml::write(&value).unwrap_or_default().trim_end().to_owned()
}
