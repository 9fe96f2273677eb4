//! GARM's provider: the contract of its calls, and what a runner's guest gets.

mod calls;
mod guest;
mod spent;

use serde_json::{Value, json};

const CONTROLLER: &str = "6f1c2a30-0000-4000-8000-000000000001";
const POOL: &str = "9d3b5e70-0000-4000-8000-000000000001";

/// What GARM writes to standard input, with changes.
fn instance(changes: Value) -> Value {
    let mut all = json!({
        "name": "garm-q7x2m0v4k1zt", "pool_id": POOL, "flavor": "small", "image": "debian-12.qcow2",
        "os_type": "linux", "arch": "amd64", "repo_url": "https://github.com/acme", "labels": null,
        "ssh-keys": null, "ca-cert-bundle": "", "github-runner-group": "Default", "jit_config_enabled": true,
        "callback-url": "https://garm.example/api/v1/callbacks",
        "metadata-url": "https://garm.example/api/v1/metadata", "instance-token": "a-token-of-garm",
        "tools": [{"os": "linux", "architecture": "x64", "download_url": "https://ghes.example/r.tgz",
            "filename": "r.tgz", "sha256_checksum": ""}],
        "user_data_options": {"disable_updates_on_boot": false, "extra_packages": null, "enable_boot_debug": false},
        "proxy_config": {"http_proxy": "", "https_proxy": "", "no_proxy": ""},
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    all
}
