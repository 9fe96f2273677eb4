//! Conversion of disk images by qemu-img(1).
//!
//! qemu-img does what an image says, with the rights of its caller: it guesses formats, opens files that
//! images name, and takes file names for network addresses (`nbd:…`, `json:…`). None of that is left to it. The
//! format is the one that `disk_image` found, images that name other files are refused before, and instead
//! of names it gets two open files: the image as its standard input, and a file without a name as its output,
//! which is gone when nobody holds it any more, however this process ends. It can open nothing else (`sandbox`).
//!
//! What comes out is compared with what the image said of itself: a reader that takes an image for shorter than it is
//! says nothing of it.

mod sandbox;
mod source;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use foundry_core::error::{Code, Error, Kind};
use foundry_core::text::escape_unseen;
use foundry_core::units::Bytes;
use sandbox::Sandbox;
use source::{SourceImage, UnfitImage};

/// What images are converted to: the two formats that VMs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// QEMU's own, which takes no more room than its data anywhere.
    Qcow2,
    /// The disk as it is, with holes for what was never written.
    Raw,
}

impl ImageFormat {
    /// Its name, as libvirt and qemu-img call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// An image to be converted.
#[derive(Clone, Copy)]
pub struct Conversion<'a> {
    /// Where it is from, for messages.
    pub from: &'a str,
    /// The image, which nobody else can write to: what is judged here is what qemu-img reads.
    pub image: &'a File,
    /// What becomes of it.
    pub to: ImageFormat,
    /// Where the result has its room until it is closed.
    pub directory: &'a Path,
    /// Asked several times a second whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// Told several times a second how many bytes were written. There is no total: how much of an image is
    /// data is known only in the end.
    pub written: &'a dyn Fn(Bytes),
}

/// The image and the result, as the child sees them.
const STANDARD_INPUT: &str = "/proc/self/fd/0";
const STANDARD_OUTPUT: &str = "/proc/self/fd/1";
/// The time between two looks at the child.
const PAUSE: Duration = Duration::from_millis(50);

/// Converts an image, and gives the result: a file without a name, at its beginning.
///
/// # Errors
/// [`Kind::Storage`] where it is no image or needs other files, where there is no room, and where qemu-img is
/// missing or fails; [`Kind::Interrupted`] where it was stopped. Nothing is left behind.
pub fn convert_file(conversion: Conversion<'_>) -> Result<File, Error> {
    let image = source::check_source(conversion.image).map_err(|unfit| conversion.unfit_error(unfit))?;
    let source = source_argument(&image);
    conversion.check_room(image.driver, &source)?;
    let result = conversion.create_temporary()?;
    let arguments = ["convert", "-O", conversion.to.as_str(), &source, STANDARD_OUTPUT];
    conversion.run_qemu_img(&arguments, &result)?;
    conversion.check_result(&result, &image)?;
    Ok(result)
}

/// The image, as qemu-img gets it.
fn source_argument(image: &SourceImage) -> String {
    // Each image has one file only. Where qemu-img opens a second one after all, that is none of a chain.
    let mut source = serde_json::json!({
        "driver": image.driver,
        "file": { "driver": "file", "filename": STANDARD_INPUT },
        "backing": null,
    });
    if image.driver == "vpc" {
        // Of makers that it does not know, QEMU believes the geometry, which is rounded down.
        source["force_size_calc"] = "current_size".into();
    }
    format!("json:{source}")
}

