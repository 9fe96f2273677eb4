//! `foundry image export`

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::InPool;
use crate::connect::connect_host;
use crate::output_file::{OutputFile, cannot_write};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;
use foundry_engine::image::{export_image, resolve_name};
use foundry_fetch::content::Sink;
use foundry_fetch::file_ownership::TrustedOwners;
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
        // As with all output, a reader that closes the pipe early is not an error.
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
    let target = OutputFile::new(&args.file, args.force)?;
    interrupt::install_handler(&context.cancel)?;
    let written = target.write_content(|file| {
        let mut out = ExportWriter::new(file).map_err(|e| cannot_write(&args.file, &e))?;
        let written = export_image(&context, &VolumeRef::new(&pool, &name), &mut out)?;
        out.file.finish().map_err(|e| cannot_write(&args.file, &e))?;
        Ok(written)
    })?;
    ui.write_line(&success_text(&name, &args.file, Bytes(written)))
}

fn success_text(name: &str, file: &str, written: Bytes) -> String {
    format!("Successfully exported image '{name}' to {file} ({written})")
}

/// Opens standard output, or an existing FIFO or character device; these are written to directly.
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
        return Err(Error::new(Code::OutputUnwritable, "cannot write an image to a terminal")
            .hint("name a file, or pipe it to a program")
            .outcome("nothing was written"));
    }
    ExportWriter::new(opened).map(Some).map_err(|e| cannot_write(file, &e))
}

/// The path, if it is a FIFO or a character device. A link is followed only if nobody else could have made it:
/// `/dev/stdout`, `/dev/fd/63`.
fn find_pipe(file: &Path) -> Option<PathBuf> {
    let is_pipe = |m: &fs::Metadata| m.file_type().is_fifo() || m.file_type().is_char_device();
    let there = file.symlink_metadata().ok()?;
    if !there.is_symlink() {
        return is_pipe(&there).then(|| file.to_owned());
    }
    let folder = file.parent().filter(|folder| folder.is_absolute())?;
    let is_safe = TrustedOwners::root_and_caller().find_untrusted_above(folder).is_none();
    (is_safe && fs::metadata(file).is_ok_and(|m| is_pipe(&m))).then(|| file.to_owned())
}

/// How long to wait for a reader of a FIFO.
const READER: Duration = Duration::from_secs(10);

/// Opens a FIFO of the caller or a device of root. The owner of another FIFO could read the image, which may contain
/// keys.
fn open_pipe(path: &Path) -> io::Result<File> {
    let is_link = path.symlink_metadata()?.is_symlink();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | if is_link { 0 } else { libc::O_NOFOLLOW };
    let until = Instant::now() + READER;
    let file = loop {
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            // ENXIO: the FIFO has no reader yet (fifo(7)).
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {
                return Err(io::Error::other("it has no reader; start the reader first"));
            }
            opened => break opened?,
        }
    };
    let found = file.metadata()?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    let is_roots_device = found.file_type().is_char_device() && found.uid() == 0;
    if !(is_own || is_roots_device) {
        let why = format!("it belongs to user {}, who could read the image", found.uid());
        return Err(io::Error::other(why));
    }
    // Only opening must not block; a full pipe has to wait for its reader.
    let status = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, status - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}

/// Writes an image to a file or pipe.
struct ExportWriter {
    file: SparseWriter,
    /// Whether the reader of the pipe has closed it.
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
