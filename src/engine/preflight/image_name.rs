//! Resolves image names, in which the extension may be left out.

use crate::{Context, image};
use foundry_core::error::{Advice, Error, Verb};
use foundry_core::record::VolumeRef;
use foundry_core::text::quote_for_shell;
use foundry_host::Volume;

/// The volumes that an image name matches in a pool.
pub(crate) enum NameMatch {
    /// Exactly one volume.
    One(Volume),
    /// No volume of the pool matches.
    Nothing,
    /// Several volumes that differ in the extension only: their names.
    Several(Vec<String>),
}

/// The extensions that may be left out in an image name.
const LEFT_OUT: [&str; 3] = ["qcow2", "raw", "img"];

/// Finds the volume that an image name means: the one with exactly that name, else the only one with that name and an
/// extension. `image pull debian-12` creates `debian-12.qcow2`, for example.
pub(crate) fn match_name(context: &Context, pool: &str, name: &str) -> Result<NameMatch, Error> {
    if let Some(volume) = context.host.volume(&VolumeRef::new(pool, name))? {
        return Ok(NameMatch::One(volume));
    }
    if name.is_empty() || image::image_extension(name).is_some() {
        return Ok(NameMatch::Nothing);
    }
    let mut found = Vec::new();
    for end in LEFT_OUT {
        // A name that becomes too long matches nothing.
        found.extend(context.host.volume(&VolumeRef::new(pool, format!("{name}.{end}")))?);
    }
    Ok(match found.pop() {
        None => NameMatch::Nothing,
        Some(only) if found.is_empty() => NameMatch::One(only),
        Some(last) => NameMatch::Several(found.into_iter().chain([last]).map(|volume| volume.name).collect()),
    })
}

/// The message for a name that matches several images.
pub(crate) fn ambiguous_name(pool: &str, name: &str, names: &[String]) -> String {
    format!("image '{name}' in pool '{pool}' may be any of {}", names.join(", "))
}

/// Returns the command that fetches an image of that name: `image pull` if the catalogue has it, else `image import`.
/// `pool` is set if it is not the default pool.
pub(crate) fn fetch_command(context: &Context, name: &str, pool: Option<&str>) -> Advice {
    let stem = image::image_extension(name).map_or(name, |end| &name[..name.len() - end.len() - 1]);
    let command = match context.settings.catalogue_has(stem) {
        true => Verb::ImagePull { image: Some(stem.into()) },
        false => Verb::ImageImport { file: Some("FILE".into()), name: Some(name.into()), convert: false },
    };
    match pool {
        Some(pool) => Advice::from(command).text(format!(" --pool {}", quote_for_shell(pool))),
        None => command.into(),
    }
}
