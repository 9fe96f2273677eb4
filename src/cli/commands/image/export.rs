//! `foundry image export`

use foundry_core::record::VolumeRef;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::InPool;
use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use foundry_core::units::Bytes;
use foundry_engine::image::{export_image, resolve_name};
use foundry_fetch::content::Sink;
use foundry_fetch::ownership::Trusted;
use foundry_fetch::transfer::SparseWriter;

/// Write an image to a file, byte for byte, sparse
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image export debian-13.qcow2 debian-13.qcow2
  foundry image export debian-13.qcow2 - \\
      | ssh hv2 foundry image import - debian-13")]
pub(crate) struct ExportArgs {
    /// Name of the image
    #[arg(value_name = "IMAGE")]
    name: String,
    /// Output file, - for standard output; can be your own FIFO or a character device
    file: String,
    #[command(flatten)]
    pool: InPool,
    /// Overwrite an existing file
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run_export(args: &ExportArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let pipe = open_output_pipe(&args.file)?;
    let context = connect_host(global, ui)?;
    let pool = args.pool.pool_name(global);
    let name = resolve_name(&context, &pool, &args.name)?;
    if let Some(mut out) = pipe {
        let written = export_image(&context, &VolumeRef::new(&pool, &name), &mut out);
        // As with all results: a reader who has gone has read what it wanted. It is the caller's own.
        if out.unread {
            return Ok(());
        }
        let written = Bytes(written?);
        out.file.finish().map_err(|e| cannot_write(&args.file, &e))?;
        if args.file == "-" {
            return Ok(());
        }
        return ui.write_line(&success_text(&name, &args.file, written));
    }
    let target = ExportFile::new(&args.file, args.force)?;
    interrupt::install_handler(&context.cancel)?;
    let written = target.write_image(|out| export_image(&context, &VolumeRef::new(&pool, &name), out))?;
    ui.write_line(&success_text(&name, &args.file, Bytes(written)))
}

fn success_text(name: &str, file: &str, written: Bytes) -> String {
    format!("Successfully exported image '{name}' to {file} ({written})")
}

/// What is written into as it is: standard output, or a FIFO or a character device that is there.
fn open_output_pipe(file: &str) -> Result<Option<ExportWriter>, Error> {
    let opened = if file == "-" {
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    } else if let Some(path) = find_pipe(Path::new(file)) {
        open_pipe(&path)
    } else {
        return Ok(None);
    };
    let opened = opened.map_err(|e| cannot_write(file, &e))?;
    if opened.is_terminal() {
        return Err(Error::new(Code::OutputUnwritable, "an image is nothing for a terminal to show")
            .hint("name a file, or send it into a pipe")
            .outcome("nothing was written"));
    }
    ExportWriter::new(opened).map(Some).map_err(|e| cannot_write(file, &e))
}

/// Where a FIFO or a character device is. Of a link it is where that leads only if nobody else could have made it:
/// `/dev/stdout`, `/dev/fd/63`.
fn find_pipe(file: &Path) -> Option<PathBuf> {
    let is_pipe = |m: &fs::Metadata| m.file_type().is_fifo() || m.file_type().is_char_device();
    let there = file.symlink_metadata().ok()?;
    if !there.is_symlink() {
        return is_pipe(&there).then(|| file.to_owned());
    }
    let folder = file.parent().filter(|folder| folder.is_absolute())?;
    let is_safe = Trusted::root_and_caller().find_untrusted_above(folder).is_none();
    (is_safe && fs::metadata(file).is_ok_and(|m| is_pipe(&m))).then(|| file.to_owned())
}

/// The longest wait for somebody who reads from a FIFO.
const READER: Duration = Duration::from_secs(10);

/// Only the caller's own: whoever else made a FIFO reads from it, and an image may hold keys. Devices are root's.
fn open_pipe(path: &Path) -> io::Result<File> {
    let is_link = path.symlink_metadata()?.is_symlink();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | if is_link { 0 } else { libc::O_NOFOLLOW };
    let until = Instant::now() + READER;
    let file = loop {
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            // Nobody reads from it yet.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {
                return Err(io::Error::other("nobody reads from it; start the reader first"));
            }
            opened => break opened?,
        }
    };
    let found = file.metadata()?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    let is_roots_device = found.file_type().is_char_device() && found.uid() == 0;
    if !(is_own || is_roots_device) {
        let why = format!("it belongs to user {}, who may read what is written into it", found.uid());
        return Err(io::Error::other(why));
    }
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

fn cannot_write(file: &str, error: &io::Error) -> Error {
    Error::new(Code::LocalFile, format!("cannot write {file}")).because(describe_io_error(error))
}

/// A file that appears under its name only when it is whole.
struct ExportFile<'a> {
    file: &'a str,
    part: PathBuf,
    force: bool,
}

impl<'a> ExportFile<'a> {
    fn new(file: &'a str, force: bool) -> Result<Self, Error> {
        let there = Path::new(file).symlink_metadata();
        let refused = |message: String| Error::new(Code::FileTaken, message).unchanged();
        match there {
            // Neither what a link leads to nor the link itself is surely what was meant.
            Ok(there) if !there.is_file() => {
                return Err(refused(format!("{file} exists and is no regular file")));
            }
            Ok(_) if !force => return Err(refused(format!("{file} exists")).hint("--force replaces it")),
            _ => {}
        }
        let part = PathBuf::from(format!("{file}.part.{}", std::process::id()));
        Ok(Self { file, part, force })
    }

    fn write_image(&self, write: impl FnOnce(&mut dyn Sink) -> Result<u64, Error>) -> Result<u64, Error> {
        // As libvirt's volumes: an image may hold keys.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.part);
        let mut out = opened.and_then(ExportWriter::new).map_err(|e| cannot_write(self.file, &e))?;
        let written = write(&mut out).and_then(|written| {
            let placed = out.file.finish().and_then(|_| self.put_in_place());
            placed.map(|()| written).map_err(|e| cannot_write(self.file, &e))
        });
        written.inspect_err(|_| {
            // What cannot be removed has a name that says what it is.
            let _ = fs::remove_file(&self.part);
        })
    }

    /// A link fails where somebody has made a file of that name meanwhile; a rename would replace it.
    fn put_in_place(&self) -> io::Result<()> {
        if self.force {
            return fs::rename(&self.part, self.file);
        }
        fs::hard_link(&self.part, self.file)?;
        fs::remove_file(&self.part)
    }
}

/// A file that gets an image.
struct ExportWriter {
    file: SparseWriter,
    /// Whether it is a pipe whose reader has gone.
    unread: bool,
}

impl ExportWriter {
    fn new(file: File) -> io::Result<Self> {
        SparseWriter::new(file).map(|file| Self { file, unread: false })
    }

    fn note_broken_pipe<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.inspect_err(|e| self.unread |= e.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Write for ExportWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.note_broken_pipe(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.note_broken_pipe(flushed)
    }
}

impl Sink for ExportWriter {
    fn write_hole(&mut self, length: u64) -> io::Result<()> {
        let skipped = self.file.skip_hole(length);
        self.note_broken_pipe(skipped)
    }
}
