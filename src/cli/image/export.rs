//! `foundry image export`

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use super::InPool;
use crate::cli::Global;
use crate::cli::connect::connect;
use crate::cli::interrupt;
use crate::cli::ui::Ui;
use crate::content::Sink;
use crate::error::{Error, Kind};
use crate::operations::images::export;
use crate::transfer::SparseWriter;
use crate::units::Bytes;

/// Write an image to a file, byte for byte and with its holes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image export debian-13.qcow2 debian-13.qcow2
  foundry image export debian-13.qcow2 - | ssh hv2 foundry image import - debian-13")]
pub(super) struct ExportArgs {
    /// Its name
    name: String,
    /// The file, - for standard output
    file: String,
    #[command(flatten)]
    pool: InPool,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &ExportArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let connected = connect(global, ui)?;
    let (session, pool) = (connected.session(), args.pool.name(global));
    if args.file == "-" {
        let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let mut out = out.and_then(Export::new).map_err(|e| unwritable(&args.file, &e))?;
        export(&session, &pool, &args.name, &mut out)?;
        return out.0.finish().map(drop).map_err(|e| unwritable(&args.file, &e));
    }
    interrupt::guard(&connected.cancel)?;
    let target = Target::new(&args.file, args.force)?;
    let written = target.fill(|out| export(&session, &pool, &args.name, out))?;
    ui.line(&format!("Successfully exported image '{}' to {} ({})", args.name, args.file, Bytes(written)))
}

fn unwritable(file: &str, error: &io::Error) -> Error {
    Error::new(Kind::Storage, format!("cannot write {file}")).because(error.to_string())
}

/// A file that appears under its name only when it is whole.
struct Target<'a> {
    file: &'a str,
    part: PathBuf,
    force: bool,
}

impl<'a> Target<'a> {
    fn new(file: &'a str, force: bool) -> Result<Self, Error> {
        if !force && Path::new(file).symlink_metadata().is_ok() {
            return Err(Error::new(Kind::Configuration, format!("{file} exists"))
                .hint("--force replaces it")
                .outcome("nothing was changed"));
        }
        let part = PathBuf::from(format!("{file}.part.{}", std::process::id()));
        Ok(Self { file, part, force })
    }

    fn fill(&self, write: impl FnOnce(&mut dyn Sink) -> Result<u64, Error>) -> Result<u64, Error> {
        let opened = OpenOptions::new().write(true).create_new(true).open(&self.part);
        let mut out = opened.and_then(Export::new).map_err(|e| unwritable(self.file, &e))?;
        let written = write(&mut out).and_then(|written| {
            let placed = out.0.finish().and_then(|_| self.put_in_place());
            placed.map(|()| written).map_err(|e| unwritable(self.file, &e))
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
struct Export(SparseWriter);

impl Export {
    fn new(file: File) -> io::Result<Self> {
        SparseWriter::new(file).map(Self)
    }
}

impl Write for Export {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Export {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.0.hole(length)
    }
}
