//! The event loop that libvirt's client needs for events, keepalives and their timers.
//!
//! libvirt accepts any event loop (its page "Event loop implementation") and has a default one. This one replaces it
//! for one reason: libvirt does not expose the sockets of a connection, but adds them to the event loop in the thread
//! that connects. So foundry learns the sockets of each connection, even if several are opened at the same time.
//!
//! ```text
//! virConnectOpen ──add_handle(fd)──▶ table of handles ◀──update, remove── any thread
//!                                    table of timers
//!                                          │ poll(2), in one thread
//!                                          ▼
//!                                    libvirt's callbacks, called without a lock; what was removed is released after them
//! ```

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::sockets::Sockets;
use super::sys::{self, Callback, HandleFunction, TimerFunction};

static LOOP: PollLoop = PollLoop { table: Mutex::new(CallbackTable::new()), wake: OnceLock::new() };

thread_local! {
    /// The connection that this thread is opening.
    static OPENING: RefCell<Option<Sockets>> = const { RefCell::new(None) };
}

/// Starts the event loop of this process, once. It runs until the process ends.
///
/// libvirt uses one event loop in a process. If the program has registered another one before, foundry cannot end a
/// call after a timeout, and treats every host as a remote one.
pub(super) fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Ok((ours, theirs)) = UnixStream::pair() else { return };
        // If the buffer is full, the loop is already being woken.
        if ours.set_nonblocking(true).is_err() || theirs.set_nonblocking(true).is_err() {
            return;
        }
        let _ = LOOP.wake.set(ours);
        let turn = move || {
            loop {
                LOOP.turn(&theirs);
            }
        };
        // Without the thread, connections have no keepalives and no events; call timeouts still work.
        if thread::Builder::new().name("libvirt-events".into()).spawn(turn).is_ok() {
            sys::register_event_loop(&LOOP);
        }
    });
}

/// Runs `open` in this thread, and adds the sockets that it opens for libvirt to `sockets`.
pub(super) fn collect_sockets<T>(sockets: &Sockets, open: impl FnOnce() -> T) -> T {
    OPENING.set(Some(sockets.clone()));
    let opened = open();
    OPENING.set(None);
    opened
}

struct PollLoop {
    table: Mutex<CallbackTable>,
    /// A byte written here ends the wait for events.
    wake: OnceLock<UnixStream>,
}

struct CallbackTable {
    /// The next number of a handle or a timer.
    next: i32,
    handles: Vec<Handle>,
    timers: Vec<Timer>,
    /// Callbacks of handles and timers that were removed. libvirt may hold a lock while it removes one, so what belongs
    /// to it is released later, by the loop's thread.
    removed: Vec<Box<dyn Send>>,
}

struct Handle {
    watch: i32,
    fd: RawFd,
    /// As in poll(2); 0 for a disabled handle.
    events: i16,
    callback: Arc<Callback<HandleFunction>>,
}

struct Timer {
    number: i32,
    /// `None` for a disabled timer.
    every: Option<Duration>,
    due: Instant,
    callback: Arc<Callback<TimerFunction>>,
}

impl CallbackTable {
    const fn new() -> Self {
        Self { next: 1, handles: Vec::new(), timers: Vec::new(), removed: Vec::new() }
    }

    fn take_number(&mut self) -> i32 {
        let number = self.next;
        // Never negative, which libvirt takes for a failure.
        self.next = self.next.wrapping_add(1).max(1);
        number
    }

    /// Keeps a removed callback until the loop's thread drops it; returns whether there was one.
    fn keep_removed(&mut self, removed: Option<impl Send + 'static>) -> bool {
        let is_removed = removed.is_some();
        self.removed.extend(removed.map(|callback| Box::new(callback) as Box<dyn Send>));
        is_removed
    }

    /// When the next timer is due.
    fn next_due(&self) -> Option<Instant> {
        self.timers.iter().filter(|timer| timer.every.is_some()).map(|timer| timer.due).min()
    }
}

