//! Stands between foundry and a libvirtd, numbers the calls, and at one of them does what goes wrong in life.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::host::Daemon;
use super::rpc::Packet;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The connection is cut before the daemon gets the call.
    CutBefore,
    /// The connection is cut when the daemon has done it.
    CutAfter,
    /// The daemon refuses it.
    Refused,
    /// It takes a while.
    Delayed,
    /// foundry is killed before the daemon gets the call.
    FoundryKilledBefore,
    /// foundry is killed when the daemon has done it.
    FoundryKilledAfter,
    /// The daemon is killed before it gets the call, and started again.
    DaemonKilledBefore,
    /// The daemon is killed when it has done it, and started again.
    DaemonKilledAfter,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::CutBefore,
        Self::CutAfter,
        Self::Refused,
        Self::Delayed,
        Self::FoundryKilledBefore,
        Self::FoundryKilledAfter,
        Self::DaemonKilledBefore,
        Self::DaemonKilledAfter,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CutBefore => "cut before",
            Self::CutAfter => "cut after",
            Self::Refused => "refused",
            Self::Delayed => "delayed",
            Self::FoundryKilledBefore => "foundry killed before",
            Self::FoundryKilledAfter => "foundry killed after",
            Self::DaemonKilledBefore => "libvirtd killed before",
            Self::DaemonKilledAfter => "libvirtd killed after",
        }
    }

    fn is_after(self) -> bool {
        matches!(self, Self::CutAfter | Self::FoundryKilledAfter | Self::DaemonKilledAfter)
    }
}

const DELAY: Duration = Duration::from_millis(300);
/// As long as a daemon may take to come back before the connection to it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the connections of one run share.
#[derive(Default)]
struct State {
    calls: Vec<String>,
    planned: Option<(usize, Fault)>,
    /// Whether what was planned came.
    struck: bool,
    victim: Option<Arc<Mutex<Child>>>,
    connections: usize,
}

struct Shared {
    state: Mutex<State>,
    closed: Condvar,
    daemon: Daemon,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy; it listens until the process ends.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    /// A URI on which foundry takes the host for its own machine.
    pub(crate) near: String,
    /// One on which it is another.
    pub(crate) far: String,
}

impl Proxy {
    pub(crate) fn start(socket: &Path, daemon: Daemon) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), closed: Condvar::new(), daemon });
        let unix = UnixListener::bind(socket)?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        let (near, far) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || unix.incoming().flatten().for_each(|client| serve(&near, client)));
        // A stream socket is a stream socket: nothing is done with it that is not the same for both families.
        let plain = |client| UnixStream::from(OwnedFd::from(client));
        thread::spawn(move || tcp.incoming().flatten().for_each(|client| serve(&far, plain(client))));
        Ok(Self {
            shared,
            near: format!("qemu+unix:///system?socket={}", socket.display()),
            far: format!("qemu+tcp://127.0.0.1:{port}/system"),
        })
    }

    /// Begins a run; `planned` is the number of a call, from 1, and what happens there.
    pub(crate) fn arm(&self, planned: Option<(usize, Fault)>) {
        let connections = self.shared.state().connections;
        *self.shared.state() = State { planned, connections, ..State::default() };
    }

    /// Tells it which process foundry is. Until then calls wait.
    pub(crate) fn victim(&self, child: Arc<Mutex<Child>>) {
        self.shared.state().victim = Some(child);
        self.shared.closed.notify_all();
    }

    /// Whether what was planned for the run came.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.state().struck
    }

    /// Waits until all connections of the run are closed; the calls of the run.
    pub(crate) fn ended(&self, patience: Duration) -> Vec<String> {
        let begun = Instant::now();
        let mut state = self.shared.state();
        while state.connections > 0 && begun.elapsed() < patience {
            let waited = self.shared.closed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.calls.clone()
    }
}

/// One client and its connection to the daemon.
struct Connection {
    shared: Arc<Shared>,
    client: UnixStream,
    daemon: UnixStream,
    /// At whose answer the fault comes.
    awaited: Mutex<Option<(Packet, Fault)>>,
}

