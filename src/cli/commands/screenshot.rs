//! `foundry screenshot`

use std::io::Write;

use clap::Args;

use crate::connect::connect_host;
use crate::output_file::{OutputFile, cannot_write};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_core::units::Bytes;
use foundry_engine::vm::screenshot::take_screenshot;

/// Write a picture of a VM's screen to a file
///
/// The VM needs a screen: spec.graphics. QEMU before 7.1 gives a pixmap (PPM) in place of a PNG file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry screenshot desk desk.png
  foundry screenshot desk desk.png --force")]
pub(crate) struct ScreenshotArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// Output file, - for standard output
    file: String,
    /// Overwrite an existing file
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run_screenshot(args: &ScreenshotArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let file = &args.file;
    let target = if file == "-" { None } else { Some(OutputFile::new(file, args.force)?) };
    if target.is_none() && ui.is_on_terminal() {
        return Err(Error::new(Code::OutputUnwritable, "cannot write a picture to a terminal")
            .hint("name a file, or pipe it to a program")
            .outcome("nothing was written"));
    }
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let picture = take_screenshot(&context, &args.name)?;
    let Some(target) = target else { return ui.write_bytes(&picture.bytes) };
    if picture.media_type != "image/png" && file.to_lowercase().ends_with(".png") {
        let kind = escape_unseen(&picture.media_type);
        return Err(Error::new(Code::LocalFile, format!("the picture is no PNG file but {kind}"))
            .because("this host's QEMU is older than 7.1")
            .hint("name a file that ends in .ppm; pnmtopng makes a PNG file from it")
            .outcome("nothing was written"));
    }
    target.write_content(|mut out| out.write_all(&picture.bytes).map_err(|e| cannot_write(file, &e)))?;
    let size = Bytes(picture.bytes.len() as u64);
    ui.write_line(&format!("Successfully wrote the screen of VM '{}' to {file} ({size})", args.name))
}
