//! A client without patience, a clock that does not wait, and content to transfer.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use foundry::content::Content;
use foundry::transfer::{
    Algorithm, Cache, Client, Digest, DigestCheck, HttpSettings, Location, Opened, RetryControl,
    TransferError, TransferOptions, Transferred, open_location,
};

/// Bytes that no compression makes short and in which each position is told from any other.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of_bytes(Algorithm::Sha256, bytes)
}

/// Waits for nothing and remembers for how long it should have; stops when told to.
#[derive(Default)]
pub(crate) struct TestPace {
    pub(crate) slept: Mutex<Duration>,
    pub(crate) told: Mutex<Vec<String>>,
    /// Stop once so many sentences were told.
    pub(crate) stop_after: Option<usize>,
}

impl RetryControl for TestPace {
    fn should_stop(&self) -> bool {
        self.stop_after.is_some_and(|count| self.told.lock().unwrap().len() >= count)
    }

    fn sleep(&self, time: Duration) {
        *self.slept.lock().unwrap() += time;
    }

    fn on_retry(&self, what: &str) {
        self.told.lock().unwrap().push(what.to_owned());
    }
}

pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) pace: TestPace,
    pub(crate) check: DigestCheck,
    pub(crate) cache: Option<Cache>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(HttpSettings { stall_timeout: Duration::from_secs(5), ..HttpSettings::default() })
    }

    pub(crate) fn with(settings: HttpSettings) -> Self {
        let check = DigestCheck::Note(Algorithm::Sha256);
        Self { client: Client::new(settings), pace: TestPace::default(), check, cache: None }
    }

    pub(crate) fn expecting(mut self, digest: Digest) -> Self {
        self.check = DigestCheck::Expect(digest);
        self
    }

    pub(crate) fn options(&self) -> TransferOptions<'_> {
        TransferOptions {
            check: &self.check,
            client: &self.client,
            control: &self.pace,
            cache: self.cache.as_ref(),
        }
    }

    pub(crate) fn open(&self, location: &str) -> Result<Opened<'_>, TransferError> {
        open_location(&location.parse::<Location>()?, self.options())
    }

    /// All of it, and what was transferred.
    pub(crate) fn read(&self, location: &str) -> Result<(Vec<u8>, Transferred), TransferError> {
        let mut opened = self.open(location)?;
        let mut bytes = Vec::new();
        opened.content.read_to_end(&mut bytes).map_err(|e| TransferError::from_io(e, location))?;
        Ok((bytes, opened.finish()?))
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.pace.told.lock().unwrap().clone()
    }

    pub(crate) fn slept(&self) -> Duration {
        *self.pace.slept.lock().unwrap()
    }
}

/// Reads content as an upload does, and says what it is and how many of its bytes were holes.
pub(crate) fn read_with_holes(content: &mut dyn Content) -> std::io::Result<(Vec<u8>, u64)> {
    let (mut bytes, mut holes) = (Vec::new(), 0);
    let mut buffer = vec![0xaa; 100_000];
    loop {
        let hole = content.skip_hole(1 << 20)?;
        if hole > 0 {
            bytes.resize(bytes.len() + usize::try_from(hole).unwrap(), 0);
            holes += hole;
            continue;
        }
        match content.read(&mut buffer)? {
            0 => return Ok((bytes, holes)),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
