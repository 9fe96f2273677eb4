//! The manifest of a copy of a VM.

use super::cloud_init::normalize_fqdn;
use crate::error::{Advice, Code, Error, Verb};
use crate::manifest::{CloudInit, Metadata, NetworkInterface, VirtualMachine};
use crate::names::VmName;

/// What a copy of a VM has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneIdentity {
    /// Its name.
    pub name: VmName,
    /// Its fixed addresses, in the order of the original's. A prefix length that is left out is the original's.
    pub addresses: Vec<String>,
}

/// Makes the manifest of a copy from the original's: other name, addresses and host name, and MAC addresses that follow
/// from these.
///
/// # Errors
/// [`Code::AddressTaken`] if the original has fixed addresses and none are given, because two guests would have them;
/// [`Code::Contradiction`] if their number is another one.
pub fn clone_manifest(source: &VirtualMachine, identity: &CloneIdentity) -> Result<VirtualMachine, Error> {
    let mut copy = source.clone();
    let Metadata { labels, annotations, .. } = source.metadata.clone();
    copy.metadata =
        Metadata { name: Some(identity.name.to_string()), labels, annotations, ..Metadata::default() };
    copy.status = None;
    let interfaces = &mut copy.spec.network_interfaces;
    interfaces.iter_mut().for_each(|interface| interface.mac_address = None);
    let vm = source.metadata.name.as_deref().unwrap_or_default();
    replace_addresses(interfaces, vm, identity)?;
    if let Some(fqdn) = copy.spec.cloud_init.as_mut().and_then(|cloud_init| cloud_init.fqdn.as_mut()) {
        *fqdn = cloned_fqdn(fqdn, &identity.name);
    }
    Ok(copy)
}

/// The same domain, with the copy's host name.
fn cloned_fqdn(fqdn: &str, name: &VmName) -> String {
    let fqdn = normalize_fqdn(fqdn);
    let domain = fqdn.split_once('.').map_or("", |(_, domain)| domain);
    format!("{}.{domain}", name.to_host_name())
}

fn replace_addresses(
    interfaces: &mut [NetworkInterface],
    vm: &str,
    identity: &CloneIdentity,
) -> Result<(), Error> {
    let given = &identity.addresses;
    let count = interfaces.len();
    let has_fixed = interfaces.iter().any(|i| i.ip.is_some() || !i.addresses.is_empty());
    if !has_fixed && given.len() <= count {
        // The guest had an address by DHCP, and gets a fixed one.
        for (interface, address) in interfaces.iter_mut().zip(given) {
            interface.ip = Some(address.clone());
        }
        return Ok(());
    }
    let fixed: Vec<&mut String> =
        interfaces.iter_mut().flat_map(|i| i.ip.iter_mut().chain(&mut i.addresses)).collect();
    if fixed.len() == given.len() {
        for (old, new) in fixed.into_iter().zip(given) {
            let prefix = old.split_once('/').map(|(_, length)| length.to_owned());
            *old = match prefix.filter(|_| !new.contains('/')) {
                Some(length) => format!("{new}/{length}"),
                None => new.clone(),
            };
        }
        return Ok(());
    }
    let fixed: Vec<String> = fixed.into_iter().map(|address| address.clone()).collect();
    Err(addresses_error(vm, identity, &fixed, count))
}

fn addresses_error(vm: &str, identity: &CloneIdentity, fixed: &[String], interfaces: usize) -> Error {
    let placeholder = |old: &String| match old.split_once('/') {
        Some((_, length)) => format!("ADDRESS/{length}"),
        None => "ADDRESS".to_owned(),
    };
    let addresses = fixed.iter().map(placeholder).collect();
    let again = Verb::Clone { vm: vm.to_owned(), name: identity.name.to_string(), addresses };
    let given = identity.addresses.len();
    let error = match (given, fixed.len()) {
        (0, 1) => Error::new(Code::AddressTaken, format!("VM '{vm}' has a fixed address: {}", fixed[0]))
            .because("two guests cannot have it"),
        (0, _) => {
            Error::new(Code::AddressTaken, format!("VM '{vm}' has fixed addresses: {}", fixed.join(", ")))
                .because("two guests cannot have them")
        }
        (_, 0) => {
            let message = format!("{given} addresses are given, and VM '{vm}' has {interfaces} interfaces");
            return Error::new(Code::Contradiction, message).unchanged();
        }
        (_, count) => {
            let message = format!(
                "{given} addresses are given, and VM '{vm}' has {count} fixed ones: {}",
                fixed.join(", ")
            );
            Error::new(Code::Contradiction, message)
        }
    };
    error.hint(Advice::from(again).text(" gives the copy its own")).unchanged()
}

