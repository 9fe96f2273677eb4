//! Parts of `<capabilities>`, and `<domainCapabilities>`.

use roxmltree::Node;

use super::{attribute_value, child_element, child_elements, find_element, parse_xml, text_at, text_of};
use crate::{GuestMachine, Result, SecurityModel};

/// Reads the security drivers, and whether there is an IOMMU, from `<capabilities>`.
///
/// # Errors
/// If the text is not libvirt's `<capabilities>`.
pub fn host_machine(xml: &str) -> Result<(Vec<SecurityModel>, Option<bool>)> {
    let document = parse_xml(xml, "capabilities", "the host's capabilities")?;
    let Some(host) = child_element(document.root_element(), "host") else { return Ok((Vec::new(), None)) };
    let iommu = child_element(host, "iommu")
        .and_then(|e| attribute_value(e, "support"))
        .map(|support| support == "yes");
    Ok((child_elements(host, "secmodel").map(security_model).collect(), iommu))
}

/// For `dac`, the labels of KVM and of emulated guests are the same user.
fn security_model(model: Node<'_, '_>) -> SecurityModel {
    SecurityModel {
        name: text_at(model, &["model"]).unwrap_or_default().trim().to_owned(),
        label: text_at(model, &["baselabel"]).map(|label| label.trim().to_owned()),
    }
}

/// Reads `<domainCapabilities>`.
///
/// # Errors
/// If the text is not libvirt's `<domainCapabilities>`.
pub fn guest_machine(xml: &str) -> Result<GuestMachine> {
    let document = parse_xml(xml, "domainCapabilities", "the capabilities of guests")?;
    let root = document.root_element();
    let os = child_element(root, "os");
    let loader = os.and_then(|os| child_element(os, "loader"));
    let secure_boot = os
        .and_then(|os| child_element(os, "firmwareFeatures"))
        .map(|features| enum_values(features, "secureBoot").any(|value| value == "yes"));
    Ok(GuestMachine {
        name: text_at(root, &["machine"]).unwrap_or_default(),
        max_vcpus: child_element(root, "vcpu").and_then(|v| attribute_value(v, "max")?.parse().ok()),
        firmware: os.into_iter().flat_map(|os| enum_values(os, "firmware")).collect(),
        loaders: loader.into_iter().flat_map(|l| child_elements(l, "value").map(text_of)).collect(),
        secure_boot,
        graphics: find_element(root, &["devices", "graphics"])
            .into_iter()
            .flat_map(|graphics| enum_values(graphics, "type"))
            .collect(),
        nested: find_element(root, &["cpu"]).is_some_and(has_virtualization),
    })
}

/// The SELinux label of a domain's QEMU, if libvirt reports it: for a running domain, or if the label is static.
pub fn selinux_label(xml: &str) -> Option<String> {
    let document = parse_xml(xml, "domain", "the description of a domain").ok()?;
    let label = child_elements(document.root_element(), "seclabel")
        .find(|l| l.attribute("model") == Some("selinux"))?;
    text_at(label, &["label"]).map(|label| label.trim().to_owned())
}

/// Whether a running PCI Express guest has a free root port; each device needs one (libvirt's page "PCI topology and
/// hotplug"). `None` if the machine type places devices differently.
pub fn has_free_port(xml: &str) -> Option<bool> {
    let document = parse_xml(xml, "domain", "the description of a domain").ok()?;
    let devices = child_element(document.root_element(), "devices")?;
    let controllers = || child_elements(devices, "controller").filter(|c| c.attribute("type") == Some("pci"));
    let model = |c: &Node<'_, '_>| c.attribute("model").unwrap_or_default().to_owned();
    if controllers().any(|c| !matches!(model(&c).as_str(), "pcie-root" | "pcie-root-port")) {
        return None;
    }
    let ports = controllers().filter(|c| model(c) == "pcie-root-port");
    let ports: Vec<u32> = ports.filter_map(|c| c.attribute("index")?.parse().ok()).collect();
    let taken: Vec<u32> = devices
        .descendants()
        .filter(|e| e.has_tag_name("address") && e.attribute("type") == Some("pci"))
        .filter_map(|e| u32::from_str_radix(e.attribute("bus")?.trim_start_matches("0x"), 16).ok())
        .collect();
    (!ports.is_empty()).then(|| ports.iter().any(|port| !taken.contains(port)))
}

/// The values of an `<enum>`.
fn enum_values<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = String> {
    child_elements(node, "enum")
        .filter(move |e| e.attribute("name") == Some(name))
        .flat_map(|e| child_elements(e, "value").map(text_of))
}

