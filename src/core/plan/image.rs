//! References to images: `volume`, `pool:volume` or `/absolute/path`.

use super::judge::{Judge, Judged};
use super::{Defaults, ImageRef};
use crate::error::{Advice, Code, Verb};
use crate::names::{NameError, PoolName, VolumeName};

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
    if let Some((message, advice)) = misplaced(image) {
        let rejected = judge.wrong(Code::ImageReference, IMAGE, image, message);
        advice.into_iter().for_each(|advice| judge.advise(advice));
        return Err(rejected);
    }
    let named = match image.split_once(':') {
        _ if image.starts_with('/') => path(image).map(Named::Path),
        Some((pool, volume)) => in_pool(pool, volume),
        None => image.parse().map(|volume| Named::Volume(None, volume)).map_err(|e: NameError| e.to_string()),
    };
    named.map_err(|message| judge.wrong(Code::ImageReference, IMAGE, image, message))
}

/// What people write that is none of the three forms, and what leads to one of them.
fn misplaced(image: &str) -> Option<(&'static str, Option<Advice>)> {
    if image.is_empty() {
        return Some(("is empty; for a disk without an image leave it out and write 'empty: true'", None));
    }
    if image.contains("://") {
        // What could be a password is not repeated, nor what is too long to be read or not plain.
        let is_short = image.len() <= 100 && image.chars().all(|c| c.is_ascii_graphic() && !"@?".contains(c));
        let url = if is_short { image } else { "URL" };
        let pull = Verb::ImagePull { image: Some(url.into()) };
        let advice = Advice::from(pull).text(" downloads it and prints the image's name");
        return Some(("is a URL; give the name of an image here", Some(advice)));
    }
    if image.contains('/') && !image.starts_with('/') && !image.contains(':') {
        let import = Verb::ImageImport { file: Some(image.into()), name: None, convert: false };
        return Some((
            "is a relative path, and the hypervisor has no directory to start from; \
             give an absolute path, or the name of an image",
            Some(Advice::from(import).text(" makes an image of the file and prints its name")),
        ));
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
