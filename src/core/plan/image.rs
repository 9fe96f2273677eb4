//! References to images: `volume`, `pool:volume` or `/absolute/path`.

use super::judge::{Judge, Judged};
use super::{Defaults, ImageRef};
use crate::error::Code;
use crate::names::{NameError, PoolName, VolumeName};
use crate::text::shell_word;

const IMAGE: &str = "spec.bootDisk.image";
const POOL: &str = "spec.bootDisk.imagePool";

/// Judges `spec.bootDisk.image` together with `imagePool`.
pub(super) fn parse(
    judge: &mut Judge,
    image: &str,
    image_pool: Option<&str>,
    defaults: &Defaults,
) -> Judged<ImageRef> {
    let named = self::image(judge, image);
    let pool: Judged<Option<PoolName>> = image_pool.map(|pool| judge.name(POOL, pool)).transpose();
    match (named?, pool?) {
        (Named::Path(_), Some(pool)) => {
            Err(judge.wrong(Code::Contradiction, POOL, pool, "has no meaning for an image given as a path"))
        }
        (Named::Path(path), None) => Ok(ImageRef::Path(path)),
        (Named::Volume(Some(first), _), Some(second)) if first != second => {
            let message = format!("differs from the pool in image ({first}); leave one out");
            Err(judge.wrong(Code::Contradiction, POOL, second, message))
        }
        (Named::Volume(first, volume), second) => {
            let pool = first.or(second).unwrap_or_else(|| defaults.image_pool.clone());
            Ok(ImageRef::Volume { pool, volume })
        }
    }
}

/// What `image` says by itself.
enum Named {
    Path(String),
    Volume(Option<PoolName>, VolumeName),
}

fn image(judge: &mut Judge, image: &str) -> Judged<Named> {
    let image = judge.text(IMAGE, image)?;
    let named = match (misplaced(image), image.split_once(':')) {
        (Some(message), _) => Err(message),
        _ if image.starts_with('/') => path(image).map(Named::Path),
        (_, Some((pool, volume))) => in_pool(pool, volume),
        (_, None) => {
            image.parse().map(|volume| Named::Volume(None, volume)).map_err(|e: NameError| e.to_string())
        }
    };
    named.map_err(|message| judge.wrong(Code::ImageReference, IMAGE, image, message))
}

/// What people write that is none of the three forms, with the way to get there.
fn misplaced(image: &str) -> Option<String> {
    if image.is_empty() {
        return Some("is empty; for a disk without an image leave it out and write 'empty: true'".into());
    }
    if image.contains("://") {
        // What could be a password is not repeated, nor what is too long to be read or not plain.
        let is_short = image.len() <= 100 && image.chars().all(|c| c.is_ascii_graphic() && !"@?".contains(c));
        let url = if is_short { shell_word(image) } else { "URL".into() };
        return Some(format!(
            "is a URL; 'foundry image pull {url}' downloads it; give the image's name here"
        ));
    }
    if image.contains('/') && !image.starts_with('/') && !image.contains(':') {
        return Some(
            "is a relative path, and the hypervisor has no directory to start from; \
             give an absolute path, or 'foundry image import' it and give the volume's name"
                .into(),
        );
    }
    None
}

fn in_pool(pool: &str, volume: &str) -> Result<Named, String> {
    let pool = pool.parse().map_err(|error| format!("names the pool {pool:?}, which {error}"))?;
    let volume = volume.parse().map_err(|error| format!("names the volume {volume:?}, which {error}"))?;
    Ok(Named::Volume(Some(pool), volume))
}

/// A path, without the `//` and `/./` that change nothing. `..` is refused and not resolved: what it
/// means depends on symbolic links of the hypervisor's.
fn path(image: &str) -> Result<String, String> {
    let parts: Vec<&str> = image.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("must not hold '..'".to_owned());
    }
    if parts.is_empty() || image.ends_with('/') {
        return Err("is a directory".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}