fn serve(shared: &Arc<Shared>, client: UnixStream) {
    // As the socket of a unit that systemd holds open: who connects waits for the daemon.
    let begun = Instant::now();
    let daemon = loop {
        match shared.daemon.connect() {
            Ok(daemon) => break daemon,
            Err(_) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    };
    shared.state().connections += 1;
    let connection =
        Arc::new(Connection { shared: Arc::clone(shared), client, daemon, awaited: Mutex::default() });
    let (up, down) = (Arc::clone(&connection), connection);
    let up = thread::spawn(move || {
        let _ = up.up();
        up.cut();
    });
    thread::spawn(move || {
        let _ = down.down();
        down.cut();
        let _ = up.join();
        down.shared.state().connections -= 1;
        down.shared.closed.notify_all();
    });
}

impl Connection {
    fn cut(&self) {
        // What is closed already cannot be closed again.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.daemon.shutdown(Shutdown::Both);
    }

    /// From foundry to the daemon, until either closes or the fault ends it.
    fn up(&self) -> io::Result<()> {
        while let Some(packet) = Packet::read(&mut &self.client)? {
            assert!(!packet.has_descriptors(), "foundry sends no descriptors");
            match self.fault_at(&packet) {
                None => packet.write(&mut &self.daemon)?,
                Some(Fault::Delayed) => {
                    thread::sleep(DELAY);
                    self.shared.state().struck = true;
                    packet.write(&mut &self.daemon)?;
                }
                Some(Fault::Refused) => self.refuse(&packet)?,
                Some(fault) if fault.is_after() => {
                    *self.awaited() = Some((packet.clone(), fault));
                    packet.write(&mut &self.daemon)?;
                }
                Some(fault) => return self.strike(fault),
            }
        }
        Ok(())
    }

    /// From the daemon to foundry.
    fn down(&self) -> io::Result<()> {
        while let Some(packet) = Packet::read(&mut &self.daemon)? {
            let struck = self.awaited().take_if(|(asked, _)| packet.answers(asked));
            match struck {
                None => packet.write(&mut &self.client)?,
                Some((asked, Fault::Refused)) => {
                    self.shared.state().struck = true;
                    asked.refusal(REFUSAL).write(&mut &self.client)?;
                }
                Some((_, fault)) => return self.strike(fault),
            }
        }
        Ok(())
    }

    fn awaited(&self) -> MutexGuard<'_, Option<(Packet, Fault)>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the packet, if it is a call; what happens at it.
    fn fault_at(&self, packet: &Packet) -> Option<Fault> {
        let name = packet.asks()?;
        let mut state = self.shared.state();
        while state.victim.is_none() {
            state = self.shared.closed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.calls.push(name);
        let (_, fault) = state.planned.filter(|(n, _)| *n == state.calls.len())?;
        Some(fault)
    }

    /// The daemon has not heard of the call. Of a stream it has: that is given up, as it is when a write fails.
    fn refuse(&self, packet: &Packet) -> io::Result<()> {
        match packet.give_up() {
            Some(given_up) => {
                *self.awaited() = Some((packet.clone(), Fault::Refused));
                given_up.write(&mut &self.daemon)
            }
            None => {
                self.shared.state().struck = true;
                packet.refusal(REFUSAL).write(&mut &self.client)
            }
        }
    }

    /// What ends the connection.
    fn strike(&self, fault: Fault) -> io::Result<()> {
        self.shared.state().struck = true;
        match fault {
            Fault::FoundryKilledBefore | Fault::FoundryKilledAfter => {
                let victim = self.shared.state().victim.clone();
                let victim = victim.ok_or_else(|| io::Error::other("there is nobody to kill"))?;
                victim.lock().unwrap_or_else(PoisonError::into_inner).kill()?;
            }
            Fault::DaemonKilledBefore | Fault::DaemonKilledAfter => {
                self.shared.daemon.kill()?;
                self.cut();
                self.shared.daemon.start()?;
            }
            _ => {}
        }
        self.cut();
        Ok(())
    }
}

const REFUSAL: &str = "the fault proxy refuses";
