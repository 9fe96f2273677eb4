//! A guest that runs, asked over SSH.

use std::time::{Duration, Instant};

use super::ran::{Ran, program};

/// Nobody is asked anything, no host key is remembered, and a guest that stops answering is given up.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=4",
];

/// A guest at an address.
pub(crate) struct Guest {
    pub(super) ip: String,
    pub(super) key: String,
}

impl Guest {
    /// Runs a shell command as root, whatever comes of it.
    pub(crate) fn tries(&self, command: &str) -> Ran {
        let at = format!("root@{}", self.ip);
        let mut arguments = vec!["-q", "-i", &self.key];
        OPTIONS.iter().for_each(|option| arguments.extend(["-o", option]));
        arguments.extend([&at, "--", command]);
        program("ssh", &arguments)
    }

    /// Runs a shell command as root, which must succeed; its stdout without the last line end.
    #[track_caller]
    pub(crate) fn says(&self, command: &str) -> String {
        self.tries(command).exits(0).stdout.trim_end().to_owned()
    }

    /// Waits until it answers again.
    #[track_caller]
    pub(crate) fn answers_within(&self, time: Duration) {
        let begun = Instant::now();
        while self.tries("true").code != 0 {
            assert!(begun.elapsed() < time, "{} does not answer", self.ip);
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
