//! Whose import it is that a volume holds.
//!
//! A volume is found by its name, and while an image comes in somebody may delete it and make another of that name. So
//! the place of the image's beginning, which goes last, holds a mark until then: a word that says what this is, and
//! which import's. Who finds another mark there, or an image, has lost the volume and leaves it alone.

use uuid::Uuid;

use crate::disk_image::ON_ITS_WAY;
use crate::host::HostError;
use crate::operations::Session;

/// The mark of one import.
pub(super) struct Claim(Vec<u8>);

impl Claim {
    pub(super) fn new() -> Self {
        Self([ON_ITS_WAY.as_slice(), Uuid::new_v4().to_string().as_bytes(), b"\n"].concat())
    }

    /// Puts it on a volume that was just made.
    pub(super) fn put(&self, session: &Session<'_>, pool: &str, name: &str) -> Result<(), HostError> {
        session.host.upload_all(pool, name, &mut &*self.0, self.0.len() as u64)
    }

    /// Whether the volume has it, or nothing yet.
    pub(super) fn holds(&self, session: &Session<'_>, pool: &str, name: &str) -> Result<bool, HostError> {
        let mut found = Vec::new();
        session.host.download(pool, name, &mut found, self.0.len() as u64)?;
        Ok(found == self.0 || found.iter().all(|byte| *byte == 0))
    }
}
