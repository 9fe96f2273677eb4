//! The in-memory host's answers to foundry's calls: each names its call and asks the state.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::calls::Call;
use super::{MemoryHost, URI};
use crate::libvirt_xml::{DomainDescription, PoolParts, volume_name};
use crate::turn::Places;
use crate::{
    AddressSource, Bridge, Capabilities, Domain, GuestAddress, GuestMachine, Host, Kept, Machine,
    Neighbourhood, Network, NoTurn, Pool, Reach, Result, StateNow, Turn, View, Volume, Zeros,
};
use foundry_core::error::Kind;
use foundry_core::units::Bytes;
use foundry_fetch::content::{Content, Sink};

impl MemoryHost {
    /// A call on a domain, under the name that it has now.
    fn on(&self, method: &str, verb: &str, domain: Uuid) -> Call {
        Call::domain(method, verb, &self.inside().state.machine_name(domain))
    }
}

impl Host for MemoryHost {
    fn uri(&self) -> &str {
        URI
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn turn(&self, thing: &str) -> std::result::Result<Turn, NoTurn> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(NoTurn::Taken(Some(std::process::id())));
        }
        match &self.turns {
            None => Ok(Turn::free()),
            Some(place) => Turn::take(&Places::only(place.path()), thing),
        }
    }

    fn capabilities(&self) -> Result<Capabilities> {
        let call = Call::host("capabilities", "ask for the host's capabilities");
        self.call(&call, |_| Ok(self.capabilities.clone()))
    }

    fn machine(&self) -> Result<Machine> {
        self.call(&Call::host("machine", "ask for what the host has"), |_| Ok(self.machine.clone()))
    }

    fn guest_machine(&self, arch: &str, machine: &str, virt_type: &str) -> Result<GuestMachine> {
        let call = Call::host(
            "guest_machine",
            &format!("ask for what {arch} guests of machine type {machine} can have"),
        );
        let offered =
            self.capabilities.guests.get(arch).is_some_and(|types| types.iter().any(|t| t == virt_type));
        let refusal = || format!("invalid argument: the accel '{virt_type}' is not supported for '{arch}'");
        self.call(&call, |_| if offered { Ok(self.guest_machine.clone()) } else { Err(refusal().into()) })
    }

    fn run_for_a_moment(&self, xml: &str) -> Result<Uuid> {
        self.call(&Call::host("run_for_a_moment", "start a guest for a moment"), |state| {
            state.run_for_a_moment(xml)
        })
    }

    fn domains(&self, active_only: bool) -> Result<Vec<Domain>> {
        self.call(&Call::host("domains", "list the domains"), |state| state.domains(active_only))
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        self.call(&Call::domain("domain", "look up", name), |state| state.domain(name))
    }

    fn state(&self, domain: Uuid) -> Result<Option<StateNow>> {
        self.call(&self.on("state", "look at", domain), |state| Ok(state.state_now(domain)))
    }

    fn define_domain(&self, xml: &str) -> Result<Uuid> {
        let name = DomainDescription::read(xml).map(|d| d.name).unwrap_or_default();
        self.call(&Call::domain("define_domain", "define", &name), |state| state.define(xml))
    }

    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>> {
        self.call(&self.on("domain_xml", "describe", domain), |state| state.domain_xml(domain, view))
    }

    fn set_record(&self, domain: Uuid, text: &str) -> Result<()> {
        let call = self.on("set_record", "write foundry's record of", domain);
        self.call(&call, |state| state.set_record(domain, text))
    }

    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()> {
        let call = self.on("set_autostart", "set autostart of", domain);
        self.call(&call, |state| state.set_autostart(domain, on))
    }

    fn start(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("start", "start", domain), |state| state.start(domain))
    }

    fn request_shutdown(&self, domain: Uuid) -> Result<()> {
        let call = self.on("request_shutdown", "shut down", domain);
        self.call(&call, |state| state.request_shutdown(domain))
    }

    fn resume(&self, domain: Uuid) -> Result<()> {
        self.call(&self.on("resume", "resume", domain), |state| state.resume(domain))
    }

    fn force_off(&self, domain: Uuid) -> Result<()> {
        let call = self.on("force_off", "force off", domain);
        self.call(&call, |state| {
            state.force_off(domain);
            Ok(())
        })
    }

    fn undefine_but(&self, domain: Uuid, kept: Kept) -> Result<()> {
        self.call(&self.on("undefine", "undefine", domain), |state| state.undefine(domain, kept))
    }

    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>> {
        let call = self.on("saved_xml", "describe the saved memory of", domain);
        self.call(&call, |state| Ok(state.machines.get(&domain).and_then(|m| m.saved.clone())))
    }

    fn attach_disk(&self, domain: Uuid, xml: &str, reach: Reach) -> Result<()> {
        let call = self.on("attach_disk", "attach a disk to", domain);
        self.call(&call, |state| state.attach_disk(domain, xml, reach))
    }

    fn detach_disk(&self, domain: Uuid, target: &str, reach: Reach) -> Result<()> {
        let call = self.on("detach_disk", &format!("detach disk '{target}' from"), domain);
        self.call(&call, |state| state.detach_disk(domain, target, reach))
    }

    fn resize_disk(&self, domain: Uuid, target: &str, capacity: Bytes) -> Result<()> {
        let call = self.on("resize_disk", &format!("resize disk '{target}' of"), domain);
        self.call(&call.of_kind(Kind::Storage), |state| state.resize_disk(domain, target, capacity.0))
    }

    fn has_block_job(&self, domain: Uuid, target: &str) -> Result<bool> {
        let call = self.on("has_block_job", &format!("look for block jobs on disk '{target}' of"), domain);
        self.call(&call, |state| state.has_block_job(domain, target))
    }

    fn snapshots(&self, domain: Uuid) -> Result<Vec<String>> {
        let call = self.on("snapshots", "list the snapshots of", domain);
        self.call(&call, |state| Ok(state.machine(domain)?.snapshots.iter().map(|s| s.0.clone()).collect()))
    }

    fn all_snapshots(&self) -> Result<Vec<(Uuid, String)>> {
        self.call(&Call::host("all_snapshots", "describe the snapshots"), |state| {
            let of = |(name, domain): &(String, String)| {
                format!("<domainsnapshot><name>{name}</name>{domain}</domainsnapshot>")
            };
            let all = state.machines.iter().flat_map(|(uuid, m)| m.snapshots.iter().map(|s| (*uuid, of(s))));
            Ok(all.collect())
        })
    }

    fn addresses(&self, domain: Uuid, source: AddressSource) -> Result<Vec<GuestAddress>> {
        let call = self.on("addresses", "ask for the addresses of", domain);
        self.call(&call, |state| state.addresses(domain, source))
    }

    fn agent(&self, domain: Uuid, command: &str, _timeout: Duration) -> Result<Option<String>> {
        let call = self.on("agent", "ask the guest agent of", domain);
        self.call(&call, |state| state.agent(domain, command))
    }

    fn pools(&self) -> Result<Vec<Pool>> {
        self.call(&Call::pools("pools", "list the pools"), |state| Ok(state.pools()))
    }

    fn pool(&self, name: &str) -> Result<Option<Pool>> {
        self.call(&Call::pool("pool", "look up", name), |state| Ok(state.pool(name)))
    }

    fn define_pool(&self, xml: &str) -> Result<()> {
        let name = PoolParts::read(xml).map(|p| p.name).unwrap_or_default();
        self.call(&Call::pool("define_pool", "define", &name), |state| state.define_pool(xml).map(drop))
    }

    fn build_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::pool("build_pool", "make the target of", name), |state| state.build_pool(name))
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::pool("start_pool", "start", name), |state| state.start_pool(name))
    }

    fn stop_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::pool("stop_pool", "stop", name), |state| state.stop_pool(name))
    }

    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()> {
        let call = Call::pool("set_pool_autostart", "set autostart of", name);
        self.call(&call, |state| state.set_pool_autostart(name, on))
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::pool("refresh_pool", "refresh", name), |state| state.refresh_pool(name))
    }

    fn undefine_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::pool("undefine_pool", "undefine", name), |state| state.undefine_pool(name))
    }

    fn volumes(&self, pool: &str) -> Result<Vec<Volume>> {
        self.call(&Call::pool("volumes", "list the volumes of", pool), |state| state.volumes(pool))
    }

    fn volume(&self, pool: &str, name: &str) -> Result<Option<Volume>> {
        self.call(&Call::volume("volume", "look up", pool, name), |state| Ok(state.volume(pool, name)))
    }

    fn volume_at(&self, path: &str) -> Result<Option<Volume>> {
        self.call(&Call::volume_at(path), |state| Ok(state.volume_at(path)))
    }

    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume> {
        let call = Call::volume("create_volume", "create", pool, &volume_name(xml)?);
        self.call(&call, |state| state.create_volume(pool, xml))
    }

    fn clone_volume(&self, pool: &str, xml: &str, from_pool: &str, from_name: &str) -> Result<Volume> {
        let call = Call::volume("clone_volume", "create", pool, &volume_name(xml)?);
        self.call(&call, |state| state.clone_volume(pool, xml, (from_pool, from_name)))
    }

    fn resize_volume(&self, pool: &str, name: &str, capacity: Bytes) -> Result<()> {
        let call = Call::volume("resize_volume", "resize", pool, name);
        self.call(&call, |state| state.resize_volume(pool, name, capacity.0))
    }

    fn delete_volume(&self, pool: &str, name: &str) -> Result<()> {
        let call = Call::volume("delete_volume", "delete", pool, name);
        self.call(&call, |state| {
            state.delete_volume(pool, name);
            Ok(())
        })
    }

    fn upload(
        &self,
        pool: &str,
        name: &str,
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Result<u64> {
        let call = Call::volume("upload", "upload to", pool, name);
        self.call(&call, |state| state.upload((pool, name), content, offset, length, zeros))
    }

    fn download_span(&self, pool: &str, name: &str, into: &mut dyn Sink, span: (u64, u64)) -> Result<()> {
        let call = Call::volume("download", "download", pool, name);
        self.call(&call, |state| state.download(pool, name, into, span))
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        self.call(&Call::network(name), |state| {
            let known = state.known_networks.get(name).cloned().unwrap_or_default();
            Ok(state.networks.get(name).map(|active| Network { name: name.into(), active: *active, ..known }))
        })
    }

    fn networks(&self) -> Result<Vec<String>> {
        let call = Call::host("networks", "list the networks");
        self.call(&call, |state| Ok(state.networks.keys().cloned().collect()))
    }

    fn neighbourhood(&self, _wanted: &[IpAddr]) -> Result<Option<Neighbourhood>> {
        self.call(&Call::host("neighbourhood", "look at the neighbourhood"), |state| {
            Ok(state.neighbourhood.clone())
        })
    }

    fn memory(&self) -> Result<Bytes> {
        self.call(&Call::host("memory", "ask for what the host has"), |_| Ok(self.machine.memory))
    }

    fn bridges(&self) -> Result<Option<Vec<Bridge>>> {
        self.call(&Call::host("bridges", "list the bridges"), |state| Ok(state.bridges.clone()))
    }
}
