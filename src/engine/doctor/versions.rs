//! Checks the versions of libvirt and QEMU for missing features and known bugs.

use super::HostCheck;
use super::facts::HostFacts;
use crate::kvm_device::is_slow;
use foundry_core::error::{Advice, Verb};

/// A feature that came with a version.
struct Feature {
    since: u32,
    what: &'static str,
    /// Whether no VM can be created without it.
    is_needed: bool,
}

const fn feature(since: u32, what: &'static str, is_needed: bool) -> Feature {
    Feature { since, what, is_needed }
}

/// From libvirt's page "Domain XML" and its release notes.
const LIBVIRT: [Feature; 5] = [
    feature(7_001_000, "the CPU model 'maximum' (emulated guests)", false),
    feature(7_002_000, "firmware selection by features", true),
    feature(8_006_000, "stateless firmware (doctor --probe)", false),
    feature(8_009_000, "deleting TPM state with a VM", false),
    feature(11_000_000, "VLAN tags on Linux bridges (spec.networkInterfaces[].vlan)", false),
];

/// The features of QEMU that foundry uses, from QEMU's changelogs.
const QEMU: [Feature; 2] = [
    feature(2_009_000, "the CPU model 'max' and generation ids", true),
    feature(2_010_000, "image locks, which keep two guests from using one disk", false),
];

/// A known bug, and the versions that have it: from one on, up to but not including another.
struct KnownBug {
    from: u32,
    before: u32,
    what: &'static str,
    todo: &'static str,
}

const KNOWN_BUGS: [KnownBug; 1] = [KnownBug {
    from: 11_003_000,
    before: 11_004_000,
    what: "libvirtd crashes if the disk fills up during an upload, and hangs for everyone if the client is killed in one",
    todo: "import images with foundry, which avoids both, not with virsh vol-upload",
}];

/// libvirt probes QEMU for its first answer after a start, which takes long. It does so for every answer if it cannot
/// cache the result.
fn check_slowness(facts: &HostFacts) -> Option<HostCheck> {
    let capabilities = &facts.capabilities;
    is_slow(capabilities).then(|| {
        let took = capabilities.took.as_secs_f32();
        HostCheck::warning(
            "capabilities",
            format!("libvirt took {took:.1} s to report the host's capabilities"),
        )
        .add_advice(
            Advice::from(Verb::Doctor)
                .text(" again: if it is as slow, each call takes as long; see the check kvm"),
        )
    })
}

pub(super) fn check_versions(facts: &HostFacts) -> Vec<HostCheck> {
    let libvirt = facts.capabilities.libvirt_version;
    let mut checks = vec![check_features("libvirt", libvirt, &LIBVIRT)];
    checks.extend(KNOWN_BUGS.iter().filter(|f| (f.from..f.before).contains(&libvirt)).map(|fault| {
        HostCheck::warning(
            "libvirt-fault",
            format!("known bug of {}: {}", format_version(libvirt), fault.what),
        )
        .add_advice(fault.todo)
    }));
    checks.extend(check_slowness(facts));
    checks.push(match &facts.machine {
        Ok(machine) => check_features("qemu", machine.hypervisor_version, &QEMU),
        Err(why) => HostCheck::unknown("qemu", why.clone()),
    });
    checks
}

fn check_features(name: &'static str, version: u32, features: &[Feature]) -> HostCheck {
    let missing: Vec<&Feature> = features.iter().filter(|f| version < f.since).collect();
    let lacks: Vec<String> =
        missing.iter().map(|f| format!("{} ({} or newer)", f.what, format_version(f.since))).collect();
    if lacks.is_empty() {
        return HostCheck::ok(
            name,
            format!("{}, has all features that foundry uses", format_version(version)),
        );
    }
    let found = format!("{}; missing: {}", format_version(version), lacks.join("; "));
    let check = if missing.iter().any(|f| f.is_needed) {
        HostCheck::problem(name, found)
    } else {
        HostCheck::warning(name, found)
    };
    check.add_advice("upgrade to a newer release of the distribution, or use its backports")
}

/// Formats libvirt's version number: 11003000 is `11.3.0`.
fn format_version(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
