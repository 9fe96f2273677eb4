//! `list` and `get`: states, addresses, whether foundry made a VM, and a manifest that `create` accepts again.

mod shown_manifest;
mod states;

use crate::support::bench::Bench;
use foundry::host::GuestAddress;
use foundry::manifest::Status;
use foundry::operations::vm::inspect::{VmView, get_vm, list_vms};
use std::net::IpAddr;

fn status(seen: &VmView) -> &Status {
    seen.vm.status.as_ref().unwrap()
}

fn see(bench: &Bench, name: &str) -> VmView {
    get_vm(&bench.context(), name).unwrap()
}

fn addresses(seen: &VmView) -> Vec<(&str, &str)> {
    status(seen).addresses.iter().map(|a| (a.address.as_str(), a.source.as_str())).collect()
}

fn address(ip: &str) -> GuestAddress {
    GuestAddress { mac: "52:54:00:00:00:01".into(), ip: ip.parse::<IpAddr>().unwrap(), prefix: 24 }
}

fn names(bench: &Bench, all: bool) -> Vec<String> {
    list_vms(&bench.context(), all).unwrap().into_iter().map(|s| s.domain.name).collect()
}
