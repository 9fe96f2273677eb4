//! Converts disk images with qemu-img(1).
//!
//! qemu-img acts on what an image contains, with the permissions of its caller: it guesses formats, opens files that
//! images refer to, and treats some file names as network addresses (`nbd:…`, `json:…`). Foundry prevents all of this.
//! The format is the one that `disk_image` detected, and images that refer to other files are refused. Instead of
//! names, qemu-img gets two open files: the image as its standard input and an unnamed file as its output, which
//! disappears when it is closed, however this process ends. It cannot open any other file (`sandbox`).
//!
//! The result is compared with the size that the image states, because a program that reads a truncated image may not
//! report it.

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

/// The target formats: the two that VMs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// QEMU's own format, which stores only data, on any file system.
    Qcow2,
    /// The plain disk, with holes where nothing was written.
    Raw,
}

impl ImageFormat {
    /// Returns the name in libvirt and qemu-img.
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
    /// Origin of the image, for messages.
    pub from: &'a str,
    /// The image. No other process may write to it, so qemu-img reads what was checked.
    pub image: &'a File,
    /// Format of the result.
    pub to: ImageFormat,
    /// Directory of the result, which has no name there.
    pub directory: &'a Path,
    /// Is called several times a second; returns whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// Is called several times a second with the number of written bytes. The total is unknown, because only the end
    /// shows how much of an image is data.
    pub written: &'a dyn Fn(Bytes),
}

/// Paths of the image and the result in the child process.
const STANDARD_INPUT: &str = "/proc/self/fd/0";
const STANDARD_OUTPUT: &str = "/proc/self/fd/1";
/// Interval between two checks of the child process.
const PAUSE: Duration = Duration::from_millis(50);

/// Converts an image and returns the result, an unnamed file at its beginning.
///
/// # Errors
/// [`Kind::Storage`] if it is not an image or needs other files, if there is not enough space, or if qemu-img is
/// missing or fails; [`Kind::Interrupted`] if it was interrupted. Nothing is left behind.
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

/// Describes the image for qemu-img.
fn source_argument(image: &SourceImage) -> String {
    // Each accepted image is one file. `backing: null` keeps qemu-img from opening a second one.
    let mut source = serde_json::json!({
        "driver": image.driver,
        "file": { "driver": "file", "filename": STANDARD_INPUT },
        "backing": null,
    });
    if image.driver == "vpc" {
        // If QEMU does not know the program that created the image, it uses the geometry, which is rounded down.
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

    /// Checks the free space. qcow2 is measured because it needs space for data and tables; raw needs less.
    fn check_room(&self, driver: &str, source: &str) -> Result<(), Error> {
        let mut measured = self.create_temporary()?;
        self.run_qemu_img(&["measure", "--output=json", "-O", "qcow2", source], &measured)?;
        let text = measured.rewind().and_then(|()| std::io::read_to_string(measured));
        let measurement: serde_json::Value =
            serde_json::from_str(&text.map_err(|e| self.conversion_error(e))?)
                .map_err(|e| self.conversion_error(e))?;
        let mut need = measurement["required"].as_u64().unwrap_or(0);
        // Not every driver knows which ranges were never written. Without compression, the data is at most as large as
        // the file.
        if !matches!(driver, "vmdk" | "qcow" | "qcow2") {
            need = need.min(self.image.metadata().map_err(|e| self.conversion_error(e))?.len());
        }
        let room = rustix::fs::statvfs(self.directory).map_err(|e| self.conversion_error(e))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free >= need {
            return Ok(());
        }
        let (place, need, free) = (self.directory.display(), Bytes(need), Bytes(free));
        let why = format!("it temporarily needs up to {need} in {place}, and {free} are free");
        Err(self.error_with_code(Code::LocalFile, why).hint("set TMPDIR to use another directory"))
    }

    /// Checks that the result has the target format and is complete, and that the disk is not itself an image.
    fn check_result(&self, result: &File, source: &SourceImage) -> Result<(), Error> {
        let (image, _) = source::detect_image(result).map_err(|unfit| self.unfit_error(unfit))?;
        if image.format() != Some(self.to.as_str()) || image.refusal().is_some() {
            let reason = image.refusal().unwrap_or_else(|| format!("it is itself an image ({image})"));
            return Err(self.conversion_error(format!("the data in the image is not a disk: {reason}")));
        }
        source::check_result_size(result, &image, source.disk)
            .map_err(|why| self.error_with_code(Code::ContentDamaged, why))
    }

    fn create_temporary(&self) -> Result<File, Error> {
        tempfile::tempfile_in(self.directory).map_err(|e| {
            let why = format!("no file can be created in {}: {e}", self.directory.display());
            self.error_with_code(Code::LocalFile, why).hint("set TMPDIR to use another directory")
        })
    }

    /// Runs qemu-img on the image and an output file, until it ends or is interrupted.
    fn run_qemu_img(&self, arguments: &[&str], output: &File) -> Result<(), Error> {
        // A file and not a pipe: nobody reads while qemu-img runs, and a full pipe would stop it.
        let errors = self.create_temporary()?;
        let duplicate = |file: &File| file.try_clone().map_err(|e| self.conversion_error(e));
        let streams = [duplicate(self.image)?, duplicate(output)?, duplicate(&errors)?];
        let child = Sandbox { input: self.image, output }
            .spawn("qemu-img", |command| {
                let [input, output, errors] = streams.map(Stdio::from);
                // The messages must be English, because they are parsed.
                command.args(arguments).env("LC_ALL", "C").stdin(input).stdout(output).stderr(errors);
            })
            .map_err(|e| self.start_error(&e))?;
        match self.wait_for_child(child, output)? {
            true => Ok(()),
            // Ctrl-C on a terminal also ends the child process.
            false if (self.stop)() => Err(self.interrupted_error()),
            false => Err(self.conversion_error(Self::read_error_text(errors))),
        }
    }

    /// Waits for the child process and returns whether it succeeded.
    fn wait_for_child(&self, mut child: Child, output: &File) -> Result<bool, Error> {
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status.success()),
                Ok(None) if (self.stop)() => {
                    // The process may have ended meanwhile.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(self.interrupted_error());
                }
                Ok(None) => std::thread::sleep(PAUSE),
                Err(e) => return Err(self.conversion_error(e)),
            }
            if let Ok(written) = output.metadata() {
                // Blocks of 512 bytes, whatever the file system has (st_blocks, stat(3type)).
                (self.written)(Bytes(written.blocks() * 512));
            }
        }
    }

    /// Returns qemu-img's error message without its file names, which the user does not know.
    fn read_error_text(mut errors: File) -> String {
        let mut output = Vec::new();
        let read = errors.rewind().and_then(|()| errors.take(4096).read_to_end(&mut output));
        let output = String::from_utf8_lossy(&output);
        let error =
            output.lines().find_map(|l| l.strip_prefix("qemu-img: ").filter(|l| !l.starts_with("warning")));
        let Some(error) = error.filter(|_| read.is_ok()) else { return "qemu-img gave no reason".into() };
        // qemu-img names the image by its whole `json:` text, which ends like this.
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
        Error::new(Kind::Interrupted, format!("interrupted while converting {}", self.from)).unchanged()
    }
}
