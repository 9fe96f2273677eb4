//! Checks the space for an image, and keeps an upload from running out of it.
//!
//! A failed write inside an upload crashes libvirtd 11.3 for all its clients, so a full disk must be noticed before.
//! The volume of an image without holes is fully allocated when it is created, and libvirt refuses that cleanly if
//! there is no space. An image with holes, or with unknown holes, would waste what the holes save. For it the pool's
//! free space limits what may be written, and is read again and again.

use crate::Context;
use foundry_core::error::{Code, Error};
use foundry_core::units::Bytes;
use foundry_host::Volume;

/// Space kept free for other users and for the file system itself, in bytes.
const MARGIN: u64 = 16 << 20;
/// Upper limit of the space kept free on a large file system, in bytes.
const LARGEST_MARGIN: u64 = 4 << 30;
/// The pool is refreshed after this many bytes, because others write to it, too. Less if the pool is nearly full.
const STRETCH: u64 = 1 << 30;
/// A stretch is at most this fraction (1/16) of the free space, so that 16 imports can write at once.
const WRITERS: u64 = 16;
/// Minimum stretch, in bytes. One of these for each of the 16 writers together is not more than [`MARGIN`].
const LEAST: u64 = 1 << 20;

/// How the volume is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpaceNeed {
    /// Fully allocated when it is created, with this many bytes.
    Whole(u64),
    /// Allocated as it is written.
    AsWritten,
}

/// What is known about an image's size before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownSize {
    pub(super) length: Option<u64>,
    /// The number of bytes outside holes.
    pub(super) data: Option<u64>,
    /// Whether its format practically has no holes (qcow2).
    pub(super) compact: bool,
}

impl KnownSize {
    /// Chooses the allocation of the volume and returns it with the pool's free space. Fails if the pool certainly has
    /// too little.
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
            format!(" ({} of that as a reserve)", Bytes(MARGIN))
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

/// Checks that an image with `data` bytes outside holes fits once the present image is deleted.
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

/// The space to keep free. An image of unknown length may never end, and the disks of running VMs grow on the same file
/// system, so a twentieth of it is kept for them.
pub(super) fn bytes_to_spare(context: &Context, pool: &str, length: Option<u64>) -> Result<u64, Error> {
    let capacity = || Ok::<_, Error>(context.host.pool(pool)?.map_or(0, |pool| pool.capacity.0));
    Ok(if length.is_some() { MARGIN } else { (capacity()? / 20).clamp(MARGIN, LARGEST_MARGIN) })
}

/// How much of `available` may be written before the next check, so that `spare` is kept free.
pub(super) fn next_stretch(available: u64, pool: &str, spare: u64) -> Result<u64, Error> {
    let free = available.saturating_sub(spare);
    if free >= LEAST {
        return Ok((free / WRITERS).clamp(LEAST, STRETCH));
    }
    Err(Error::new(
        Code::OutOfSpace,
        format!(
            "pool '{pool}' is full: it has {} left, of which {} are reserved",
            Bytes(available),
            Bytes(spare)
        ),
    ))
}

/// The free space of a pool after a refresh, because libvirt's numbers are from the last one. If a pool cannot be
/// refreshed because its directory is missing, it has no free space; then the refresh error is returned as the reason.
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
