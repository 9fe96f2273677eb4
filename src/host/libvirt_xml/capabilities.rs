//! `<capabilities>`: the guests that a host supports.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Node;

use super::{child_element, child_elements, parse_xml, text_at, text_of, unreadable_xml};
use crate::Result;
use foundry_core::record::digest_of;

/// Reads the host's architecture and, for each guest architecture of full virtualization, its domain types.
///
/// # Errors
/// If the text is not libvirt's `<capabilities>`.
pub fn read_capabilities(xml: &str) -> Result<(String, BTreeMap<String, Vec<String>>)> {
    let what = "the host's capabilities";
    let document = parse_xml(xml, "capabilities", what)?;
    let root = document.root_element();
    let arch = text_at(root, &["host", "cpu", "arch"])
        .ok_or_else(|| unreadable_xml(what, "the host's architecture is missing"))?;
    let mut guests = BTreeMap::<String, Vec<String>>::new();
    for guest in child_elements(root, "guest").filter(|g| is_full_virtualization(*g)) {
        for one in child_elements(guest, "arch") {
            add_guest(&mut guests, one);
        }
    }
    Ok((arch.trim().to_owned(), guests))
}

/// Reads the model of the host's CPU and a digest of all its features; empty if libvirt does not say.
///
/// # Errors
/// If the text is not libvirt's `<capabilities>`.
pub fn read_host_cpu(xml: &str) -> Result<String> {
    let document = parse_xml(xml, "capabilities", "the host's capabilities")?;
    let host = child_element(document.root_element(), "host");
    let Some(cpu) = host.and_then(|host| child_element(host, "cpu")) else { return Ok(String::new()) };
    let Some(model) = child_element(cpu, "model").map(text_of) else { return Ok(String::new()) };
    let features: BTreeSet<&str> =
        child_elements(cpu, "feature").filter_map(|f| f.attribute("name")).collect();
    let digest = digest_of(&features.into_iter().collect::<Vec<_>>().join(" "));
    let digest = digest.rsplit(':').next().unwrap_or_default();
    Ok(format!("{} ({})", model.trim(), digest.get(..8).unwrap_or_default()))
}

fn is_full_virtualization(guest: Node<'_, '_>) -> bool {
    child_element(guest, "os_type").is_some_and(|os| text_of(os).trim() == "hvm")
}

/// An architecture may be in several `<guest>` elements; their types are merged.
fn add_guest(guests: &mut BTreeMap<String, Vec<String>>, arch: Node<'_, '_>) {
    let Some(name) = arch.attribute("name") else { return };
    let types = guests.entry(name.to_owned()).or_default();
    for kind in child_elements(arch, "domain").filter_map(|d| d.attribute("type")) {
        if !types.iter().any(|t| t == kind) {
            types.push(kind.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// libvirt 11.3 on Debian 12, most CPU features and machines left out.
    const QEMU: &str = "<capabilities>

  <host>
    <uuid>1d1debb3-fae2-4f0c-9ed1-7a6edcdc4168</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>kvm64-v1</model>
      <feature name='pclmuldq'/>
    </cpu>
    <power_management/>
  </host>

  <guest>
    <os_type>hvm</os_type>
    <arch name='i686'>
      <wordsize>32</wordsize>
      <emulator>/usr/bin/qemu-system-i386</emulator>
      <machine maxCpus='255'>pc-i440fx-10.0</machine>
      <domain type='qemu'/>
      <domain type='kvm'/>
    </arch>
    <features><pae/></features>
  </guest>

  <guest>
    <os_type>hvm</os_type>
    <arch name='aarch64'>
      <wordsize>64</wordsize>
      <emulator>/usr/bin/qemu-system-aarch64</emulator>
      <domain type='qemu'/>
    </arch>
  </guest>

</capabilities>";

    #[test]
    fn types_are_listed_by_architecture() {
        let (arch, guests) = read_capabilities(QEMU).unwrap();
        assert_eq!(arch, "x86_64");
        assert_eq!(guests["i686"], ["qemu", "kvm"]);
        assert_eq!(guests["aarch64"], ["qemu"]);
        assert_eq!(guests.len(), 2);
    }

    #[test]
    fn containers_are_no_guests_and_repeated_architectures_are_one() {
        let xml = "<capabilities><host><cpu><arch>x86_64</arch></cpu></host>
            <guest><os_type>exe</os_type><arch name='x86_64'><domain type='lxc'/></arch></guest>
            <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/></arch></guest>
            <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest>
            </capabilities>";
        assert_eq!(read_capabilities(xml).unwrap().1["x86_64"], ["qemu", "kvm"]);
    }

    #[test]
    fn a_host_without_architecture_is_unreadable() {
        read_capabilities("<capabilities><host/></capabilities>").unwrap_err();
    }
}
