//! Manifests for tests, as text.

use std::fmt;

/// A manifest of a small VM, of which a test changes what it is about.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(super) address: String,
    pub(super) boot_disk: String,
    pub(super) interfaces: Vec<String>,
    pub(super) disks: Vec<String>,
    pub(super) spec: Vec<String>,
    pub(super) metadata: Vec<String>,
    pub(super) cloud_init: Vec<String>,
    pub(super) vcpus: u32,
    pub(super) memory: String,
}

impl Manifest {
    /// The address of the first interface.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its tap device.
    pub(crate) fn tap(&self) -> String {
        super::bed::tap_name(&self.address)
    }

    /// `bootDisk`, in YAML's flow style.
    pub(crate) fn boot_disk(mut self, flow: &str) -> Self {
        flow.clone_into(&mut self.boot_disk);
        self
    }

    /// A data disk.
    pub(crate) fn disk(mut self, device: &str, gib: u32) -> Self {
        self.disks.push(format!("{{device: {device}, sizeGB: {gib}}}"));
        self
    }

    /// The network interfaces, in YAML's flow style, in place of the one on the bridge.
    pub(crate) fn interfaces(mut self, flow: &[&str]) -> Self {
        self.interfaces = flow.iter().map(|i| (*i).to_owned()).collect();
        self
    }

    /// A further line of `spec`.
    pub(crate) fn spec(mut self, line: &str) -> Self {
        self.spec.push(line.to_owned());
        self
    }

    /// A further line of `metadata`.
    pub(crate) fn metadata(mut self, line: &str) -> Self {
        self.metadata.push(line.to_owned());
        self
    }

    /// Further lines of `spec.cloudInit`.
    pub(crate) fn cloud_init(mut self, lines: &str) -> Self {
        self.cloud_init.extend(lines.lines().map(str::to_owned));
        self
    }

    /// A VM without a seed.
    pub(crate) fn without_cloud_init(mut self) -> Self {
        self.cloud_init.clear();
        self
    }

    /// A label, the only one.
    pub(crate) fn label(self, key: &str, value: &str) -> Self {
        self.metadata(&format!("labels: {{{key}: {value}}}"))
    }

    pub(crate) fn vcpus(mut self, count: u32) -> Self {
        self.vcpus = count;
        self
    }

    pub(crate) fn memory(mut self, gib: &str) -> Self {
        gib.clone_into(&mut self.memory);
        self
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata:")?;
        writeln!(f, "  name: {}", self.name)?;
        self.metadata.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "spec:\n  vcpus: {}\n  memoryGiB: {}", self.vcpus, self.memory)?;
        writeln!(f, "  bootDisk: {}", self.boot_disk)?;
        self.spec.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        let mut list = |title: &str, items: &[String]| {
            if !items.is_empty() {
                writeln!(f, "  {title}:")?;
            }
            items.iter().try_for_each(|item| writeln!(f, "    - {item}"))
        };
        list("dataDisks", &self.disks)?;
        list("networkInterfaces", &self.interfaces)?;
        if !self.cloud_init.is_empty() {
            writeln!(f, "  cloudInit:")?;
        }
        self.cloud_init.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}
