//! The name of an image, whose extension gives its format.

use super::source::{ImageSource, read_head};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::VolumeName;
use foundry_fetch::disk_image::{self, DiskImage};

/// Extensions of disk images. Anything else after a dot is part of the name (`debian-12.5`).
pub const EXTENSIONS: [&str; 7] = ["qcow2", "raw", "img", "vmdk", "vdi", "vhd", "vhdx"];

/// The image extension of a name, as it is written there. Case is ignored.
pub fn image_extension(name: &str) -> Option<&str> {
    let (_, end) = name.rsplit_once('.')?;
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(end)).then_some(end)
}

/// Detects the format, and refuses formats that a VM cannot use.
pub(super) fn detect_usable_format(from: &str, head: &[u8]) -> Result<DiskImage, Error> {
    let image = disk_image::detect_format(head).map_err(|e| not_an_image(from, e.to_string()))?;
    match image.refusal() {
        Some(reason) if image.driver().is_some() => {
            let convert = Verb::ImageImport { file: Some("FILE".into()), name: None, convert: true };
            Err(not_an_image(from, reason).hint(Advice::from(convert).text(" converts it")))
        }
        Some(reason) => Err(not_an_image(from, reason)),
        None => Ok(image),
    }
}

fn not_an_image(from: &str, cause: String) -> Error {
    Error::new(Code::NotAnImage, format!("{from} cannot be an image")).because(cause).unchanged()
}

/// Checks that the extension matches the content, or adds it if there is none.
pub(super) fn complete_name(name: &VolumeName, from: &str, image: &DiskImage) -> Result<VolumeName, Error> {
    let right = if matches!(image, DiskImage::Qcow2(_)) { "qcow2" } else { "raw" };
    let end = image_extension(name.as_str());
    match end.map(|end| (&name.as_str()[..name.as_str().len() - end.len() - 1], end)) {
        Some((_, end)) if end.eq_ignore_ascii_case(right) => Ok(name.clone()),
        None => format!("{name}.{right}").parse().map_err(|e| not_an_image(from, format!("its name {e}"))),
        Some((stem, _)) => Err(Error::new(Code::ImageMisnamed, format!("'{name}' does not fit this image"))
            .because(format!("{from} is {image}, and the name of such an image ends in .{right}"))
            .hint(format!("name it {stem}.{right}"))
            .unchanged()),
    }
}

/// Checks that an image can be imported under exactly this name.
pub(super) fn check_file_name(name: &VolumeName, source: &mut dyn ImageSource) -> Result<(), Error> {
    let head = read_head(source)?;
    let fitting =
        complete_name(name, source.source_name(), &detect_usable_format(source.source_name(), &head)?)?;
    if fitting == *name {
        return Ok(());
    }
    let from = source.source_name();
    Err(Error::new(Code::ImageMisnamed, format!("the image that {from} has now would be named '{fitting}'"))
        .hint("pull it under another name with --name")
        .unchanged())
}