impl Conversion<'_> {
    fn unfit_error(&self, unfit: UnfitImage) -> Error {
        match unfit {
            UnfitImage::Kind(why) => self.conversion_error(why),
            UnfitImage::CutOff(why) => self.error_with_code(Code::ContentDamaged, why),
            UnfitImage::Unreadable(error) => self.conversion_error(error),
        }
    }

    /// As a qcow2 image, it would take its data and what says where they are; a raw one leaves the latter out.
    fn check_room(&self, driver: &str, source: &str) -> Result<(), Error> {
        let mut measured = self.create_temporary()?;
        self.run_qemu_img(&["measure", "--output=json", "-O", "qcow2", source], &measured)?;
        let text = measured.rewind().and_then(|()| std::io::read_to_string(measured));
        let said: serde_json::Value = serde_json::from_str(&text.map_err(|e| self.conversion_error(e))?)
            .map_err(|e| self.conversion_error(e))?;
        let mut need = said["required"].as_u64().unwrap_or(0);
        // Not each driver knows what was never written. What is not compressed is no more than its file.
        if !matches!(driver, "vmdk" | "qcow" | "qcow2") {
            need = need.min(self.image.metadata().map_err(|e| self.conversion_error(e))?.len());
        }
        let room = rustix::fs::statvfs(self.directory).map_err(|e| self.conversion_error(e))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free >= need {
            return Ok(());
        }
        let (place, need, free) = (self.directory.display(), Bytes(need), Bytes(free));
        let why = format!("it needs up to {need} in {place} for the time being, and {free} are free");
        Err(self.error_with_code(Code::LocalFile, why).hint("TMPDIR names another directory"))
    }

    /// The result must be what it was to become, and all of it. A disk that holds an image is none.
    fn check_result(&self, result: &File, source: &SourceImage) -> Result<(), Error> {
        let (image, _) = source::detect_image(result).map_err(|unfit| self.unfit_error(unfit))?;
        if image.format() != Some(self.to.as_str()) || image.refusal().is_some() {
            let reason = image.refusal().unwrap_or_else(|| format!("it is {image} itself"));
            return Err(self.conversion_error(format!("of the disk inside: {reason}")));
        }
        source::check_result_size(result, &image, source.disk)
            .map_err(|why| self.error_with_code(Code::ContentDamaged, why))
    }

    fn create_temporary(&self) -> Result<File, Error> {
        tempfile::tempfile_in(self.directory).map_err(|e| {
            let why = format!("no file can be made in {}: {e}", self.directory.display());
            self.error_with_code(Code::LocalFile, why).hint("TMPDIR names another directory")
        })
    }

    /// Runs qemu-img between the image and a file, to its end or until it is to stop.
    fn run_qemu_img(&self, arguments: &[&str], output: &File) -> Result<(), Error> {
        let errors = self.create_temporary()?;
        let duplicate = |file: &File| file.try_clone().map_err(|e| self.conversion_error(e));
        let streams = [duplicate(self.image)?, duplicate(output)?, duplicate(&errors)?];
        let child = Sandbox { input: self.image, output }
            .spawn("qemu-img", |command| {
                let [input, output, errors] = streams.map(Stdio::from);
                command.args(arguments).env("LC_ALL", "C").stdin(input).stdout(output).stderr(errors);
            })
            .map_err(|e| self.start_error(&e))?;
        match self.wait_for_child(child, output)? {
            true => Ok(()),
            // A terminal's Ctrl-C ends the child, too.
            false if (self.stop)() => Err(self.interrupted_error()),
            false => Err(self.conversion_error(Self::read_error_text(errors))),
        }
    }

    /// Whether the child succeeds.
    fn wait_for_child(&self, mut child: Child, output: &File) -> Result<bool, Error> {
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status.success()),
                Ok(None) if (self.stop)() => {
                    // Where it has ended meanwhile, there is nothing to end.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(self.interrupted_error());
                }
                Ok(None) => std::thread::sleep(PAUSE),
                Err(e) => return Err(self.conversion_error(e)),
            }
            if let Ok(written) = output.metadata() {
                (self.written)(Bytes(written.blocks() * 512));
            }
        }
    }

    /// What qemu-img says is wrong, without the names of its files, which the user does not know.
    fn read_error_text(mut errors: File) -> String {
        let mut said = Vec::new();
        let read = errors.rewind().and_then(|()| errors.take(4096).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        let error =
            said.lines().find_map(|l| l.strip_prefix("qemu-img: ").filter(|l| !l.starts_with("warning")));
        let Some(error) = error.filter(|_| read.is_ok()) else { return "qemu-img does not say why".into() };
        let error = error.rsplit_once("}': ").map_or(error, |(_, why)| why);
        escape_unseen(&error.replace(STANDARD_INPUT, "the image").replace(STANDARD_OUTPUT, "the result"))
    }

    fn start_error(&self, error: &std::io::Error) -> Error {
        if error.kind() != ErrorKind::NotFound {
            return self.conversion_error(format!("qemu-img cannot be started: {error}"));
        }
        self.error_with_code(Code::QemuImgMissing, "qemu-img is not installed on this machine")
            .hint("it is in the package qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, openSUSE, Alpine)")
    }

    fn conversion_error(&self, why: impl ToString) -> Error {
        self.error_with_code(Code::ConversionFailed, why)
    }

    fn error_with_code(&self, code: Code, why: impl ToString) -> Error {
        Error::new(code, format!("cannot convert {} to {}", self.from, self.to.as_str()))
            .because(why.to_string())
            .unchanged()
    }

    fn interrupted_error(&self) -> Error {
        Error::new(Kind::Interrupted, format!("interrupted while {} was converted", self.from)).unchanged()
    }
}
