//! Checks the versions of libvirt and QEMU for missing features and known bugs.

use super::HostCheck;
use super::facts::HostFacts;
use crate::kvm_device::is_slow;
use foundry_core::error::{Advice, Verb};

/// What came with a version.
struct Feature {
    since: u32,
    what: &'static str,
    /// Whether no VM can be made without it.
    is_needed: bool,
}

const fn feature(since: u32, what: &'static str, is_needed: bool) -> Feature {
    Feature { since, what, is_needed }
}

/// By libvirt's page "Domain XML" and its news.
const LIBVIRT: [Feature; 5] = [
    feature(7_001_000, "the CPU model 'maximum', without which no guest runs by the translator", false),
    feature(7_002_000, "firmware by its features", true),
    feature(8_006_000, "firmware without a file for its variables (doctor --probe)", false),
    feature(8_009_000, "removing a TPM's state with its VM", false),
    feature(11_000_000, "VLAN tags on Linux bridges (spec.networkInterfaces[].vlan)", false),
];

/// By QEMU's changelogs.
const QEMU: [Feature; 2] = [
    feature(2_009_000, "the CPU model 'max' and generation ids", true),
    feature(2_010_000, "locks on images, which keep two guests off one disk", false),
];

/// Faults that were seen, from a version on to the one before another.
struct KnownBug {
    from: u32,
    before: u32,
    what: &'static str,
    todo: &'static str,
}

const KNOWN_BUGS: [KnownBug; 1] = [KnownBug {
    from: 11_003_000,
    before: 11_004_000,
    what: "a full disk ends libvirtd inside of an upload, and a client that is killed there stops it for everybody",
    todo: "import images with foundry, which does neither; not with virsh vol-upload",
}];

/// The first answer after libvirt's start takes as long as its look at QEMU, and each one where it has to look anew.
fn check_slowness(facts: &HostFacts) -> Option<HostCheck> {
    let capabilities = &facts.capabilities;
    is_slow(capabilities).then(|| {
        let took = capabilities.took.as_secs_f32();
        HostCheck::warning("capabilities", format!("libvirt took {took:.1} s to say what the host can do"))
            .add_advice(
                Advice::from(Verb::Doctor)
                    .text(" again: if it is as slow, see what it says of kvm; each call takes as long then"),
            )
    })
}

pub(super) fn check_versions(facts: &HostFacts) -> Vec<HostCheck> {
    let libvirt = facts.capabilities.libvirt_version;
    let mut checks = vec![check_features("libvirt", libvirt, &LIBVIRT)];
    checks.extend(KNOWN_BUGS.iter().filter(|f| (f.from..f.before).contains(&libvirt)).map(|fault| {
        HostCheck::warning("libvirt-fault", format!("seen with {}: {}", format_version(libvirt), fault.what))
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
        missing.iter().map(|f| format!("{} ({})", f.what, format_version(f.since))).collect();
    if lacks.is_empty() {
        return HostCheck::ok(name, format!("{}, with all that foundry uses", format_version(version)));
    }
    let found = format!("{}, which lacks {}", format_version(version), lacks.join("; "));
    let check = if missing.iter().any(|f| f.is_needed) {
        HostCheck::problem(name, found)
    } else {
        HostCheck::warning(name, found)
    };
    check.add_advice("take a newer release of the distribution, or its backports")
}

/// `11.3.0`, and `11.0` for one without fixes.
fn format_version(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
