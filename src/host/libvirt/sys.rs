//! The calls that the bindings lack or get wrong: the only unsafe code of foundry.
//!
//! `Connect::all_domain_stats` of virt 0.5 hands out raw pointers and never frees them, and
//! `Domain::state` loses a state that it does not know. Each block below says why it is sound.
#![allow(unsafe_code, reason = "the one place for it; every block has its argument")]

use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;

use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::stream::Stream;
use virt::sys as c;

/// What one bulk call tells of a domain.
pub(super) struct DomainStats {
    pub(super) handle: Domain,
    pub(super) uuid: Uuid,
    pub(super) name: String,
    pub(super) state: u32,
    pub(super) reason: u32,
    pub(super) vcpus: u32,
    pub(super) memory_kib: u64,
}

/// `virDomainGetState` with the numbers as they are.
pub(super) fn state(domain: &Domain) -> Result<(u32, u32), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the handle is alive for the length of the call, both out pointers are to locals.
    let answer = unsafe { c::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    if answer < 0 {
        return Err(Error::last_error());
    }
    Ok((state.cast_unsigned(), reason.cast_unsigned()))
}

/// The states of domains in one round trip. No QEMU is asked: one that hangs would hold up everybody.
pub(super) fn all_states(connection: &Connect, active_only: bool) -> Result<Vec<DomainStats>, Error> {
    let active = if active_only { c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE } else { 0 };
    all_domain_stats(connection, c::VIR_DOMAIN_STATS_STATE, active)
}

/// CPUs and memory of the domains that are off, in one round trip. Of those that run, libvirt would ask QEMU.
pub(super) fn sizes_of_inactive(connection: &Connect) -> Result<Vec<DomainStats>, Error> {
    let wanted = c::VIR_DOMAIN_STATS_VCPU | c::VIR_DOMAIN_STATS_BALLOON;
    // NOWAIT: another program may work on one of them.
    let which = c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE | c::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    all_domain_stats(connection, wanted, which)
}

/// `virConnectGetAllDomainStats`.
fn all_domain_stats(connection: &Connect, wanted: u32, flags: u32) -> Result<Vec<DomainStats>, Error> {
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
    let listed = (0..count).map(|i| unsafe { read_record(*records.add(i)) }).collect();
    // SAFETY: `records` is the array that libvirt allocated, freed once, after its last use. The
    // handles that were kept hold references of their own.
    unsafe { c::virDomainStatsRecordListFree(records) };
    listed
}

/// # Safety
/// `record` points to a record of `virConnectGetAllDomainStats` that was not freed yet.
unsafe fn read_record(record: c::virDomainStatsRecordPtr) -> Result<DomainStats, Error> {
    // SAFETY: by the function's contract the record, its domain and its parameters are alive; the
    // domain gets a reference of its own (virDomainRef) before a handle takes ownership of one.
    let (handle, params) = unsafe {
        let record = &*record;
        if c::virDomainRef(record.dom) < 0 {
            return Err(Error::last_error());
        }
        let count = usize::try_from(record.nparams).unwrap_or(0);
        // A slice may be empty, and not at NULL, where libvirt leaves the parameters of a record without any.
        let params: &[c::virTypedParameter] = if count == 0 || record.params.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(record.params, count)
        };
        (Domain::from_ptr(record.dom), params)
    };
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

