//! Networks, bridges and neighbours.

use std::net::IpAddr;

use super::MemoryHost;
use super::calls::Call;
use crate::{Bridge, Neighbourhood, Network, Networks, Result};

impl Networks for MemoryHost {
    fn network(&self, name: &str) -> Result<Option<Network>> {
        self.call(&Call::about_network(name), |state| {
            let known = state.known_networks.get(name).cloned().unwrap_or_default();
            Ok(state.networks.get(name).map(|active| Network { name: name.into(), active: *active, ..known }))
        })
    }

    fn networks(&self) -> Result<Vec<String>> {
        let call = Call::about_host("networks", "list the networks");
        self.call(&call, |state| Ok(state.networks.keys().cloned().collect()))
    }

    fn neighbourhood(&self, _wanted: &[IpAddr]) -> Result<Option<Neighbourhood>> {
        self.call(&Call::about_host("neighbourhood", "look at the neighbourhood"), |state| {
            Ok(state.neighbourhood.clone())
        })
    }

    fn bridges(&self) -> Result<Option<Vec<Bridge>>> {
        self.call(&Call::about_host("bridges", "list the bridges"), |state| Ok(state.bridges.clone()))
    }
}
