//! The calls that the bindings lack or get wrong, and libvirt's callbacks: the only unsafe code of foundry.
//!
//! `Connect::all_domain_stats` of virt 0.5 hands out raw pointers and never frees them, and
//! `Domain::state` loses a state that it does not know. Each block here and below says why it is sound.
#![allow(unsafe_code, reason = "the one place for it; every block has its argument")]

mod descriptors;
mod event_loop;
mod events;
mod streams;

use std::ffi::{CStr, CString, c_int, c_uint};
use std::ptr;
use std::time::Duration;

use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::stream::Stream;
use virt::sys as c;

use crate::DomainSample;
use foundry_core::units::Bytes;

pub(super) use self::descriptors::{close_inherited, duplicate, peer, poll, stop_receiving, unread};
pub(super) use self::event_loop::{
    Callback, EventLoop, HandleFunction, TimerFunction, events_of_libvirt, register_event_loop,
};
pub(super) use self::events::{DomainEventId, RawEvent, Watchers, subscribe, unsubscribe};
pub(super) use self::streams::WatchedStream;

/// What one bulk call reports about a domain.
pub(super) struct DomainStats {
    pub(super) handle: Domain,
    pub(super) uuid: Uuid,
    pub(super) name: String,
    pub(super) state: u32,
    pub(super) reason: u32,
    pub(super) vcpus: u32,
    pub(super) memory_kib: u64,
}

/// `virDomainGetState`, with libvirt's numbers unchanged.
pub(super) fn state(domain: &Domain) -> Result<(u32, u32), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the handle is alive for the length of the call, both out pointers are to locals.
    let answer = unsafe { c::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    if answer < 0 {
        return Err(Error::last_error());
    }
    Ok((state.cast_unsigned(), reason.cast_unsigned()))
}

