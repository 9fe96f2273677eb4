//! References to images: `volume`, `pool:volume` or `/absolute/path`.

use super::judge::{Judge, Judged};
use super::{Defaults, ImageRef};
use crate::error::{Advice, Code, Verb};
use crate::names::{NameError, PoolName, VolumeName};

const IMAGE: &str = "spec.bootDisk.image";
const POOL: &str = "spec.bootDisk.imagePool";

/// Judges `spec.bootDisk.image` together with `imagePool`.
pub(super) fn judge_image(
    judge: &mut Judge,
    image: &str,
    image_pool: Option<&str>,
    defaults: &Defaults,
) -> Judged<ImageRef> {
    judge_image_at(judge, IMAGE, image, image_pool, defaults)
}

/// Judges the image in the field with this path, together with `imagePool`.
pub(super) fn judge_image_at(
    judge: &mut Judge,
    path: &str,
    image: &str,
    image_pool: Option<&str>,
    defaults: &Defaults,
) -> Judged<ImageRef> {
    let named = self::parse_image(judge, path, image);
    let pool: Judged<Option<PoolName>> = image_pool.map(|pool| judge.parse_name(POOL, pool)).transpose();
    match (named?, pool?) {
        (ParsedImage::Path(_), Some(pool)) => Err(judge.reject_value(
            Code::Contradiction,
            POOL,
            pool,
            "has no meaning for an image given as a path",
        )),
        (ParsedImage::Path(path), None) => Ok(ImageRef::Path(path)),
        (ParsedImage::Volume(Some(first), _), Some(second)) if first != second => {
            let message = format!("differs from the pool in image ({first}); leave one out");
            Err(judge.reject_value(Code::Contradiction, POOL, second, message))
        }
        (ParsedImage::Volume(first, volume), second) => {
            let pool = first.or(second).unwrap_or_else(|| defaults.image_pool.clone());
            Ok(ImageRef::Volume { pool, volume })
        }
    }
}

/// The image as `spec.bootDisk.image` names it, with the pool if it is given there.
enum ParsedImage {
    Path(String),
    Volume(Option<PoolName>, VolumeName),
}

fn parse_image(judge: &mut Judge, path: &str, image: &str) -> Judged<ParsedImage> {
    let image = judge.check_line(path, image)?;
    if let Some((message, advice)) = explain_wrong_form(image) {
        let rejected = judge.reject_value(Code::ImageReference, path, image, message);
        advice.into_iter().for_each(|advice| judge.set_advice(advice));
        return Err(rejected);
    }
    let named = match image.split_once(':') {
        // First, because a path may contain ':'.
        _ if image.starts_with('/') => normalize_path(image).map(ParsedImage::Path),
        Some((pool, volume)) => parse_pool_and_volume(pool, volume),
        None => image
            .parse()
            .map(|volume| ParsedImage::Volume(None, volume))
            .map_err(|e: NameError| e.to_string()),
    };
    named.map_err(|message| judge.reject_value(Code::ImageReference, path, image, message))
}

/// Explains a value that has none of the three forms, with advice on how to get one of them.
fn explain_wrong_form(image: &str) -> Option<(&'static str, Option<Advice>)> {
    if image.is_empty() {
        return Some(("is empty; for a disk without an image leave it out and write 'empty: true'", None));
    }
    if image.contains("://") {
        // Repeat the URL only if it is short, plain and cannot contain a password.
        let is_short = image.len() <= 100 && image.chars().all(|c| c.is_ascii_graphic() && !"@?".contains(c));
        let url = if is_short { image } else { "URL" };
        let pull = Verb::ImagePull { image: Some(url.into()) };
        let advice = Advice::from(pull).text(" downloads it and prints the image's name");
        return Some(("is a URL; write the name of an image", Some(advice)));
    }
    if image.contains('/') && !image.starts_with('/') && !image.contains(':') {
        let import = Verb::ImageImport { file: Some(image.into()), name: None, convert: false };
        return Some((
            "is a relative path, which has no meaning on the hypervisor; \
             write an absolute path or the name of an image",
            Some(Advice::from(import).text(" imports the file as an image and prints its name")),
        ));
    }
    None
}

fn parse_pool_and_volume(pool: &str, volume: &str) -> Result<ParsedImage, String> {
    let pool = pool.parse().map_err(|error| format!("has the pool {pool:?}, which {error}"))?;
    let volume = volume.parse().map_err(|error| format!("has the volume {volume:?}, which {error}"))?;
    Ok(ParsedImage::Volume(Some(pool), volume))
}

/// Normalizes a path by removing `//` and `/./`. `..` is refused instead of resolved, because its meaning depends on
/// symbolic links on the hypervisor.
fn normalize_path(image: &str) -> Result<String, String> {
    let parts: Vec<&str> = image.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("must not contain '..'".to_owned());
    }
    if parts.is_empty() || image.ends_with('/') {
        return Err("is a directory".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}
