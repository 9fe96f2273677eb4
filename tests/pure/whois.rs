//! Which VM has an address, a MAC address, a tap or a volume, and why.

use crate::support::bench::{Bench, FORCE, foreign, whole};
use crate::support::command::on_test;
use crate::support::faults::each_fault;
use crate::support::manifests::{WEB, plan_with};
use foundry::Code;
use foundry::host::memory::Guest;
use foundry::host::{
    AddressSource, DomainState, Domains, GuestAddress, LinkAddress, Neighbour, Neighbourhood, View,
};
use foundry::operations::vm::whois::{WhoisMatch, find_whois};

const NOTHING: [&str; 0] = [];
const DHCP: (&str, &str) =
    ("{ip: 10.0.0.1/24, gateway: 10.0.0.254, dnsServers: [10.0.0.254], bridge: br0}", "{network: default}");

/// The names with their reasons.
fn who(bench: &Bench, what: &str) -> Vec<(String, String)> {
    let found = find_whois(&bench.context(), what).unwrap_or_else(|e| panic!("{what}: {}", whole(&e)));
    found.into_iter().map(|m: WhoisMatch| (m.vm, m.reasons.join("; "))).collect()
}

/// The MAC address of its first interface.
fn mac_of(bench: &Bench, vm: &str) -> String {
    let described = bench.host.describe(bench.host.uuid_of(vm).unwrap(), View::Config).unwrap().unwrap();
    described.interfaces[0].mac.clone().unwrap()
}

fn is(bench: &Bench, what: &str, vm: &str, reason: &str) {
    assert_eq!(who(bench, what), [(vm.to_owned(), reason.to_owned())], "{what}");
}

#[test]
fn a_vm_is_found_by_all_that_it_has() {
    let bench = Bench::with_web();
    for state in [DomainState::Running, DomainState::ShutOff] {
        bench.host.set_state("web", state);
        is(&bench, "10.0.0.1", "web", "fixed address in its manifest");
        is(&bench, "10.0.0.1/24", "web", "fixed address in its manifest");
        is(&bench, "BE-EF-0A-00-00-01", "web", "MAC of its interface 1, on bridge 'br0'");
        is(
            &bench,
            "fe:ef:0a:00:00:01",
            "web",
            "the host's end of the tap of its interface 1 (MAC be:ef:0a:00:00:01)",
        );
        is(&bench, "vm0a000001", "web", "tap of its interface 1, on bridge 'br0'");
        for name in ["foundry-vms/web_data-vdb", "web_data-vdb", "/pool/vms/web_data-vdb"] {
            is(&bench, name, "web", "its disk vdb; made for its disk vdb, by its record");
        }
        is(&bench, "web_cloudinit", "web", "its disk sda; its seed sda, by its record");
        is(&bench, "foundry-images/debian-12", "web", "backing file of its disk vda");
    }
}

#[test]
fn a_domain_of_another_program_is_told_too() {
    let xml = foreign("theirs", "/pool/vms/web_boot.qcow2").replace(
        "</devices>",
        "<interface type='bridge'><mac address='52:54:00:00:00:07'/><source bridge='br0'/>\
         <target dev='tap7'/></interface></devices>",
    );
    let bench = Bench::with_web();
    let bench = Bench { host: bench.host.clone().with_foreign_domain(&xml), ..bench };
    is(&bench, "52:54:00:00:00:07", "theirs", "MAC of its interface 1, on bridge 'br0'");
    is(&bench, "tap7", "theirs", "tap of its interface 1, on bridge 'br0'");
    is(&bench, "foundry-vms/web_boot.qcow2", "theirs", "its disk vda");
    let found = find_whois(&bench.context(), "tap7").unwrap();
    assert!(!found[0].managed && found[0].state == "shut off", "{found:?}");
}

#[test]
fn an_address_is_found_by_lease_and_by_neighbour() {
    let bench = Bench::new();
    bench.create(&plan_with(WEB, &[DHCP])).unwrap();
    let lease = GuestAddress { mac: "52:54:00:00:00:01".into(), ip: [10, 9, 8, 7].into(), prefix: 24 };
    bench.host.set_guest("web", Guest::new().address(AddressSource::Lease, 0, lease));
    is(&bench, "10.9.8.7", "web", "DHCP lease");

    // Another address of the same guest, which only its answer shows.
    let mac = mac_of(&bench, "web");
    let neighbour =
        |ip: [u8; 4], mac: &str| Neighbour { link: "virbr0".into(), ip: ip.into(), mac: mac.into() };
    let own = LinkAddress { link: "virbr0".into(), net: "10.9.8.1/24".parse().unwrap() };
    let neighbours = vec![neighbour([10, 9, 8, 8], &mac), neighbour([10, 9, 8, 9], "52:54:00:aa:aa:aa")];
    let around = Neighbourhood { addresses: vec![own], neighbours, ..Neighbourhood::default() };
    let bench = Bench { host: bench.host.clone().with_neighbourhood(around), ..bench };
    is(&bench, "10.9.8.8", "web", &format!("its MAC {mac} answers at that address"));
    for (ip, why) in [
        ("10.9.8.1", "it is the host's own, on virbr0"),
        ("10.9.8.9", "a machine with MAC 52:54:00:aa:aa:aa has it, which is no VM's"),
        ("10.9.8.10", "no record, definition, lease or neighbour of this host names it"),
    ] {
        let error = find_whois(&bench.context(), ip).unwrap_err();
        assert_eq!(error.code(), Code::VmMissing);
        assert!(whole(&error).contains(why), "{ip}: {}", whole(&error));
    }
}

#[test]
fn nobody_has_what_is_gone() {
    let bench = Bench::with_web();
    bench.destroy("web", FORCE).unwrap();
    for what in
        ["10.0.0.1", "be:ef:0a:00:00:01", "vm0a000001", "foundry-vms/web_boot", "/pool/vms/web_boot", "web"]
    {
        let error = find_whois(&bench.context(), what).unwrap_err();
        assert_eq!((error.code(), error.kind().exit_code()), (Code::VmMissing, 4), "{what}");
    }
}

#[test]
fn looking_changes_nothing_and_a_fault_is_never_an_answer() {
    for what in ["10.0.0.1", "be:ef:0a:00:00:01", "vm0a000001", "foundry-vms/web_boot"] {
        let answer = who(&Bench::with_web(), what);
        let faults = each_fault(
            Bench::with_web,
            |bench| find_whois(&bench.context(), what),
            |bench, outcome, _, label| {
                // A description that cannot be read is skipped, with a warning, and never changes who has it.
                if let Ok(found) = outcome {
                    assert!(
                        !bench.told.warnings().is_empty() || found.len() == answer.len(),
                        "{label}: {found:?}"
                    );
                }
                assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{label}");
            },
        );
        assert!(faults > 2, "{faults}");
    }
}

#[test]
fn the_command_prints_a_table_and_exits_with_4_for_nobody() {
    let ran = on_test(&["whois", "10.11.12.13"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no VM has '10.11.12.13'"), "{}", ran.stderr);
}
