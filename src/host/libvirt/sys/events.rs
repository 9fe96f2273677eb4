//! Subscriptions to the events of domains.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;
use virt::connect::Connect;
use virt::error::Error;
use virt::sys as c;

/// A domain event, with libvirt's numbers.
#[derive(Clone)]
pub(in crate::libvirt) struct RawEvent {
    /// The kind of event, a `virDomainEventID`.
    pub(in crate::libvirt) id: c_uint,
    /// The first number that comes with it, or 0.
    pub(in crate::libvirt) detail: c_int,
    pub(in crate::libvirt) domain: Uuid,
    pub(in crate::libvirt) name: String,
}

/// Sends the events of one kind for all domains (`virConnectDomainEventRegisterAny`), and returns the id of the
/// subscription. `id` must be a kind whose callback has at most two numbers, or a string.
///
/// # Errors
/// libvirt's, also if the driver has no such events.
pub(in crate::libvirt) fn subscribe(
    connection: &Connect,
    event: DomainEventId,
    watchers: Arc<Watchers>,
) -> Result<c_int, Error> {
    unsafe extern "C" fn on_lifecycle(
        _: c::virConnectPtr,
        domain: c::virDomainPtr,
        event: c_int,
        _: c_int,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: libvirt calls with the data below, and with a domain that is alive during the call.
        unsafe { send_event(domain, c::VIR_DOMAIN_EVENT_ID_LIFECYCLE, event, data) };
        0
    }
    unsafe extern "C" fn on_agent(
        _: c::virConnectPtr,
        domain: c::virDomainPtr,
        state: c_int,
        _: c_int,
        data: *mut c_void,
    ) {
        // SAFETY: as above.
        unsafe { send_event(domain, c::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, state, data) };
    }
    unsafe extern "C" fn on_device_removed(
        _: c::virConnectPtr,
        domain: c::virDomainPtr,
        _: *const c_char,
        data: *mut c_void,
    ) {
        // SAFETY: as above.
        unsafe { send_event(domain, c::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, 0, data) };
    }
    unsafe extern "C" fn release(data: *mut c_void) {
        // SAFETY: takes back the reference that was given up below; libvirt calls this once, after the last event.
        drop(unsafe { Arc::from_raw(data.cast::<Watchers>()) });
    }
    type Lifecycle =
        unsafe extern "C" fn(c::virConnectPtr, c::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;
    type Agent = unsafe extern "C" fn(c::virConnectPtr, c::virDomainPtr, c_int, c_int, *mut c_void);
    type DeviceCallback = unsafe extern "C" fn(c::virConnectPtr, c::virDomainPtr, *const c_char, *mut c_void);
    let data = Arc::into_raw(watchers);
    // SAFETY: libvirt takes each callback as a pointer of one type and calls it as the type of its event id, which is
    // the type that each has here (libvirt's page "libvirt-domain", VIR_DOMAIN_EVENT_CALLBACK).
    let (id, callback) = unsafe {
        match event {
            DomainEventId::Lifecycle => (
                c::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                std::mem::transmute::<Lifecycle, GenericFunction>(on_lifecycle),
            ),
            DomainEventId::Agent => (
                c::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
                std::mem::transmute::<Agent, GenericFunction>(on_agent),
            ),
            DomainEventId::DeviceRemoved => (
                c::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                std::mem::transmute::<DeviceCallback, GenericFunction>(on_device_removed),
            ),
        }
    };
    // SAFETY: the connection is alive; the data live until libvirt releases them.
    let number = unsafe {
        c::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            ptr::null_mut(),
            id.cast_signed(),
            Some(callback),
            data.cast_mut().cast(),
            Some(release),
        )
    };
    if number < 0 {
        let error = Error::last_error();
        // SAFETY: libvirt did not take the data, which it does not release on a failure.
        drop(unsafe { Arc::from_raw(data) });
        return Err(error);
    }
    Ok(number)
}

/// The events that [`subscribe`] knows.
#[derive(Debug, Clone, Copy)]
pub(in crate::libvirt) enum DomainEventId {
    Lifecycle,
    Agent,
    DeviceRemoved,
}

type GenericFunction = unsafe extern "C" fn(c::virConnectPtr, c::virDomainPtr, *mut c_void);

/// # Safety
/// `data` are watchers, `domain` is alive.
unsafe fn send_event(domain: c::virDomainPtr, id: c_uint, detail: c_int, data: *mut c_void) {
    let mut uuid = [0; 16];
    // SAFETY: by the function's contract; libvirt writes 16 octets.
    let found = unsafe { c::virDomainGetUUID(domain, uuid.as_mut_ptr()) };
    // SAFETY: as above.
    let name = unsafe { c::virDomainGetName(domain) };
    if found < 0 || name.is_null() {
        return;
    }
    // SAFETY: libvirt's names end with NUL and live as long as the domain.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    // SAFETY: by the function's contract.
    let watchers = unsafe { &*data.cast::<Watchers>() };
    watchers.tell(&RawEvent { id, detail, domain: Uuid::from_bytes(uuid), name });
}

/// The receivers of a subscription's events.
#[derive(Default)]
pub(in crate::libvirt) struct Watchers(Mutex<Vec<Sender<RawEvent>>>);

impl Watchers {
    pub(in crate::libvirt) fn add(&self, watcher: Sender<RawEvent>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    /// A receiver that was dropped is removed.
    fn tell(&self, event: &RawEvent) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }
}

/// Ends a subscription (`virConnectDomainEventDeregisterAny`).
pub(in crate::libvirt) fn unsubscribe(connection: &Connect, number: c_int) -> Result<(), Error> {
    // SAFETY: the connection is alive; an unknown number only causes an error.
    let answer = unsafe { c::virConnectDomainEventDeregisterAny(connection.as_ptr(), number) };
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}
