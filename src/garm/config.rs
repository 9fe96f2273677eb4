//! The provider's own configuration file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use foundry_core::error::{Code, Error};
use foundry_core::manifest::Number;
use foundry_core::names::find_nearest;
use foundry_core::text::escape_unseen;

use crate::documents::read_document;
use crate::extra_specs::ExtraSpecs;

/// The provider's configuration: what flavors and images mean, and what a pool does not say itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderConfig {
    /// URI of the libvirt to connect to. The default is foundry's setting, or else qemu:///system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// Storage pool of the images. The default is foundry's setting, foundry-images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pool: Option<String>,
    /// Sizes of VMs by name. A pool can also have a size as its flavor: 2c4g20d is 2 CPUs, 4 GiB of memory and a disk
    /// of 20 GiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flavors: BTreeMap<String, Flavor>,
    /// Images by name: a volume of the image pool, a pool and a volume, or a path. Without this list, a pool can name
    /// each image of the image pool; with it, only those of the list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Public keys that may log in as root, each like a line of authorized_keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// Labels of all VMs, for 'foundry list -l'.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What a pool's extra_specs can say, for pools that do not say it.
    #[serde(default)]
    pub defaults: ExtraSpecs,
}

/// A size of VMs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flavor {
    /// Number of virtual CPUs.
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub vcpus: Number,
    /// Memory in GiB.
    #[serde(rename = "memoryGiB")]
    pub memory_gib: Number,
    /// Size of the boot disk in GiB.
    #[serde(rename = "bootDiskGiB")]
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub boot_disk_gib: Number,
}

impl ProviderConfig {
    /// Reads a configuration; `file` is its name in messages.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Configuration`] for the first thing that is wrong, with its line.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        read_document(text, file)
    }

    /// The size that a pool's flavor means.
    ///
    /// # Errors
    /// [`Code::WordUnknown`] if it is neither a name of the configuration nor a size.
    pub fn find_flavor(&self, name: &str) -> Result<Flavor, Error> {
        if let Some(known) = self.flavors.get(name).copied().or_else(|| Flavor::parse(name)) {
            return Ok(known);
        }
        let shown = escape_unseen(name);
        let what = format!("flavor '{shown}' is neither in the provider's configuration nor a size");
        let known: Vec<&str> = self.flavors.keys().map(String::as_str).collect();
        Err(unknown_word(what, &known).hint(match find_nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => "give a size, such as 2c4g20d: 2 CPUs, 4 GiB of memory, a disk of 20 GiB".into(),
        }))
    }

    /// The image that a pool's image means, in the form of `spec.bootDisk.image`.
    ///
    /// # Errors
    /// [`Code::WordUnknown`] if the configuration lists images and this is none of them, or if it is a path: only the
    /// configuration, which belongs to the machine, can name a file of it.
    pub fn find_image(&self, name: &str) -> Result<String, Error> {
        if let Some(image) = self.images.get(name) {
            return Ok(image.clone());
        }
        let shown = escape_unseen(name);
        if self.images.is_empty() && !name.starts_with('/') && !name.is_empty() {
            return Ok(name.to_owned());
        }
        let what = if self.images.is_empty() {
            format!("image '{shown}' is not the name of an image")
        } else {
            format!("image '{shown}' is not in the provider's configuration")
        };
        let known: Vec<&str> = self.images.keys().map(String::as_str).collect();
        Err(unknown_word(what, &known).hint("add it to 'images' of the provider's configuration"))
    }
}

fn unknown_word(what: String, known: &[&str]) -> Error {
    let error = Error::new(Code::WordUnknown, what).unchanged();
    if known.is_empty() {
        error
    } else {
        error.because(format!("it has {}", escape_unseen(&known.join(", "))))
    }
}

impl Flavor {
    /// Reads a size: CPUs, GiB of memory and GiB of disk, as in `2c4g20d`.
    fn parse(text: &str) -> Option<Self> {
        let (vcpus, rest) = text.split_once('c')?;
        let (memory, rest) = rest.split_once('g')?;
        let disk = rest.strip_suffix('d')?;
        let number = |digits: &str| {
            let is_plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            is_plain.then(|| digits.parse().ok().map(Number::Whole)).flatten()
        };
        Some(Self { vcpus: number(vcpus)?, memory_gib: number(memory)?, boot_disk_gib: number(disk)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
flavors:
  small: {vcpus: 2, memoryGiB: 1.5, bootDiskGiB: 20}
images: {debian: debian-12.qcow2, secret: /srv/images/x.qcow2}
defaults: {network: ci, isolated: true}
";

    #[test]
    fn flavor_is_a_name_or_a_size() {
        let config = ProviderConfig::parse(TEXT, "garm.yaml").unwrap();
        assert_eq!(config.find_flavor("small").unwrap().memory_gib, Number::Real(1.5));
        let read = config.find_flavor("4c16g100d").unwrap();
        let numbers = [read.vcpus, read.memory_gib, read.boot_disk_gib].map(Number::to_u64);
        assert_eq!(numbers, [Some(4), Some(16), Some(100)]);
        for unfit in ["", "2c4g", "2c4g20", "c4g20d", "-2c4g20d", "+2c4g20d", "2c4g20d ", "2C4G20D", "smal"] {
            let error = config.find_flavor(unfit).unwrap_err();
            assert!(error.to_string().contains(&format!("flavor '{unfit}'")), "{error}");
        }
    }

    #[test]
    fn only_listed_images_can_be_named() {
        let config = ProviderConfig::parse(TEXT, "garm.yaml").unwrap();
        assert_eq!(config.find_image("debian").unwrap(), "debian-12.qcow2");
        assert_eq!(config.find_image("secret").unwrap(), "/srv/images/x.qcow2");
        for unfit in ["debian-12.qcow2", "/srv/images/x.qcow2", "", "other"] {
            assert!(config.find_image(unfit).is_err(), "{unfit}");
        }
        let open = ProviderConfig::default();
        assert_eq!(open.find_image("debian-12.qcow2").unwrap(), "debian-12.qcow2");
        for unfit in ["/etc/shadow", ""] {
            let error = open.find_image(unfit).unwrap_err().to_string();
            assert_eq!(error, format!("image '{unfit}' is not the name of an image"));
        }
    }

    #[test]
    fn faults_have_their_line() {
        for (text, said) in [
            ("flavours: {}", "garm.yaml:1:1: flavours: "),
            ("flavors:\n  small: {vcpus: 2}", "memoryGiB"),
            ("defaults: {networks: x}", "did you mean 'network'"),
            ("images: [a]", "garm.yaml:1:9: images: "),
            ("a: 1\n---\nb: 2", "one document"),
            ("a: [", "garm.yaml:"),
        ] {
            let error = ProviderConfig::parse(text, "garm.yaml").unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!(ProviderConfig::parse("", "garm.yaml").unwrap(), ProviderConfig::default());
    }
}