/// Whether the CPU of `host-model` has VT-x or AMD-V.
fn has_virtualization(cpu: Node<'_, '_>) -> bool {
    let host_model = child_elements(cpu, "mode").filter(|mode| mode.attribute("name") == Some("host-model"));
    host_model.flat_map(|mode| child_elements(mode, "feature")).any(|feature| {
        matches!(feature.attribute("name"), Some("vmx" | "svm"))
            && feature.attribute("policy") == Some("require")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In whatever language libvirtd speaks.
    #[test]
    fn a_guest_whose_root_ports_are_all_taken_has_none_free() {
        let port = |index: u32| {
            format!(
                "<controller type='pci' index='{index}' model='pcie-root-port'><address type='pci' bus='0x00' slot='0x02' function='0x{index}'/></controller>"
            )
        };
        let disk = |bus: &str| {
            format!(
                "<disk type='file'><address type='pci' domain='0x0000' bus='{bus}' slot='0x00' function='0x0'/></disk>"
            )
        };
        let guest = |parts: &str| {
            format!(
                "<domain><devices><controller type='pci' index='0' model='pcie-root'/>{parts}</devices></domain>"
            )
        };
        let ports = format!("{}{}", port(1), port(10));
        assert_eq!(has_free_port(&guest(&format!("{ports}{}", disk("0x01")))), Some(true));
        assert_eq!(has_free_port(&guest(&format!("{ports}{}{}", disk("0x01"), disk("0x0a")))), Some(false));
        assert_eq!(has_free_port(&guest("")), None);
        let bridged = format!("{ports}<controller type='pci' index='11' model='pcie-to-pci-bridge'/>");
        assert_eq!(has_free_port(&guest(&bridged)), None);
        assert_eq!(has_free_port("no XML"), None);
    }

    #[test]
    fn a_domains_own_label_is_that_of_selinux() {
        let xml = "<domain><seclabel type='dynamic' model='dac'><label>+1:+2</label></seclabel><seclabel type='dynamic' model='selinux'><label>system_u:system_r:svirt_t:s0:c1,c2</label></seclabel></domain>";
        assert_eq!(selinux_label(xml).as_deref(), Some("system_u:system_r:svirt_t:s0:c1,c2"));
        assert_eq!(selinux_label("<domain/>"), None);
    }

    #[test]
    fn security_drivers_keep_their_order_and_labels() {
        let xml = "<capabilities><host><cpu><arch>x86_64</arch></cpu><iommu support='yes'/>
            <secmodel><model>apparmor</model><doi>0</doi></secmodel>
            <secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108</baselabel>
            <baselabel type='qemu'>+64055:+108</baselabel></secmodel></host></capabilities>";
        let (security, iommu) = host_machine(xml).unwrap();
        let names: Vec<_> = security.iter().map(|s| (s.name.as_str(), s.label.as_deref())).collect();
        assert_eq!(names, [("apparmor", None), ("dac", Some("+64055:+108"))]);
        assert_eq!(iommu, Some(true));
        assert_eq!(host_machine("<capabilities><host/></capabilities>").unwrap(), (Vec::new(), None));
    }

    /// libvirt 11.3 on Debian 12, most of it left out; and what 12.1 adds.
    fn domain_capabilities(features: &str) -> String {
        format!(
            "<domainCapabilities><path>/usr/bin/qemu-system-x86_64</path><domain>kvm</domain>
            <machine>pc-q35-10.0</machine><vcpu max='288'/><arch>x86_64</arch><os supported='yes'>
            <enum name='firmware'><value>efi</value></enum>{features}
            <loader supported='yes'><value>/usr/share/OVMF/OVMF_CODE_4M.ms.fd</value>
            <value>/usr/share/OVMF/OVMF_CODE_4M.fd</value>
            <enum name='secure'><value>yes</value><value>no</value></enum></loader></os>
            <cpu><mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='yes'>
            <model fallback='forbid'>EPYC</model><feature policy='require' name='x2apic'/>
            <feature policy='disable' name='vmx'/><feature policy='require' name='svm'/></mode></cpu>
            </domainCapabilities>"
        )
    }

    #[test]
    fn a_guest_machine_is_read() {
        let machine = guest_machine(&domain_capabilities("")).unwrap();
        assert_eq!(machine.name, "pc-q35-10.0");
        assert_eq!(machine.max_vcpus, Some(288));
        assert_eq!(machine.firmware, ["efi"]);
        assert_eq!(
            machine.loaders,
            ["/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"]
        );
        assert_eq!((machine.secure_boot, machine.nested), (None, true));
    }

    #[test]
    fn secure_boot_is_known_where_libvirt_says_it() {
        let said = |values: &str| {
            let features = format!(
                "<firmwareFeatures supported='yes'><enum name='secureBoot'>{values}</enum></firmwareFeatures>"
            );
            guest_machine(&domain_capabilities(&features)).unwrap().secure_boot
        };
        assert_eq!(said("<value>yes</value><value>no</value>"), Some(true));
        assert_eq!(said("<value>no</value>"), Some(false));
    }

    #[test]
    fn a_machine_without_anything_has_nothing() {
        assert_eq!(guest_machine("<domainCapabilities/>").unwrap(), GuestMachine::default());
        guest_machine("<capabilities/>").unwrap_err();
    }
}