/// Checks the user's own network-config for fixed addresses, which a copy of the VM would have, too.
///
/// # Errors
/// [`Code::AddressTaken`] if it may set some.
pub fn check_cloned_network(cloud_init: Option<&CloudInit>, vm: &str) -> Result<(), Error> {
    let config = cloud_init.and_then(|cloud_init| cloud_init.network_config.as_deref());
    if !config.is_some_and(|text| text.to_ascii_lowercase().contains("address")) {
        return Ok(());
    }
    let message = format!("spec.cloudInit.networkConfig of VM '{vm}' sets addresses");
    Err(Error::new(Code::AddressTaken, message)
        .because("the copy would have the same ones")
        .hint("--network-config FILE gives the copy a network-config of its own")
        .unchanged())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::load_text;

    fn manifest(interfaces: &str) -> VirtualMachine {
        let text = format!(
            "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web, labels: {{role: \
             web}}}}\nspec:\n  vcpus: 1\n  memoryGiB: 1\n  bootDisk: {{sizeGiB: 1, empty: true}}\n  \
             networkInterfaces: {interfaces}\n  cloudInit: {{fqdn: Web.Example.com.}}\n"
        );
        load_text(&text, "web.yaml").unwrap().remove(0)
    }

    fn clone(interfaces: &str, addresses: &[&str]) -> Result<VirtualMachine, Error> {
        let addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        clone_manifest(&manifest(interfaces), &CloneIdentity { name: "web_2".parse().unwrap(), addresses })
    }

    #[test]
    fn a_copy_has_its_own_name_and_mac_addresses() {
        let copy = clone("[{network: default, macAddress: '52:54:00:00:00:01'}]", &[]).unwrap();
        assert_eq!(copy.metadata.name.as_deref(), Some("web_2"));
        assert_eq!(copy.metadata.labels["role"], "web");
        assert_eq!(copy.spec.network_interfaces[0].mac_address, None);
        assert_eq!(copy.spec.cloud_init.unwrap().fqdn.as_deref(), Some("web-2.example.com"));
    }

    #[test]
    fn fixed_addresses_are_replaced_in_their_order() {
        let two =
            "[{bridge: br0, ip: 10.0.0.1/24, addresses: ['fd00::1/64']}, {bridge: br1, ip: 10.1.0.1/16}]";
        let copy = clone(two, &["10.0.0.2", "fd00::2/56", "10.1.0.2"]).unwrap();
        let interfaces = &copy.spec.network_interfaces;
        assert_eq!(interfaces[0].ip.as_deref(), Some("10.0.0.2/24"));
        assert_eq!(interfaces[0].addresses, ["fd00::2/56"]);
        assert_eq!(interfaces[1].ip.as_deref(), Some("10.1.0.2/16"));
        for wrong in [&["10.0.0.2"][..], &["10.0.0.2", "fd00::2", "10.1.0.2", "10.1.0.3"]] {
            assert_eq!(clone(two, wrong).unwrap_err().code(), Code::Contradiction);
        }
    }

    #[test]
    fn a_fixed_address_is_not_shared() {
        let error = clone("[{bridge: br0, ip: 10.0.0.1/24}]", &[]).unwrap_err();
        assert_eq!(error.code(), Code::AddressTaken);
        let verb =
            Verb::Clone { vm: "web".into(), name: "web_2".into(), addresses: vec!["ADDRESS/24".into()] };
        assert_eq!(error.advice().unwrap().verbs().next(), Some(&verb));
    }

    #[test]
    fn a_guest_with_dhcp_can_get_a_fixed_address() {
        let copy = clone("[{network: default}]", &["10.0.0.2/24"]).unwrap();
        assert_eq!(copy.spec.network_interfaces[0].ip.as_deref(), Some("10.0.0.2/24"));
        let error = clone("[{network: default}]", &["10.0.0.2/24", "10.0.0.3/24"]).unwrap_err();
        assert_eq!(error.code(), Code::Contradiction);
    }

    #[test]
    fn a_network_config_with_addresses_is_not_copied() {
        let with = |text: &str| CloudInit { network_config: Some(text.into()), ..CloudInit::default() };
        check_cloned_network(None, "web").unwrap();
        check_cloned_network(Some(&with("version: 2\nethernets: {eth0: {dhcp4: true}}\n")), "web").unwrap();
        for fixed in ["addresses: [10.0.0.1/24]", "{type: static, address: 10.0.0.1}", "mac_address: x"] {
            let error = check_cloned_network(Some(&with(fixed)), "web").unwrap_err();
            assert_eq!(error.code(), Code::AddressTaken);
        }
    }
}
