//! Generated pairs of manifests: what was applied is what was asked for, and what a creation would have made.

use std::sync::Arc;

use super::{apply_with, described, diff, paths, restart};
use crate::support::bench::{Bench, whole};
use crate::support::manifests::plan;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::{Domains, Libvirt, View};
use foundry::operations::Context;
use foundry::operations::change::{ApplyOptions, ApplyOutcome, WantedVm, apply_vm, diff_vm};
use foundry::plan::VmPlan;
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// What differs between two manifests of one VM.
#[derive(Debug, Clone)]
struct Draft {
    vcpus: u32,
    more_vcpus: Option<u32>,
    memory_mib: u64,
    more_mib: Option<u64>,
    links: Vec<(&'static str, Option<u16>, bool)>,
    serial: Option<&'static str>,
    autostart: bool,
    labels: std::collections::BTreeMap<String, String>,
    boot_gib: u64,
    disks: usize,
    data_gib: u64,
}

impl Draft {
    fn plan(&self, links: usize) -> VmPlan {
        plan(&self.text(links))
    }

    fn text(&self, links: usize) -> String {
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let gib = |mib: u64| mib as f64 / 1024.0;
        let mut room = Vec::new();
        room.extend(self.more_vcpus.map(|more| format!("maxVcpus: {}", self.vcpus + more)));
        room.extend(self.more_mib.map(|more| format!("maxMemoryGiB: {}", gib(self.memory_mib + more))));
        let disks: Vec<String> = (0..self.disks)
            .map(|n| {
                let serial =
                    self.serial.filter(|_| n == 0).map(|s| format!(", serial: {s}")).unwrap_or_default();
                format!(
                    "{{device: vd{}, sizeGiB: {}{serial}}}",
                    char::from(b'b' + u8::try_from(n).unwrap()),
                    self.data_gib
                )
            })
            .collect();
        let interfaces: Vec<String> = self.links[..links]
            .iter()
            .enumerate()
            .map(|(n, (link, mtu, pxe))| {
                let mtu = mtu.map(|mtu| format!(", mtu: {mtu}")).unwrap_or_default();
                let route = if n == 0 { ", defaultRoute: false" } else { "" };
                format!("{{{link}{route}, ip: 10.0.{n}.9/24, pxeBoot: {pxe}{mtu}}}")
            })
            .collect();
        let labels: Vec<String> = self.labels.iter().map(|(k, v)| format!("{k}: '{v}'")).collect();
        format!(
            "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\n\
             metadata: {{name: pair, labels: {{{}}}}}\n\
             spec:\n  vcpus: {}\n  memoryGiB: {}\n  resources: {{{}}}\n  autostart: {}\n\
             \x20 bootDisk: {{sizeGiB: {}, image: debian-12}}\n  dataDisks: [{}]\n  networkInterfaces: [{}]\n",
            labels.join(", "),
            self.vcpus,
            gib(self.memory_mib),
            room.join(", "),
            self.autostart,
            self.boot_gib,
            disks.join(", "),
            interfaces.join(", "),
        )
    }
}

fn draft() -> impl Strategy<Value = Draft> {
    let link = (
        select(&["bridge: br0", "bridge: br1", "network: default"][..]),
        option::of(1000u16..1500),
        any::<bool>(),
    );
    let size = (1u32..8, option::of(1u32..4), 256u64..5000, option::of(1u64..3000));
    let disks = (option::of(select(&["data", "x.1"][..])), 2u64..40, 0usize..4, 1u64..40);
    let labels = btree_map("[a-z]{1,3}", "[a-z0-9 ]{0,5}", 0..3);
    (size, proptest::collection::vec(link, 3), disks, any::<bool>(), labels).prop_map(
        |(
            (vcpus, more_vcpus, memory_mib, more_mib),
            links,
            (serial, boot_gib, disks, data_gib),
            autostart,
            labels,
        )| Draft {
            vcpus,
            more_vcpus,
            memory_mib,
            more_mib,
            links,
            serial,
            autostart,
            labels,
            boot_gib,
            disks,
            data_gib,
        },
    )
}

/// Two drafts of which the second takes nothing away.
fn pair() -> impl Strategy<Value = (Draft, Draft, usize)> {
    (draft(), draft(), 1usize..4).prop_map(|(one, other, links)| {
        let other = Draft {
            boot_gib: other.boot_gib.max(one.boot_gib),
            data_gib: other.data_gib.max(one.data_gib),
            disks: other.disks.max(one.disks),
            ..other
        };
        (one, other, links)
    })
}

/// A definition without what differs between any two VMs: the order of attached disks, and the record.
fn comparable(bench: &Bench) -> DomainDescription {
    let mut next = described(bench, "pair", View::Config);
    next.uuid = None;
    next.record = None;
    next.disks.sort_by(|a, b| a.target.cmp(&b.target));
    next
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_created_differs_in_nothing((one, _, links) in pair()) {
        let bench = Bench::new();
        bench.create(&one.plan(links)).unwrap_or_else(|e| panic!("{}", whole(&e)));
        let fields = diff(&bench, one.plan(links));
        prop_assert!(fields.is_empty(), "{:?}", paths(&fields));
    }

    #[test]
    fn what_was_applied_is_what_a_creation_makes((one, other, links) in pair()) {
        let bench = Bench::new();
        bench.create(&one.plan(links)).unwrap();
        apply_with(&bench, other.plan(links), false).unwrap_or_else(|e| panic!("{}", whole(&e)));
        let left = diff(&bench, other.plan(links));
        prop_assert!(left.iter().all(|field| field.pending), "{:?}", left);
        let after = bench.host.fingerprint();
        let again = apply_with(&bench, other.plan(links), false).unwrap();
        prop_assert_eq!(again.outcome, ApplyOutcome::Unchanged);
        prop_assert_eq!(bench.host.changes_since(&after), [] as [&str; 0]);
        restart(&bench, "pair");
        let left = diff(&bench, other.plan(links));
        prop_assert!(left.is_empty(), "{:?}", left);
        let fresh = Bench::new();
        fresh.create(&other.plan(links)).unwrap();
        prop_assert_eq!(comparable(&bench), comparable(&fresh));
    }
}

/// libvirt's own mock normalizes definitions as libvirt does. It has no volumes of ours, so disks stay as they are.
fn on_test_driver(one: &Draft, other: &Draft, links: usize) {
    let simple = |draft: &Draft| Draft {
        links: draft.links.iter().map(|(_, mtu, pxe)| ("network: default", *mtu, *pxe)).collect(),
        disks: one.disks,
        data_gib: one.data_gib,
        boot_gib: one.boot_gib,
        // The mock's machine has 3 GiB.
        memory_mib: 256 + draft.memory_mib % 1500,
        more_mib: draft.more_mib.map(|more| 1 + more % 1000),
        ..draft.clone()
    };
    let (one, other) = (simple(one), simple(other));
    let bench = Bench::new();
    bench.create(&one.plan(links)).unwrap();
    let xml = bench.host.full_definition(bench.host.uuid_of("pair").unwrap()).unwrap().unwrap();
    let host = Arc::new(Libvirt::connect("test:///default", Arc::new(())).unwrap());
    let uuid = host.define_domain(&xml.replacen("type=\"kvm\"", "type=\"test\"", 1)).unwrap();
    host.set_autostart(uuid, one.autostart).unwrap();
    let context = Context { host: host.clone(), ..bench.context() };
    let fields = |draft: &Draft| {
        diff_vm(&context, &WantedVm::of_manifest(draft.plan(links))).unwrap().expect("it is defined")
    };
    // The state of the mock is that of the connection, and a failure leaves nothing behind.
    let defined = fields(&one);
    host.start(uuid).unwrap();
    let started = fields(&one);
    let applied = apply_vm(&context, &WantedVm::of_manifest(other.plan(links)), ApplyOptions::default());
    let waiting = fields(&other);
    let again = apply_vm(&context, &WantedVm::of_manifest(other.plan(links)), ApplyOptions::default());
    host.force_off(uuid).unwrap();
    let after = fields(&other);
    host.undefine(uuid).unwrap();
    assert!(defined.is_empty() && started.is_empty(), "{defined:?} {started:?}");
    applied.unwrap_or_else(|e| panic!("{}", whole(&e)));
    assert!(waiting.iter().all(|field| field.pending), "{waiting:?}");
    assert_eq!(again.unwrap().outcome, ApplyOutcome::Unchanged);
    assert!(after.is_empty(), "{after:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn libvirts_mock_keeps_what_was_applied((one, other, links) in pair()) {
        on_test_driver(&one, &other, links);
    }
}
