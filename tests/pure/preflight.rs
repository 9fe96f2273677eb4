//! The preflight: all obstacles to a VM are reported together, each in one sentence with a hint.
//! Nothing is changed.

mod addresses;
mod machine;
mod network;
mod storage;

use crate::support::bench::{Bench, GIB, bridge, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::MemoryHost;
use foundry::host::{Bridge, Capabilities, HostInfo, LinkAddress, Neighbour, Neighbourhood};
use foundry::operations::preflight::preflight;
use foundry::plan::VmPlan;
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];

/// What the preflight of a plan finds; the host must be as it was.
fn found(bench: &Bench, plan: &VmPlan) -> Error {
    let before = bench.host.fingerprint();
    let error = preflight(&bench.context(), plan).unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    error
}

fn assert_finds(bench: &Bench, plan: &VmPlan, kind: Kind, sentence: &str) {
    let error = found(bench, plan);
    assert_eq!(error.kind(), kind, "{}", whole(&error));
    assert!(error.text().contains(sentence), "{sentence}\nis not in\n{}", error.text());
}

#[test]
fn all_findings_come_at_once_and_the_worst_is_the_code() {
    let host = MemoryHost::new().with_pool("foundry-vms", "/pool/vms").with_image(
        "foundry-vms",
        "web_boot",
        "raw",
        1,
    );
    let bench =
        Bench::on(host.with_foreign_domain(&foreign("web", "/x")).with_bridges(&[bridge("br1", false)]));
    let error = found(&bench, &plan_with(WEB, &[("bridge: br0}", "bridge: br0, vlan: 7}")]));
    assert_eq!((error.kind(), error.code()), (Kind::Storage, Code::ImageMissing));
    insta::assert_snapshot!(error.text(), @r"
    cannot create VM 'web' on this host
      a domain 'web' exists that foundry did not create [FND-4001]
        choose another name
      spec.networkInterfaces[0].bridge: there is no bridge 'br0' [FND-4201]
        did you mean 'br1'?
      image 'debian-12' not found: there is no pool 'foundry-images' [FND-5101]
        foundry image pull debian-12
      volume 'web_boot' exists in pool 'foundry-vms' [FND-5202]
        it may hold data: choose another name for the VM, or, if nobody needs the volume, foundry gc foundry-vms/web_boot
    ");
}

#[test]
fn what_is_not_about_storage_is_exit_4() {
    let bench = Bench::with_web();
    assert_finds(
        &bench,
        &plan(WEB),
        Kind::Vm,
        "VM 'web' exists\n    choose another name, or foundry destroy web first",
    );
    // Its own volumes are no report: nobody should be told to delete them.
    assert!(!whole(&found(&bench, &plan(WEB))).contains("gc "));
}

fn old_libvirt(version: u32) -> MemoryHost {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    host_with_neighbours().with_capabilities(Capabilities { libvirt_version: version, ..capabilities })
}

fn around(own: &[(&str, &str)], neighbours: &[(&str, &str)]) -> Neighbourhood {
    let own = own.iter().map(|(link, net)| LinkAddress { link: (*link).into(), net: net.parse().unwrap() });
    let others = neighbours.iter().map(|(ip, mac)| Neighbour {
        link: "br0".into(),
        ip: ip.parse().unwrap(),
        mac: (*mac).into(),
    });
    Neighbourhood { addresses: own.collect(), routes: Vec::new(), neighbours: others.collect() }
}

/// A bench on a local host whose br0 has an address and an MTU.
fn local(address: &str, mtu: u32, around: Neighbourhood) -> Bench {
    let addresses = if address.is_empty() { Vec::new() } else { vec![address.parse().unwrap()] };
    let br0 = Bridge { mtu, addresses, ..bridge("br0", false) };
    let host = MemoryHost::new()
        .local()
        .with_image("foundry-images", "debian-12", "qcow2", GIB)
        .with_pool("foundry-vms", "/v")
        .with_neighbourhood(around)
        .with_bridges(&[br0]);
    Bench::on(host)
}
