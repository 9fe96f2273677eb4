//! The callbacks of libvirt's event loop.

use std::ffi::{c_int, c_uint, c_void};
use std::os::fd::RawFd;
use std::sync::OnceLock;

use virt::sys as c;

/// The callback for events of a descriptor.
pub(in crate::libvirt) type HandleFunction = unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void);
/// The callback for a timer that is due.
pub(in crate::libvirt) type TimerFunction = unsafe extern "C" fn(c_int, *mut c_void);

/// A libvirt callback with its data. When it is dropped, libvirt releases the data.
pub(in crate::libvirt) struct Callback<F> {
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
    /// Calls the function; `events` are libvirt's numbers.
    pub(in crate::libvirt) fn call(&self, watch: c_int, fd: RawFd, events: c_int) {
        // SAFETY: libvirt registered function and data together; the data are released when `self` is dropped.
        unsafe { (self.function)(watch, fd, events, self.data) }
    }
}

impl Callback<TimerFunction> {
    pub(in crate::libvirt) fn call(&self, number: c_int) {
        // SAFETY: as for a handle.
        unsafe { (self.function)(number, self.data) }
    }
}

impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: libvirt registered this function for these data, which nothing uses any more.
            unsafe { release(self.data) }
        }
    }
}

/// An event loop for libvirt's client. `events` are those of poll(2); times are in milliseconds, negative for a
/// disabled timer. None of these functions may drop a removed callback itself: libvirt may hold a lock that the release
/// needs.
pub(in crate::libvirt) trait EventLoop: Sync {
    fn add_handle(&self, fd: RawFd, events: i16, callback: Callback<HandleFunction>) -> c_int;
    fn update_handle(&self, watch: c_int, events: i16);
    fn remove_handle(&self, watch: c_int) -> bool;
    fn add_timer(&self, milliseconds: c_int, callback: Callback<TimerFunction>) -> c_int;
    fn update_timer(&self, number: c_int, milliseconds: c_int);
    fn remove_timer(&self, number: c_int) -> bool;
}

static EVENT_LOOP: OnceLock<&dyn EventLoop> = OnceLock::new();

/// libvirt's event numbers, and those of poll(2).
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

/// Converts the events of poll(2) to libvirt's numbers.
pub(in crate::libvirt) fn events_of_libvirt(events: i16) -> c_int {
    // libvirt has no number for a closed descriptor; it counts as an error.
    let events = if events & libc::POLLNVAL == 0 { events } else { events | libc::POLLERR };
    let set = EVENTS.iter().filter(|(_, polls)| events & polls != 0);
    set.fold(0, |all, (libvirts, _)| all | libvirts.cast_signed())
}

/// Registers this event loop with libvirt (`virEventRegisterImpl`). libvirt keeps the first one that a process
/// registers.
pub(in crate::libvirt) fn register_event_loop(event_loop: &'static dyn EventLoop) {
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
    // SAFETY: the functions and the loop that they lead to live as long as the process. libvirt may be initialized more
    // than once; without it, the locks that the registration needs would not exist.
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
