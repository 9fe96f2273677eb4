//! Streams that do not block.
//!
//! `Stream::event_add_callback` of virt 0.5 gives libvirt a pointer to a value that may move, and its `drop` panics if
//! the stream has ended before. Here libvirt gets data of their own, which it releases itself.

use std::ffi::{c_int, c_uint, c_void};
use std::io::Write;
use std::os::unix::net::UnixStream;

use virt::error::Error;
use virt::stream::Stream;
use virt::sys as c;

/// Returned by `virStreamRecv` and `virStreamSend` of a stream that does not block, if they would.
const WOULD_BLOCK: c_int = -2;

/// What wakes the reader.
const EVENTS: c_uint = c::VIR_STREAM_EVENT_READABLE | c::VIR_STREAM_EVENT_ERROR | c::VIR_STREAM_EVENT_HANGUP;

/// A stream that does not block, and wakes a reader if it has something to read or has ended.
pub(in crate::libvirt) struct WatchedStream(Stream);

impl WatchedStream {
    /// Writes a byte to `wake` if there is something to read (`virStreamEventAddCallback`), once, and again after each
    /// [`WatchedStream::rearm`]. Neither `wake` nor the stream may block.
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::libvirt) fn start(stream: Stream, wake: UnixStream) -> Result<Self, Error> {
        unsafe extern "C" fn on_event(stream: c::virStreamPtr, _: c_int, data: *mut c_void) {
            // SAFETY: libvirt calls with the data below, which it has not released yet.
            let mut wake = unsafe { &*data.cast::<UnixStream>() };
            // Until the reader has read, libvirt would call again and again.
            // SAFETY: the stream is alive during the call, and libvirt holds no lock of it.
            unsafe { c::virStreamEventUpdateCallback(stream, 0) };
            // After that, or the reader could rearm in between. If the buffer is full, it is already being woken.
            let _ = wake.write(&[0]);
        }
        unsafe extern "C" fn release(data: *mut c_void) {
            // SAFETY: takes back what was given up below; libvirt calls this once, after the last event.
            drop(unsafe { Box::from_raw(data.cast::<UnixStream>()) });
        }
        let data = Box::into_raw(Box::new(wake));
        let events = EVENTS.cast_signed();
        // SAFETY: the stream is alive; the data live until libvirt releases them.
        let answer = unsafe {
            c::virStreamEventAddCallback(stream.as_ptr(), events, Some(on_event), data.cast(), Some(release))
        };
        if answer < 0 {
            let error = Error::last_error();
            // SAFETY: libvirt did not take the data, which it does not release on a failure.
            drop(unsafe { Box::from_raw(data) });
            return Err(error);
        }
        Ok(Self(stream))
    }

    /// Asks to be woken again. What can be read already wakes the reader, too.
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::libvirt) fn rearm(&self) -> Result<(), Error> {
        // SAFETY: the stream is alive.
        check(unsafe { c::virStreamEventUpdateCallback(self.0.as_ptr(), EVENTS.cast_signed()) })
    }

    /// Reads what is there (`virStreamRecv`): the number of bytes, 0 at the end; `None` if there is nothing yet.
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::libvirt) fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        // SAFETY: the stream is alive for the length of the call, the buffer is writable for its length.
        count(unsafe { c::virStreamRecv(self.0.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })
    }

    /// Sends as many bytes as fit (`virStreamSend`) and returns their number; `None` if there is no room now.
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::libvirt) fn send(&self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        // SAFETY: the stream is alive for the length of the call, the bytes are readable for their length.
        count(unsafe { c::virStreamSend(self.0.as_ptr(), bytes.as_ptr().cast(), bytes.len()) })
    }

    /// Ends the session before the guest does (`virStreamAbort`).
    ///
    /// # Errors
    /// libvirt's, also if the stream has ended.
    pub(in crate::libvirt) fn abort(&self) -> Result<(), Error> {
        self.stop_watching();
        // SAFETY: the stream is alive.
        check(unsafe { c::virStreamAbort(self.0.as_ptr()) })
    }

    /// Ends the session after its last byte (`virStreamFinish`).
    ///
    /// # Errors
    /// libvirt's.
    pub(in crate::libvirt) fn finish(&self) -> Result<(), Error> {
        self.stop_watching();
        // SAFETY: the stream is alive.
        check(unsafe { c::virStreamFinish(self.0.as_ptr()) })
    }

    /// A stream that has ended by itself has no callback any more, so a failure does not matter.
    fn stop_watching(&self) {
        // SAFETY: the stream is alive.
        unsafe { c::virStreamEventRemoveCallback(self.0.as_ptr()) };
    }
}

impl Drop for WatchedStream {
    fn drop(&mut self) {
        self.stop_watching();
    }
}

fn check(answer: c_int) -> Result<(), Error> {
    if answer < 0 { Err(Error::last_error()) } else { Ok(()) }
}

fn count(answer: c_int) -> Result<Option<usize>, Error> {
    if answer == WOULD_BLOCK {
        return Ok(None);
    }
    usize::try_from(answer).map(Some).map_err(|_| Error::last_error())
}
