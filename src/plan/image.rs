//! References to images: `volume`, `pool:volume` or `/absolute/path`.

use super::judge::{Judge, Judged};
use super::{Defaults, ImageRef};
use crate::names::PoolName;

const IMAGE: &str = "spec.bootDisk.image";
const POOL: &str = "spec.bootDisk.imagePool";

/// Judges `spec.bootDisk.image` together with `imagePool`.
pub(super) fn parse(
    judge: &mut Judge,
    image: &str,
    image_pool: Option<&str>,
    defaults: &Defaults,
) -> Judged<ImageRef> {
    let given: Option<Judged<PoolName>> = image_pool.map(|pool| judge.name(POOL, pool));
    let image = judge.text(IMAGE, image)?;
    if let Some(message) = misplaced(image) {
        return Err(judge.wrong(IMAGE, image, message));
    }
    if image.starts_with('/') {
        return path(judge, image, image_pool);
    }
    match image.split_once(':') {
        Some((pool, volume)) => prefixed(judge, pool, volume, given.transpose()?),
        None => {
            let volume = judge.name(IMAGE, image)?;
            let pool = given.transpose()?.unwrap_or_else(|| defaults.image_pool.clone());
            Ok(ImageRef::Volume { pool, volume })
        }
    }
}

/// What people write that is none of the three forms, with the way to get there.
fn misplaced(image: &str) -> Option<&'static str> {
    if image.is_empty() {
        return Some("is empty; for a disk without an image leave it out and write 'empty: true'");
    }
    if image.contains("://") {
        return Some("is a URL; download it, 'foundry image import' it, and give the volume's name");
    }
    if image.contains('/') && !image.starts_with('/') && !image.contains(':') {
        return Some(
            "is a relative path, and the hypervisor has no directory to start from; \
             give an absolute path, or 'foundry image import' it and give the volume's name",
        );
    }
    None
}

fn prefixed(judge: &mut Judge, pool: &str, volume: &str, given: Option<PoolName>) -> Judged<ImageRef> {
    let pool: PoolName = judge.name(IMAGE, pool)?;
    let volume = judge.name(IMAGE, volume)?;
    match given {
        Some(other) if other != pool => {
            let message = format!("differs from the pool in image ({pool}); leave one out");
            Err(judge.wrong(POOL, other, message))
        }
        _ => Ok(ImageRef::Volume { pool, volume }),
    }
}

/// A path, without the `//`, `/./` and final `/` that change nothing. `..` is refused and not resolved:
/// what it means depends on symbolic links of the hypervisor's.
fn path(judge: &mut Judge, image: &str, image_pool: Option<&str>) -> Judged<ImageRef> {
    if let Some(pool) = image_pool {
        return Err(judge.wrong(POOL, pool, "has no meaning for an image given as a path"));
    }
    let parts: Vec<&str> = image.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(judge.wrong(IMAGE, image, "must not hold '..'"));
    }
    if parts.is_empty() || image.ends_with('/') {
        return Err(judge.wrong(IMAGE, image, "is a directory"));
    }
    Ok(ImageRef::Path(format!("/{}", parts.join("/"))))
}
