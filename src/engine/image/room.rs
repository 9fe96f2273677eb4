//! Checks the space for an image, and keeps an upload from running out of it.
//!
//! A write that fails inside an upload ends libvirtd 11.3 for everybody, so a full disk has to be found before. Where
//! an image has no holes, its volume takes its whole size when it is made, and libvirt refuses that cleanly. Where it
//! has, or where it is unknown, that would waste what the holes save; then the pool's own numbers say how much may be
//! written, and are asked again and again.

use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_core::units::Bytes;
use foundry_host::Volume;

/// What is left over for others and for what the file system itself needs.
const MARGIN: u64 = 16 << 20;
/// And the most of it, on a large file system.
const LARGEST_MARGIN: u64 = 4 << 30;
/// After so many written bytes the pool is asked again: others write to it, too. Fewer where less is left.
const STRETCH: u64 = 1 << 30;
/// One of so many parts of what is left is written until then, so that so many may write at once.
const WRITERS: u64 = 16;
/// Less than this is not worth another stretch. So many writers' are not more than what is left over.
const LEAST: u64 = 1 << 20;

/// How the volume gets its space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpaceNeed {
    /// All of that when it is made.
    Whole(u64),
    /// As it is written.
    AsWritten,
}

/// What is known of an image's size before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownSize {
    pub(super) length: Option<u64>,
    /// How many of its bytes are no holes.
    pub(super) data: Option<u64>,
    /// Whether its format is one that has no holes to speak of.
    pub(super) compact: bool,
}

impl KnownSize {
    /// How the volume is to get its space, once the pool has room for it as far as one can know; and how much is left.
    pub(super) fn choose_space(self, context: &Context, pool: &str) -> Result<(SpaceNeed, u64), Error> {
        let available = available_bytes(context, pool)?;
        let (space, needed) = match (self.length, self.data) {
            (Some(length), Some(data)) if data >= length => (SpaceNeed::Whole(length), length),
            (Some(length), None) if self.compact => (SpaceNeed::Whole(length), length),
            (_, data) => (SpaceNeed::AsWritten, data.unwrap_or(0) + MARGIN),
        };
        if available >= needed {
            return Ok((space, available));
        }
        let reserve = if space == SpaceNeed::AsWritten {
            format!(" ({} of that to spare)", Bytes(MARGIN))
        } else {
            String::new()
        };
        Err(Error::new(
            Code::OutOfSpace,
            format!(
                "pool '{pool}' has {} left; the image needs {}{reserve}",
                Bytes(available),
                Bytes(needed)
            ),
        )
        .unchanged())
    }
}

/// Makes sure that an image with so many bytes that are no holes has room once the present one is gone.
pub(super) fn fits_instead(context: &Context, present: &Volume, data: u64) -> Result<(), Error> {
    let (room, needed) = (available_bytes(context, &present.pool)? + present.allocation.0, data + MARGIN);
    if room >= needed {
        return Ok(());
    }
    let (pool, room, needed) = (&present.pool, Bytes(room), Bytes(needed));
    let message = format!(
        "pool '{pool}' would have {room} without the present image '{}'; the newer one needs {needed}",
        present.name
    );
    Err(Error::new(Code::OutOfSpace, message).unchanged())
}

/// What is left over for others. Where it is unknown how much will come, it may be without an end, and the disks of
/// running VMs grow on the same file system: a twentieth of it is theirs.
pub(super) fn bytes_to_spare(context: &Context, pool: &str, length: Option<u64>) -> Result<u64, Error> {
    let capacity = || Ok::<_, Error>(context.host.pool(pool)?.map_or(0, |pool| pool.capacity.0));
    Ok(if length.is_some() { MARGIN } else { (capacity()? / 20).clamp(MARGIN, LARGEST_MARGIN) })
}

/// Of so much that is available, how much may be written until the next look, so that as much is left over.
pub(super) fn next_stretch(available: u64, pool: &str, spare: u64) -> Result<u64, Error> {
    let free = available.saturating_sub(spare);
    if free >= LEAST {
        return Ok((free / WRITERS).clamp(LEAST, STRETCH));
    }
    Err(Error::new(
        Code::OutOfSpace,
        format!(
            "pool '{pool}' is full: it has {} left, of which {} are to spare",
            Bytes(available),
            Bytes(spare)
        ),
    ))
}

/// What libvirt knows is from its last look. A pool that cannot be looked at any more, since its directory is gone, has
/// no room at all: then that says why.
pub(super) fn available_bytes(context: &Context, pool: &str) -> Result<u64, Error> {
    let refused = match context.host.refresh_pool(pool) {
        Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
        looked => looked.err(),
    };
    let available = context.host.pool(pool)?.map_or(0, |p| p.available.0);
    match refused {
        Some(refused) if available == 0 => Err(Error::from(refused).unchanged()),
        _ => Ok(available),
    }
}
