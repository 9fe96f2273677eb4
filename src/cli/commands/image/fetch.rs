//! Options and names that `image import` and `image pull` share.

use clap::{Args, ValueEnum};

use foundry_core::error::{Code, Error};
use foundry_core::names::VolumeName;
use foundry_engine::image::image_extension;
use foundry_fetch::convert::ImageFormat;
use foundry_fetch::transfer::{Client, CompressionFormat, Expected, HttpSettings, Proxies};

/// Options for transferring an image.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// Expected checksum: sha256:HEX, sha512:HEX, or the file or URL of a list like SHA256SUMS
    #[arg(long, value_name = "DIGEST|FILE|URL", value_parser = parse_checksum)]
    pub(super) checksum: Option<Expected>,
    /// Convert it first with qemu-img of this machine; also accepts VMDK, VDI, VHD, VHDX and QED
    #[arg(long, value_enum, value_name = "FORMAT")]
    convert: Option<ConvertTo>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConvertTo {
    Qcow2,
    Raw,
}

impl FetchArgs {
    pub(super) fn target_format(&self) -> Option<ImageFormat> {
        self.convert.map(|to| match to {
            ConvertTo::Qcow2 => ImageFormat::Qcow2,
            ConvertTo::Raw => ImageFormat::Raw,
        })
    }
}

fn parse_checksum(text: &str) -> Result<Expected, String> {
    text.parse().map_err(|e: foundry_fetch::transfer::TransferError| e.to_string())
}

/// An HTTP client with the proxies of the environment.
pub(super) fn http_client() -> Client {
    Client::new(HttpSettings { proxies: Proxies::from_env(), ..HttpSettings::default() })
}

/// The name of an image: the requested one, otherwise the file's name without the parts that the content decides.
/// Distributions name qcow2 images `.img` and compress them.
pub(super) fn image_name(
    asked: Option<&str>,
    file: Option<String>,
    converted: bool,
    what: &str,
) -> Result<VolumeName, Error> {
    let bad = |cause: String| {
        Error::new(Code::ImageNameUnfit, format!("cannot import {what}")).because(cause).unchanged()
    };
    let name = match (asked, file) {
        (Some(name), _) => name.to_owned(),
        (None, Some(file)) => name_stem(&file, converted),
        (None, None) => return Err(bad("standard input has no file name; give a name for the image".into())),
    };
    name.parse().map_err(|e| bad(format!("the image's name {e}")))
}

/// The shortest name that an image can get: the content decides its extension if it has none.
pub(super) fn with_shortest_extension(name: &str) -> String {
    if image_extension(name).is_some() { name.to_owned() } else { format!("{name}.raw") }
}

fn name_stem(file: &str, converted: bool) -> String {
    let packed =
        [CompressionFormat::Gzip, CompressionFormat::Xz, CompressionFormat::Zstd, CompressionFormat::Bzip2];
    let file = packed.iter().fold(file, |name, format| format.strip_extension(name));
    let Some(end) = image_extension(file) else { return file.to_owned() };
    let stem = &file[..file.len() - end.len() - 1];
    let end = end.to_ascii_lowercase();
    if end == "img" || converted { stem.to_owned() } else { format!("{stem}.{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_content_decides_is_no_part_of_a_name() {
        for (file, converted, name) in [
            ("noble-server-cloudimg-amd64.img", false, "noble-server-cloudimg-amd64"),
            ("debian-12.5.qcow2", false, "debian-12.5.qcow2"),
            ("haos_ova-13.qcow2.xz", false, "haos_ova-13.qcow2"),
            ("disk.img.gz", false, "disk"),
            ("box.vmdk", true, "box"),
            ("box.vmdk", false, "box.vmdk"),
            ("Disk.VMDK", true, "Disk"),
            ("win.VHD", true, "win"),
            ("A.QCOW2.XZ", false, "A.qcow2"),
            ("A.Qcow2", true, "A"),
            ("DISK.IMG.GZ", false, "DISK"),
            ("DISK.RAW", false, "DISK.raw"),
        ] {
            assert_eq!(name_stem(file, converted), name);
        }
    }
}
