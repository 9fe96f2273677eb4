//! Writes a first manifest: the fields that every VM needs, each with a comment.
//!
//! The comments are the descriptions in [`crate::schema`].

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::manifest::{API_VERSION, KIND, Number};
use crate::schema::{self, Field};
use crate::text::wrap_words;
use crate::yaml;

/// The values of a first manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestWriter {
    /// Name of the VM.
    pub name: String,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory in GiB.
    pub memory_gib: Number,
    /// Size of the boot disk in GiB.
    pub disk_gib: u64,
    /// Image, in the form of `spec.bootDisk.image`.
    pub image: String,
    /// Bridge or network of the only interface.
    pub link: InterfaceTemplate,
    /// Public keys that may log in as root.
    pub ssh_keys: Vec<String>,
}

/// The bridge or network that the interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceTemplate {
    /// A bridge, with a fixed address for the VM.
    Bridge {
        /// Name of the bridge.
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
    /// Writes the manifest; `head` is the comment at its beginning.
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

/// The text written so far.
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

    /// Writes a field and its value after a comment with the field's description.
    fn write_field(&mut self, depth: usize, path: &str, value: impl serde::Serialize) {
        self.write_comment(depth, path);
        self.write_line(depth, &format!("{}: {}", last_name(path), one_line_yaml(value)));
    }

    /// Writes a field whose value follows on the next lines.
    fn write_head(&mut self, depth: usize, path: &str) {
        self.write_comment(depth, path);
        self.write_line(depth, &format!("{}:", last_name(path)));
    }

    fn write_list(&mut self, depth: usize, path: &str, values: &[impl serde::Serialize]) {
        self.write_head(depth, path);
        values.iter().for_each(|value| self.write_line(depth + 1, &format!("- {}", one_line_yaml(value))));
    }

    fn write_comment(&mut self, depth: usize, path: &str) {
        // A path that is not a field would get no comment; a test checks that each field has one.
        let text = Field::find(&self.schema, path).map(|field| field.description().to_owned());
        for line in wrap_words(&text.unwrap_or_default(), COLUMNS - depth * 2) {
            self.write_line(depth, &format!("# {line}"));
        }
    }
}

/// Width of a comment in columns.
const COLUMNS: usize = 98;

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Writes any value as YAML on one line.
fn one_line_yaml(value: impl serde::Serialize) -> String {
    yaml::write(&value).unwrap_or_default().trim_end().to_owned()
}