/// Whether a block job works on a disk (`virDomainGetBlockJobInfo`): 1 where one does, 0 where none does.
pub(super) fn has_block_job(domain: &Domain, target: &str) -> Result<bool, Error> {
    let target = CString::new(target)?;
    // SAFETY: the struct is plain numbers, for which zeros are a value.
    let mut info: c::virDomainBlockJobInfo = unsafe { std::mem::zeroed() };
    // SAFETY: handle and string are alive for the length of the call, `info` is an out pointer to a local.
    let answer = unsafe { c::virDomainGetBlockJobInfo(domain.as_ptr(), target.as_ptr(), &raw mut info, 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(answer == 1) }
}

/// The description in a domain's saved memory (`virDomainManagedSaveGetXMLDesc`).
pub(super) fn saved_xml(domain: &Domain) -> Result<String, Error> {
    // SAFETY: the handle is alive for the length of the call; without a flag no secrets are asked for.
    let text = unsafe { c::virDomainManagedSaveGetXMLDesc(domain.as_ptr(), 0) };
    if text.is_null() {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt answers with a NUL-terminated string.
    let xml = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: libvirt allocated it with malloc for its caller, who frees it once, after its last use.
    unsafe { libc::free(text.cast()) };
    Ok(xml)
}

/// Tells the other end of a sparse stream of `length` zero bytes (`virStreamSendHole`).
pub(super) fn send_hole(stream: &Stream, length: u64) -> Result<(), Error> {
    let length = i64::try_from(length).map_err(|_| Error::last_error())?;
    // SAFETY: the stream is alive for the length of the call; flags must be 0.
    let answer = unsafe { c::virStreamSendHole(stream.as_ptr(), length, 0) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// What a sparse stream had next.
pub(super) enum Received {
    /// So many bytes; none at the end.
    Data(usize),
    /// So many zeros.
    Hole(u64),
}

/// Reads on in a sparse stream (`virStreamRecvFlags`, `virStreamRecvHole`).
pub(super) fn receive(stream: &Stream, buffer: &mut [u8]) -> Result<Received, Error> {
    // The answer of `virStreamRecvFlags` that says that a hole comes next.
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

/// What libvirt calls when something happens at a descriptor.
pub(super) type HandleFunction = unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void);
/// What libvirt calls when a timer is due.
pub(super) type TimerFunction = unsafe extern "C" fn(c_int, *mut c_void);

/// A function of libvirt's, and the data that it is called with. Dropped, libvirt releases the data.
pub(super) struct Callback<F> {
    function: F,
    data: *mut c_void,
    release: c::virFreeCallback,
}

// SAFETY: libvirt's callbacks may be called from any thread, and it locks what they share (its page "Event loop
// implementation"). Only libvirt looks at the data.
unsafe impl<F: Send> Send for Callback<F> {}
// SAFETY: as above.
unsafe impl<F: Sync> Sync for Callback<F> {}

impl Callback<HandleFunction> {
    /// `events` as libvirt numbers them.
    pub(super) fn call(&self, watch: c_int, fd: RawFd, events: c_int) {
        // SAFETY: libvirt gave function and data for one another; the data are released when `self` is dropped.
        unsafe { (self.function)(watch, fd, events, self.data) }
    }
}

impl Callback<TimerFunction> {
    pub(super) fn call(&self, number: c_int) {
        // SAFETY: as for a handle.
        unsafe { (self.function)(number, self.data) }
    }
}

impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: libvirt gave it for these data, which nothing uses any more.
            unsafe { release(self.data) }
        }
    }
}

/// An event loop for libvirt's client. `events` are those of poll(2); times are in milliseconds, negative for a
/// timer that is switched off. A callback is dropped after its removal, in none of these functions: libvirt may hold
/// a lock that its release needs.
pub(super) trait EventLoop: Sync {
    fn add_handle(&self, fd: RawFd, events: i16, callback: Callback<HandleFunction>) -> c_int;
    fn update_handle(&self, watch: c_int, events: i16);
    fn remove_handle(&self, watch: c_int) -> bool;
    fn add_timer(&self, milliseconds: c_int, callback: Callback<TimerFunction>) -> c_int;
    fn update_timer(&self, number: c_int, milliseconds: c_int);
    fn remove_timer(&self, number: c_int) -> bool;
}

static EVENT_LOOP: OnceLock<&dyn EventLoop> = OnceLock::new();

/// libvirt's numbers of events, and poll(2)'s.
const EVENTS: [(c_uint, i16); 4] = [
    (c::VIR_EVENT_HANDLE_READABLE, libc::POLLIN),
    (c::VIR_EVENT_HANDLE_WRITABLE, libc::POLLOUT),
    (c::VIR_EVENT_HANDLE_ERROR, libc::POLLERR),
    (c::VIR_EVENT_HANDLE_HANGUP, libc::POLLHUP),
];

fn events_of_poll(events: c_int) -> i16 {
    let set = EVENTS.iter().filter(|(libvirts, _)| events.cast_unsigned() & libvirts != 0);
    set.fold(0, |all, (_, polls)| all | polls)
}

/// libvirt's numbers of the events that poll(2) reported.
pub(super) fn events_of_libvirt(events: i16) -> c_int {
    // A descriptor that was closed is an error to libvirt.
    let events = if events & libc::POLLNVAL == 0 { events } else { events | libc::POLLERR };
    let set = EVENTS.iter().filter(|(_, polls)| events & polls != 0);
    set.fold(0, |all, (libvirts, _)| all | libvirts.cast_signed())
}

/// Has libvirt use this event loop (`virEventRegisterImpl`). It keeps the first one that a process registers.
pub(super) fn register_event_loop(event_loop: &'static dyn EventLoop) {
    unsafe extern "C" fn add_handle(
        fd: c_int,
        events: c_int,
        function: c::virEventHandleCallback,
        data: *mut c_void,
        release: c::virFreeCallback,
    ) -> c_int {
        let (Some(event_loop), Some(function)) = (EVENT_LOOP.get(), function) else { return -1 };
        event_loop.add_handle(fd, events_of_poll(events), Callback { function, data, release })
    }
    unsafe extern "C" fn update_handle(watch: c_int, events: c_int) {
        if let Some(event_loop) = EVENT_LOOP.get() {
            event_loop.update_handle(watch, events_of_poll(events));
        }
    }
    unsafe extern "C" fn remove_handle(watch: c_int) -> c_int {
        if EVENT_LOOP.get().is_some_and(|event_loop| event_loop.remove_handle(watch)) { 0 } else { -1 }
    }
    unsafe extern "C" fn add_timer(
        milliseconds: c_int,
        function: c::virEventTimeoutCallback,
        data: *mut c_void,
        release: c::virFreeCallback,
    ) -> c_int {
        let (Some(event_loop), Some(function)) = (EVENT_LOOP.get(), function) else { return -1 };
        event_loop.add_timer(milliseconds, Callback { function, data, release })
    }
    unsafe extern "C" fn update_timer(number: c_int, milliseconds: c_int) {
        if let Some(event_loop) = EVENT_LOOP.get() {
            event_loop.update_timer(number, milliseconds);
        }
    }
    unsafe extern "C" fn remove_timer(number: c_int) -> c_int {
        if EVENT_LOOP.get().is_some_and(|event_loop| event_loop.remove_timer(number)) { 0 } else { -1 }
    }
    if EVENT_LOOP.set(event_loop).is_err() {
        return;
    }
    // SAFETY: the functions live as long as the process, and so does the loop that they lead to. libvirt may be
    // initialized more than once; without it the registration would find no locks.
    unsafe {
        c::virInitialize();
        c::virEventRegisterImpl(
            Some(add_handle),
            Some(update_handle),
            Some(remove_handle),
            Some(add_timer),
            Some(update_timer),
            Some(remove_timer),
        );
    }
}

/// poll(2), for so many milliseconds, -1 for as long as it takes. A failure reports no events.
pub(super) fn poll(descriptors: &mut [libc::pollfd], milliseconds: c_int) {
    let Ok(count) = libc::nfds_t::try_from(descriptors.len()) else { return };
    // SAFETY: the slice is alive and writable for the length of the call; each descriptor is a number, and one that
    // is none is reported as such.
    unsafe { libc::poll(descriptors.as_mut_ptr(), count, milliseconds) };
}

/// Another descriptor for the same socket, which belongs to the caller (fcntl(2), F_DUPFD_CLOEXEC).
pub(super) fn duplicate(socket: RawFd) -> Option<OwnedFd> {
    // SAFETY: takes a number; one that is not open is an error and nothing else.
    let copy = unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the call has just opened it, for nobody else.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes every descriptor but standard input, output and error: for a process that has just begun.
pub(super) fn close_inherited() {
    // SAFETY: the only caller is the first thing that its process does, before anything is opened that has an owner; a
    // descriptor that a caller left open belongs to nothing in this process.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Bytes that were sent over a socket and that the other end has not taken yet (unix(7) and tcp(7), `SIOCOUTQ`); 0 where
/// the socket cannot say.
pub(super) fn unread(socket: &impl AsRawFd) -> c_int {
    let mut bytes = 0;
    // SAFETY: the out pointer is to a local.
    unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    bytes
}

/// Ends what comes over a socket (shutdown(2)): whoever reads from it reads an end. The other side finds it open as
/// long as anybody has it.
pub(super) fn stop_receiving(socket: RawFd) {
    // SAFETY: takes a number; one that is no socket, or none any more, is an error and nothing else.
    unsafe { libc::shutdown(socket, libc::SHUT_RD) };
}

/// The process at the other end of a Unix socket: the one that listens there (unix(7), SO_PEERCRED). 0 for one that
/// this process cannot see, and of any other socket; `None` where there is no socket.
pub(super) fn peer(socket: RawFd) -> Option<i32> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: both pointers are to locals that outlive the call, and `length` is the first one's size.
    let answer = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut who).cast(), &raw mut length)
    };
    (answer == 0).then_some(who.pid)
}
