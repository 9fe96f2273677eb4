//! Generated files judged by cloud-init itself: `cloud-init schema`.
//!
//! `FOUNDRY_TEST_CLOUD_INIT` names the program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::deadline::CommandInTime as _;
use foundry::cloud_init::build_seed_files;
use foundry::plan::{SeedPlan, UserData, VmPlan};

use super::support::{fixed, own_network, plan, seed, skip};

fn cloud_init() -> Option<PathBuf> {
    let program = std::env::var_os("FOUNDRY_TEST_CLOUD_INIT").map(PathBuf::from);
    if program.is_none() {
        skip("cloud-init (FOUNDRY_TEST_CLOUD_INIT)");
    }
    program
}

/// What cloud-init says of a file that is fine, or `None`.
fn judge(program: &PathBuf, kind: &[&str], text: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(program)
        .arg("schema")
        .args(kind)
        .arg("--config-file")
        .arg(&file)
        .output_in_time()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    // A deprecated key is only mentioned.
    let fine = output.status.success() && told.contains("Valid") && !told.to_lowercase().contains("deprecat");
    if fine { Ok(()) } else { Err(format!("{told}\n{text}")) }
}

pub(crate) fn assert_valid(plan: &VmPlan, seed: &SeedPlan) {
    let Some(program) = cloud_init() else { return };
    let made = build_seed_files(plan, seed, "web-1").unwrap();
    judge(&program, &[], &made.user_data).unwrap();
    if knows_network_config(&program) {
        judge(&program, &["--schema-type", "network-config"], &made.network_config).unwrap();
    }
}

/// cloud-init before 24.1 checks cloud-configs only.
fn knows_network_config(program: &PathBuf) -> bool {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    let knows = *KNOWS.get_or_init(|| {
        let help = Command::new(program).args(["schema", "--help"]).output_in_time().unwrap();
        String::from_utf8_lossy(&help.stdout).contains("network-config")
    });
    if !knows {
        skip("a cloud-init that checks network-config");
    }
    knows
}

#[test]
fn everything_generated_is_valid() {
    assert_valid(&plan(), &seed());
}

#[test]
fn the_least_is_valid() {
    let mut seed = seed();
    (seed.fqdn, seed.password_hash, seed.ssh_keys) = (None, None, Vec::new());
    let mut plan = plan();
    plan.interfaces.remove(0);
    assert_valid(&plan, &seed);
}

#[test]
fn a_static_ipv4_interface_without_a_route_is_valid() {
    let mut plan = plan();
    plan.interfaces = vec![fixed("10.0.0.2/24", &[]), fixed("10.0.1.2/24", &["10.0.2.2/24"])];
    // cloud-init's schema does not know the `on-link` of a gateway outside.
    plan.interfaces[0].gateway = Some("10.0.0.1".parse().unwrap());
    plan.interfaces[1].default_route = false;
    plan.interfaces[1].dns.clear();
    assert_valid(&plan, &seed());
}

#[test]
fn a_merged_config_is_valid() {
    let mut seed = seed();
    seed.user_data = UserData::Merged(include_str!("../../data/merged.yaml").into());
    assert_valid(&plan(), &seed);
}

#[test]
fn a_network_config_of_the_users_own_is_as_valid_as_it_was() {
    let mut seed = seed();
    seed.network_config = Some(own_network());
    assert_valid(&plan(), &seed);
}

#[test]
fn the_judge_can_say_no() {
    let Some(program) = cloud_init() else { return };
    judge(&program, &[], "#cloud-config\nhostname: [a]\n").unwrap_err();
    judge(&program, &[], "#cloud-config\nchpasswd: {list: 'root:x'}\n").unwrap_err();
    if knows_network_config(&program) {
        let text = "version: 2\nethernets: {eth0: {dhcp4: [1]}}\n";
        judge(&program, &["--schema-type", "network-config"], text).unwrap_err();
    }
}