/// `virDomainSaveFlags` with another description, which virt 0.5 lacks.
pub(super) fn save_to(domain: &Domain, path: &str, xml: &str) -> Result<(), Error> {
    // Neither is made of bytes that a C string cannot have: a path of libvirt's, and XML.
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (path, xml) = (text(path), text(xml));
    // SAFETY: the handle is alive for the length of the call, both strings end with NUL and outlive it.
    let answer = unsafe { c::virDomainSaveFlags(domain.as_ptr(), path.as_ptr(), xml.as_ptr(), 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// The states of domains in one round trip. libvirt does not query QEMU for them, so a hung QEMU delays nothing.
pub(super) fn all_states(connection: &Connect, active_only: bool) -> Result<Vec<DomainStats>, Error> {
    let active = if active_only { c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE } else { 0 };
    all_domain_stats(connection, c::VIR_DOMAIN_STATS_STATE, active)
}

/// CPUs and memory of the inactive domains, in one round trip. For running ones, libvirt would query QEMU.
pub(super) fn sizes_of_inactive(connection: &Connect) -> Result<Vec<DomainStats>, Error> {
    let wanted = c::VIR_DOMAIN_STATS_VCPU | c::VIR_DOMAIN_STATS_BALLOON;
    // NOWAIT: do not wait for a domain on which another program works.
    let which = c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE | c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    all_domain_stats(connection, wanted, which)
}

/// The counters of the active domains, in one round trip (virsh(1), `domstats`).
pub(super) fn sample_active(connection: &Connect) -> Result<Vec<DomainSample>, Error> {
    let wanted = c::VIR_DOMAIN_STATS_CPU_TOTAL
        | c::VIR_DOMAIN_STATS_BALLOON
        | c::VIR_DOMAIN_STATS_VCPU
        | c::VIR_DOMAIN_STATS_INTERFACE
        | c::VIR_DOMAIN_STATS_BLOCK;
    // NOWAIT: a domain on which another program works reports less, and delays nothing.
    let which = c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    read_domain_stats(connection, wanted, which, |handle, params| {
        let number = |name: &str| params.iter().find(|p| param_name(p) == name).and_then(param_value);
        // `block.0.rd.bytes`, `block.1.rd.bytes`, …: the sum over all devices.
        let sum = |group: &str, end: &str| {
            let is_one = |name: &str| {
                let middle = name.strip_prefix(group).and_then(|rest| rest.strip_suffix(end));
                middle.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            };
            Bytes(params.iter().filter(|p| is_one(param_name(p))).filter_map(param_value).sum())
        };
        let kib = |name: &str| number(name).map(|kib| Bytes(kib.saturating_mul(1024)));
        Ok(DomainSample {
            uuid: handle.uuid()?,
            name: handle.name()?,
            cpu_time: Duration::from_nanos(number("cpu.time").unwrap_or(0)),
            vcpus: number("vcpu.current").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            memory: kib("balloon.current").unwrap_or_default(),
            resident: kib("balloon.rss"),
            disk_read: sum("block.", ".rd.bytes"),
            disk_written: sum("block.", ".wr.bytes"),
            net_received: sum("net.", ".rx.bytes"),
            net_sent: sum("net.", ".tx.bytes"),
        })
    })
}

fn all_domain_stats(connection: &Connect, wanted: u32, flags: u32) -> Result<Vec<DomainStats>, Error> {
    read_domain_stats(connection, wanted, flags, copy_stats)
}

/// Calls `virConnectGetAllDomainStats`, and lets `read` copy what it needs of each domain.
fn read_domain_stats<T>(
    connection: &Connect,
    wanted: u32,
    flags: u32,
    read: impl Fn(Domain, &[c::virTypedParameter]) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut records: *mut c::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the connection is alive, `records` is an out pointer to a local.
    let count = unsafe {
        c::virConnectGetAllDomainStats(
            connection.as_ptr(),
            wanted as c_uint,
            &raw mut records,
            flags as c_uint,
        )
    };
    let count = usize::try_from(count).map_err(|_| Error::last_error())?;
    // SAFETY: on success libvirt has stored `count` valid record pointers at `records`.
    let listed = (0..count).map(|i| unsafe { read_record(*records.add(i), &read) }).collect();
    // SAFETY: `records` is the array that libvirt allocated, freed once, after its last use. The
    // handles that were kept hold references of their own.
    unsafe { c::virDomainStatsRecordListFree(records) };
    listed
}

/// # Safety
/// `record` points to a record of `virConnectGetAllDomainStats` that was not freed yet.
unsafe fn read_record<T>(
    record: c::virDomainStatsRecordPtr,
    read: impl Fn(Domain, &[c::virTypedParameter]) -> Result<T, Error>,
) -> Result<T, Error> {
    // SAFETY: by the function's contract the record, its domain and its parameters are alive; the
    // domain gets a reference of its own (virDomainRef) before a handle takes ownership of one.
    let (handle, params) = unsafe {
        let record = &*record;
        if c::virDomainRef(record.dom) < 0 {
            return Err(Error::last_error());
        }
        let count = usize::try_from(record.nparams).unwrap_or(0);
        // libvirt leaves a NULL pointer if there are no parameters, and a slice must not start at NULL even if it is
        // empty.
        let params: &[c::virTypedParameter] = if count == 0 || record.params.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(record.params, count)
        };
        (Domain::from_ptr(record.dom), params)
    };
    read(handle, params)
}

fn copy_stats(handle: Domain, params: &[c::virTypedParameter]) -> Result<DomainStats, Error> {
    let number = |name: &str| params.iter().find(|p| param_name(p) == name).and_then(param_value);
    let small = |name: &str| number(name).and_then(|n| u32::try_from(n).ok());
    Ok(DomainStats {
        uuid: handle.uuid()?,
        name: handle.name()?,
        state: small("state.state").unwrap_or(0),
        reason: small("state.reason").unwrap_or(0),
        vcpus: small("vcpu.current").or_else(|| small("vcpu.maximum")).unwrap_or(0),
        memory_kib: number("balloon.maximum").unwrap_or(0),
        handle,
    })
}

fn param_name(param: &c::virTypedParameter) -> &str {
    // SAFETY: libvirt writes a NUL-terminated name into the 80 octets of `field`.
    unsafe { CStr::from_ptr(param.field.as_ptr()) }.to_str().unwrap_or_default()
}

fn param_value(param: &c::virTypedParameter) -> Option<u64> {
    // SAFETY: `type_` says which member of the union libvirt wrote.
    unsafe {
        match u32::try_from(param.type_).ok()? {
            c::VIR_TYPED_PARAM_INT => u64::try_from(param.value.i).ok(),
            c::VIR_TYPED_PARAM_UINT => Some(u64::from(param.value.ui)),
            c::VIR_TYPED_PARAM_LLONG => u64::try_from(param.value.l).ok(),
            c::VIR_TYPED_PARAM_ULLONG => Some(param.value.ul),
            _ => None,
        }
    }
}

/// Whether a block job runs on a disk (`virDomainGetBlockJobInfo`): libvirt returns 1 if one does, else 0.
pub(super) fn has_block_job(domain: &Domain, target: &str) -> Result<bool, Error> {
    let target = CString::new(target)?;
    // SAFETY: the struct is plain numbers, for which zeros are a value.
    let mut info: c::virDomainBlockJobInfo = unsafe { std::mem::zeroed() };
    // SAFETY: handle and string are alive for the length of the call, `info` is an out pointer to a local.
    let answer = unsafe { c::virDomainGetBlockJobInfo(domain.as_ptr(), target.as_ptr(), &raw mut info, 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(answer == 1) }
}

/// Sets how long a guest's agent may take to answer libvirt's own commands; without a limit, libvirt waits for ever
/// (`virDomainAgentSetResponseTimeout`).
pub(super) fn set_agent_timeout(domain: &Domain, limit: Option<Duration>) -> Result<(), Error> {
    let seconds = limit.map_or(c::VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, |limit| {
        c_int::try_from(limit.as_secs().max(1)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the handle is alive for the length of the call; flags must be 0.
    let answer = unsafe { c::virDomainAgentSetResponseTimeout(domain.as_ptr(), seconds, 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// The domain XML in a domain's saved memory (`virDomainManagedSaveGetXMLDesc`).
pub(super) fn saved_xml(domain: &Domain) -> Result<String, Error> {
    // SAFETY: the handle is alive for the length of the call; without a flag no secrets are asked for.
    let text = unsafe { c::virDomainManagedSaveGetXMLDesc(domain.as_ptr(), 0) };
    if text.is_null() {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt returns a NUL-terminated string.
    let xml = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: libvirt allocated it with malloc for its caller; it is freed once, after its last use.
    unsafe { libc::free(text.cast()) };
    Ok(xml)
}

/// Sends a hole of `length` zero bytes to a sparse stream (`virStreamSendHole`).
pub(super) fn send_hole(stream: &Stream, length: u64) -> Result<(), Error> {
    let length = i64::try_from(length).map_err(|_| Error::last_error())?;
    // SAFETY: the stream is alive for the length of the call; flags must be 0.
    let answer = unsafe { c::virStreamSendHole(stream.as_ptr(), length, 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// The next part of a sparse stream.
pub(super) enum Received {
    /// This many bytes of data; 0 at the end.
    Data(usize),
    /// This many zero bytes.
    Hole(u64),
}

/// Reads the next part of a sparse stream (`virStreamRecvFlags`, `virStreamRecvHole`).
pub(super) fn receive(stream: &Stream, buffer: &mut [u8]) -> Result<Received, Error> {
    // `virStreamRecvFlags` returns this if a hole comes next.
    const HOLE: c_int = -3;
    let flags = c::VIR_STREAM_RECV_STOP_AT_HOLE as c_uint;
    // SAFETY: the stream is alive for the length of the call, the buffer is writable for its length.
    let got =
        unsafe { c::virStreamRecvFlags(stream.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), flags) };
    if got != HOLE {
        return usize::try_from(got).map(Received::Data).map_err(|_| Error::last_error());
    }
    let mut length = 0;
    // SAFETY: as above; the out pointer is to a local; flags must be 0.
    let answer = unsafe { c::virStreamRecvHole(stream.as_ptr(), &raw mut length, 0) };
    u64::try_from(length).ok().filter(|_| answer == 0).map(Received::Hole).ok_or_else(Error::last_error)
}
