//! CLOUDINIT.md says what is: its manifests are rendered, and what it shows of them is what they give.

use foundry::cloud_init::{Documents, check_raw_user_data, documents};
use foundry::manifest;
use foundry::plan::{Defaults, VmPlan};
use foundry::yaml::node::read_documents;

const MANUAL: &str = include_str!("../../CLOUDINIT.md");

/// The fenced blocks: what stands behind the fence, and what is within.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let parts: Vec<&str> = MANUAL.split("```").collect();
    assert_eq!(parts.len() % 2, 1, "a fence is open");
    parts.iter().skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

fn of_kind(kind: &str) -> Vec<&'static str> {
    blocks().into_iter().filter(|(info, _)| *info == kind).map(|(_, text)| text).collect()
}

fn rendered(text: &str, instance_id: &str) -> Documents {
    let defaults = Defaults {
        vm_pool: "foundry-vms".parse().unwrap(),
        image_pool: "foundry-images".parse().unwrap(),
        pool_override: None,
    };
    let manifests = manifest::load(text, "CLOUDINIT.md").unwrap();
    let plan = VmPlan::from_manifest(&manifests[0], &defaults).unwrap();
    documents(&plan, plan.seed.as_ref().unwrap(), instance_id).unwrap()
}

#[test]
fn every_manifest_is_rendered_and_the_first_is_shown_as_it_is() {
    let manifests = of_kind("yaml");
    assert!(!manifests.is_empty());
    for text in &manifests {
        rendered(text, "i");
    }
    let first = |kind| of_kind(kind)[0];
    let meta_data = read_documents(first("yaml meta-data")).unwrap().remove(0);
    let made = rendered(manifests[0], meta_data.get("instance-id").unwrap().as_text().unwrap());
    assert_eq!(made.user_data, first("yaml user-data"));
    assert_eq!(made.meta_data, first("yaml meta-data"));
    assert_eq!(made.network_config, first("yaml network-config"));
}

#[test]
fn every_user_data_and_fragment_is_what_it_says() {
    for text in of_kind("yaml user-data") {
        assert_eq!(check_raw_user_data(text), Ok(()), "{text}");
    }
    let head = of_kind("yaml")[0].split("  cloudInit:").next().unwrap();
    for fragment in of_kind("yaml fragment") {
        let indented: String = fragment.lines().map(|line| format!("  {line}\n")).collect();
        rendered(&format!("{head}{indented}"), "i");
    }
}

#[test]
fn every_block_says_what_it_is() {
    let known =
        ["yaml", "yaml user-data", "yaml meta-data", "yaml network-config", "yaml fragment", "console"];
    for (info, text) in blocks() {
        assert!(known.contains(&info), "{info:?}\n{text}");
    }
}
