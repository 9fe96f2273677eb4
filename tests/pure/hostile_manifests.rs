//! Reading and checking a manifest never panics, and each plan made from one keeps the invariants that the rest of
//! foundry relies on.

mod rendering;
mod slots;
mod strategies;

use crate::support::{cpu, manifests};
use foundry::manifest::{VirtualMachine, load_text};
use foundry::plan::{BootSource, ImageRef, UserData, VmPlan, check_batch};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::Duration;
use strategies::manifest;

fn plan(manifest: &VirtualMachine) -> Option<VmPlan> {
    let (outcome, took) = cpu::time(|| VmPlan::from_manifest(manifest, &manifests::defaults()));
    assert!(took < Duration::from_secs(2), "{took:?}");
    if let Err(problems) = &outcome {
        assert!(!problems.list.is_empty());
        let said = problems.to_string();
        assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
        assert_eq!(said.lines().count(), 1 + problems.list.len(), "{said:?}");
    }
    outcome.ok()
}

/// What the rest of foundry takes for granted.
fn check(plan: &VmPlan) {
    check_names(plan);
    check_interfaces(plan);
    assert!(plan.memory.0.is_multiple_of(1024) && plan.memory.0 >= 64 << 20);
    assert!((1..=4096).contains(&plan.vcpus));
    let sizes = plan.data_disks.iter().map(|disk| disk.size).chain([plan.boot_disk.size]);
    assert!(sizes.into_iter().all(|size| size.0 >= 1 << 30 && i64::try_from(size.0).is_ok()));
    let again = VmPlan::from_manifest(&plan.manifest, &manifests::defaults());
    assert_eq!(again.as_ref(), Ok(plan), "a plan's manifest is the plan's");
    check_batch(std::slice::from_ref(plan), "vm.yaml").unwrap();
    check_batch(&[plan.clone(), plan.clone()], "vm.yaml").unwrap_err();
}

fn check_names(plan: &VmPlan) {
    let mut volumes = vec![plan.boot_disk.volume.as_str()];
    volumes.extend(plan.data_disks.iter().map(|disk| disk.volume.as_str()));
    volumes.extend(plan.seed.iter().map(|seed| seed.volume.as_str()));
    assert_eq!(volumes.iter().collect::<HashSet<_>>().len(), volumes.len(), "{volumes:?}");
    let mut names = volumes;
    names.extend([plan.name.as_str(), plan.pool.as_str()]);
    match &plan.boot_disk.source {
        BootSource::Image(ImageRef::Volume { pool, volume }) => {
            names.extend([pool.as_str(), volume.as_str()])
        }
        BootSource::Image(ImageRef::Path(path)) => {
            assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path:?}");
        }
        BootSource::Empty => {}
    }
    for name in names {
        assert!(!name.is_empty() && name != "." && name != ".." && !name.starts_with('-'), "{name:?}");
        assert!(!name.contains(|c: char| c == '/' || c.is_control()), "{name:?}");
    }
    for text in plan.labels.iter().flat_map(|(key, value)| [key, value]) {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    check_seed(plan);
}

fn check_seed(plan: &VmPlan) {
    let Some(seed) = &plan.seed else { return };
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(
        seed.hostname.chars().all(is_label) && (1..=63).contains(&seed.hostname.len()),
        "{:?}",
        seed.hostname
    );
    assert!(
        seed.ssh_keys
            .iter()
            .chain(&seed.password_hash)
            .all(|line| line.chars().all(|c| !c.is_control() || c == '\t'))
    );
    match &seed.user_data {
        UserData::Merged(text) => {
            assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r')), "{text:?}");
        }
        UserData::Raw(text) => assert!(!text.contains('\0'), "{text:?}"),
        UserData::Generated => {}
    }
}

fn check_interfaces(plan: &VmPlan) {
    let nics = &plan.interfaces;
    assert!(!nics.is_empty());
    assert_eq!(nics.iter().map(|nic| nic.mac).collect::<HashSet<_>>().len(), nics.len());
    assert!(nics.iter().filter(|nic| nic.default_route).count() <= 1);
    assert!(nics.iter().filter(|nic| nic.default_route6).count() <= 1);
    let mut addresses = HashSet::new();
    for nic in nics {
        assert_eq!(nic.tap.is_some(), nic.ip.is_some());
        assert!(nic.tap.as_ref().is_none_or(|tap| tap.len() <= 15));
        assert!(nic.vlan.is_none_or(|tag| (1..=4094).contains(&tag)));
        let all = nic.ip.map(|ip| ip.addr().into()).into_iter().chain(nic.addresses.iter().map(|a| a.addr()));
        all.for_each(|address: std::net::IpAddr| {
            assert!(addresses.insert(address.to_canonical()), "{address}")
        });
        if let Some(gateway) = nic.gateway {
            assert!(nic.ip.is_some() && nic.fixed_addresses().all(|net| net.addr() != gateway));
        }
        if let Some(gateway) = nic.gateway6 {
            assert!(nic.addresses.iter().all(|net| net.addr() != gateway));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_manifest_makes_a_wrong_plan(manifest in manifest()) {
        if let Some(plan) = plan(&manifest) {
            check(&plan);
        }
    }

    /// What is written as YAML is read back as it was, so that the two halves of this module agree.
    #[test]
    fn a_written_manifest_is_read_back(manifest in manifest()) {
        let text = foundry::yaml::write(&manifest).unwrap();
        let read = load_text(&text, "vm.yaml").unwrap_or_else(|e| panic!("{e}\n{text}"));
        // Not-a-number differs from itself, so the texts are compared.
        prop_assert_eq!(format!("{:?}", &read[..]), format!("{:?}", &[manifest][..]), "{}", text);
    }

    #[test]
    fn no_text_stops_the_reader(text in ".{0,200}") {
        let _ = load_text(&text, "vm.yaml");
    }

    #[test]
    fn no_punctuation_stops_the_reader(text in "[-:{}\\[\\]&*!|>'\"%@`#?, \n\tab<0.]{0,120}") {
        let _ = load_text(&text, "vm.yaml");
        let _ = load_text(&format!("apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nspec:\n  cloudInit:\n    userData: {text}"), "vm.yaml");
    }

    #[test]
    fn no_change_of_a_good_manifest_makes_a_wrong_plan(
        file in any::<prop::sample::Index>(),
        edits in vec((any::<prop::sample::Index>(), 0..12usize, "[-:{}\\[\\]&*!|>'\"#?, \n\tab<0.]{0,6}"), 1..4),
    ) {
        let files = manifests::yaml_files("examples");
        let mut text: Vec<char> = std::fs::read_to_string(&files[file.index(files.len())]).unwrap().chars().collect();
        for (at, gone, new) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + gone).min(text.len());
            text.splice(at..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        for manifest in load_text(&text, "vm.yaml").unwrap_or_default() {
            if let Some(plan) = plan(&manifest) {
                check(&plan);
            }
        }
    }
}

/// The strategy above would prove nothing if all it made were refused.
#[test]
fn many_of_the_manifests_can_be_planned() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let planned =
        (0..500).filter(|_| plan(&manifest().new_tree(&mut runner).unwrap().current()).is_some()).count();
    assert!(planned > 50, "{planned} of 500");
}
