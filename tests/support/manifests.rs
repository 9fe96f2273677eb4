//! Manifests of the tests, and what they are planned with.

use std::path::{Path, PathBuf};

use foundry::manifest;
use foundry::operations::Settings;
use foundry::plan::{Defaults, VmPlan};

/// A public key.
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com";

/// A password hash, which must never be in a record.
pub(crate) const HASH: &str = "$6$x8kQ2mVn1TzLpR4e$4z88Gy4LflNdLnmk2xzRDjrQuP8m9aum5YLcX1/DJCvZB.dUaM639KNa1UgT2QPPibcDmU2cFirCIiE12isaK/";

/// Everything that makes a volume or a call: image, two data disks, seed with secrets, autostart.
pub(crate) const WEB: &str = "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata: {name: web, labels: {role: web}}
spec:
  vcpus: 2
  memoryGiB: 4
  bootDisk: {sizeGB: 20, image: debian-12}
  dataDisks: [{device: vdb, sizeGB: 10}, {device: vdc, sizeGB: 30}]
  networkInterfaces:
    - {ip: 10.0.0.1/24, gateway: 10.0.0.254, dnsServers: [10.0.0.254], bridge: br0}
  cloudInit:
    fqdn: web.example.com
    sshAuthorizedKeys: [KEY]
    passwordHash: HASH
    userData: {runcmd: [\"echo token-of-the-user\"]}
";

/// One empty disk on a network: as little as there can be.
pub(crate) const SMALL: &str = "
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata: {name: small}
spec:
  vcpus: 1
  memoryGiB: 0.5
  bootDisk: {sizeGB: 1, empty: true}
  networkInterfaces: [{network: default}]
  autostart: false
";

/// The plan of a manifest.
pub(crate) fn plan(manifest: &str) -> VmPlan {
    plan_with(manifest, &[])
}

/// The plan of a manifest with some of its text replaced; each replacement must hit.
pub(crate) fn plan_with(manifest: &str, replaced: &[(&str, &str)]) -> VmPlan {
    let mut text = manifest.replace("KEY", KEY).replace("HASH", HASH);
    for (old, new) in replaced {
        assert!(text.contains(old), "{old} is not in the manifest");
        text = text.replace(old, new);
    }
    let manifests = manifest::load_text(&text, "vm.yaml").unwrap();
    VmPlan::from_manifest(&manifests[0], &Settings::default().defaults(None)).unwrap()
}

/// The defaults of a host that nobody has configured.
pub(crate) fn defaults() -> Defaults {
    Defaults {
        vm_pool: "foundry-vms".parse().unwrap(),
        image_pool: "foundry-images".parse().unwrap(),
        pool_override: None,
        bridge: None,
        dns: Vec::new(),
    }
}

/// The YAML files of a directory, in order.
pub(crate) fn yaml_files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(directory)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "no YAML in {directory}");
    files
}