impl PollLoop {
    fn table(&self) -> MutexGuard<'_, CallbackTable> {
        // Each change is one statement, so a panic between two leaves nothing half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table, and wakes the loop to read it again.
    fn change<T>(&self, change: impl FnOnce(&mut CallbackTable) -> T) -> T {
        let changed = change(&mut self.table());
        if let Some(mut wake) = self.wake.get() {
            let _ = wake.write(&[0]);
        }
        changed
    }

    /// Waits for events or the next timer, and runs the callbacks.
    fn turn(&self, mut woken: &UnixStream) {
        let (watches, mut polled, timeout) = self.to_poll(woken.as_raw_fd());
        sys::poll(&mut polled, timeout);
        // Any number of bytes is one wake-up, so all are read.
        while woken.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        self.call_due_timers(Instant::now());
        for (watch, polled) in watches.into_iter().zip(&polled[1..]) {
            self.call_handle(watch, polled.revents);
        }
        // In two statements: the table must be unlocked when libvirt's release functions run.
        let removed = std::mem::take(&mut self.table().removed);
        drop(removed);
    }

    /// The watches; the descriptors to poll, with the wake-up descriptor first; and the time until a timer is due, in
    /// milliseconds, or -1 without a timer.
    fn to_poll(&self, wake: RawFd) -> (Vec<i32>, Vec<libc::pollfd>, i32) {
        let table = self.table();
        let mut polled = vec![libc::pollfd { fd: wake, events: libc::POLLIN, revents: 0 }];
        // poll(2) reports errors even for a descriptor without requested events, so a disabled one is left out.
        let switched_on = table.handles.iter().filter(|handle| handle.events != 0);
        let watches = switched_on.map(|handle| {
            polled.push(libc::pollfd { fd: handle.fd, events: handle.events, revents: 0 });
            handle.watch
        });
        let watches = watches.collect();
        let timeout = table.next_due().map_or(-1, |due| {
            let left = due.saturating_duration_since(Instant::now());
            // Rounded up, so that the loop does not spin just before a timer is due.
            i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        (watches, polled, timeout)
    }

    fn call_due_timers(&self, now: Instant) {
        let due = |timer: &&mut Timer| timer.every.is_some() && timer.due <= now;
        let mut called = Vec::new();
        for timer in self.table().timers.iter_mut().filter(due) {
            timer.due = now + timer.every.unwrap_or_default();
            called.push((timer.number, Arc::clone(&timer.callback)));
        }
        for (number, callback) in called {
            // An earlier callback, or another thread, may have removed it or switched it off.
            let is_on = |timer: &Timer| timer.number == number && timer.every.is_some();
            let is_on = self.table().timers.iter().any(is_on);
            if is_on {
                callback.call(number);
            }
        }
    }

    fn call_handle(&self, watch: i32, happened: i16) {
        if happened == 0 {
            return;
        }
        let found = {
            let table = self.table();
            // An earlier callback, or another thread during poll(2), may have removed it or switched it off.
            let handle = table.handles.iter().find(|handle| handle.watch == watch && handle.events != 0);
            handle.map(|handle| (handle.fd, Arc::clone(&handle.callback)))
        };
        if let Some((fd, callback)) = found {
            callback.call(watch, fd, sys::events_of_libvirt(happened));
        }
    }
}

/// Converts libvirt's milliseconds; negative means a disabled timer.
fn interval(milliseconds: i32) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

impl sys::EventLoop for PollLoop {
    fn add_handle(&self, fd: RawFd, events: i16, callback: Callback<HandleFunction>) -> i32 {
        OPENING.with_borrow(|opening| {
            if let Some(sockets) = opening {
                sockets.add(fd);
            }
        });
        self.change(|table| {
            let watch = table.take_number();
            table.handles.push(Handle { watch, fd, events, callback: Arc::new(callback) });
            watch
        })
    }

    fn update_handle(&self, watch: i32, events: i16) {
        self.change(|table| {
            if let Some(handle) = table.handles.iter_mut().find(|handle| handle.watch == watch) {
                handle.events = events;
            }
        });
    }

    fn remove_handle(&self, watch: i32) -> bool {
        self.change(|table| {
            let index = table.handles.iter().position(|handle| handle.watch == watch);
            let removed = index.map(|index| table.handles.swap_remove(index).callback);
            table.keep_removed(removed)
        })
    }

    fn add_timer(&self, milliseconds: i32, callback: Callback<TimerFunction>) -> i32 {
        let every = interval(milliseconds);
        let due = Instant::now() + every.unwrap_or_default();
        self.change(|table| {
            let number = table.take_number();
            table.timers.push(Timer { number, every, due, callback: Arc::new(callback) });
            number
        })
    }

    fn update_timer(&self, number: i32, milliseconds: i32) {
        self.change(|table| {
            if let Some(timer) = table.timers.iter_mut().find(|timer| timer.number == number) {
                timer.every = interval(milliseconds);
                timer.due = Instant::now() + timer.every.unwrap_or_default();
            }
        });
    }

    fn remove_timer(&self, number: i32) -> bool {
        self.change(|table| {
            let index = table.timers.iter().position(|timer| timer.number == number);
            let removed = index.map(|index| table.timers.swap_remove(index).callback);
            table.keep_removed(removed)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use virt::event::{event_add_handle, event_add_timeout};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_handle_is_called_until_it_is_removed_and_is_then_released() {
        start();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let (sender, called) = channel();
        let mut reader = theirs.try_clone().unwrap();
        let callback = move |_, fd, events, _| {
            let _ = reader.read(&mut [0]);
            let _ = sender.send((fd, events));
        };
        let handle = event_add_handle(theirs.as_raw_fd(), 1, callback, std::ptr::null_mut()).unwrap();
        for _ in 0..2 {
            ours.write_all(&[1]).unwrap();
            assert_eq!(called.recv_timeout(PATIENCE).unwrap(), (theirs.as_raw_fd(), 1));
        }
        handle.event_update_handle(0);
        ours.write_all(&[1]).unwrap();
        assert!(called.recv_timeout(Duration::from_millis(50)).is_err(), "it is switched off");
        handle.event_update_handle(1);
        assert_eq!(called.recv_timeout(PATIENCE).unwrap().1, 1, "and on again");
        handle.event_remove_handle().unwrap();
        ours.write_all(&[1]).unwrap();
        let ended = called.recv_timeout(PATIENCE);
        assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "its data are released");
        assert!(handle.event_remove_handle().is_err(), "it is not there any more");
    }

    #[test]
    fn a_timer_is_called_again_and_again_until_it_is_switched_off() {
        start();
        let (sender, called) = channel();
        let callback = move |_, _| {
            let _ = sender.send(());
        };
        let timer = event_add_timeout(-1, callback, std::ptr::null_mut()).unwrap();
        assert!(called.recv_timeout(Duration::from_millis(50)).is_err(), "it begins switched off");
        timer.event_update_timeout(1);
        for _ in 0..3 {
            called.recv_timeout(PATIENCE).unwrap();
        }
        timer.event_remove_timeout().unwrap();
        while called.recv_timeout(PATIENCE).is_ok() {}
        assert_eq!(called.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn a_connection_collects_the_sockets_of_its_own_thread_only() {
        start();
        let add = |socket: &UnixStream| {
            event_add_handle(socket.as_raw_fd(), 1, |_, _, _, _| {}, std::ptr::null_mut()).unwrap()
        };
        let (one, other) = UnixStream::pair().unwrap();
        let sockets = Sockets::default();
        let handles = collect_sockets(&sockets, || {
            thread::scope(|scope| {
                let beside = scope.spawn(|| add(&other).0);
                [add(&one).0, beside.join().unwrap()]
            })
        });
        assert_eq!(sockets.still_open(), [one.as_raw_fd()]);
        let later = add(&other).0;
        assert_eq!(sockets.still_open(), [one.as_raw_fd()], "it is over");
        for watch in [handles[0], handles[1], later] {
            virt::event::EventHandleWatch(watch).event_remove_handle().unwrap();
        }
    }
}
