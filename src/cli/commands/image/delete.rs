//! `foundry image delete` and `foundry image prune`

use clap::Args;
use foundry_core::record::VolumeRef;

use super::InPool;
use crate::connect::connect_host;
use crate::consent::require_answer;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_core::units::Bytes;
use foundry_engine::image::{self, UnusedImage};

/// Delete an image that no VM uses
#[derive(Debug, Args)]
#[command(
    visible_alias = "rm",
    after_help = "Examples:
  foundry image delete debian-12.qcow2
  foundry image delete debian-12.qcow2 --force"
)]
pub(crate) struct DeleteArgs {
    /// Name of the image
    #[arg(value_name = "IMAGE")]
    name: String,
    #[command(flatten)]
    pool: InPool,
    /// Delete even if in use (this destroys the VMs' disks) or incomplete; asks you to type the name
    #[arg(short, long)]
    force: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run_delete(args: &DeleteArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let pool = args.pool.pool_name(global);
    let name = &image::resolve_name(&context, &pool, &args.name)?;
    if args.force {
        let found = image::image_info(&context, &VolumeRef::new(&pool, name))?;
        let users = [found.vms, found.overlays].concat();
        if !users.is_empty() && !args.yes {
            confirm_delete(name, &users, ui)?;
        }
        // Only after the question: until then, a signal ends the program at once.
        interrupt::install_handler(&context.cancel)?;
        image::delete_image_in_use(&context, &VolumeRef::new(&pool, name))?;
    } else {
        interrupt::install_handler(&context.cancel)?;
        image::delete_image(&context, &VolumeRef::new(&pool, name))?;
    }
    ui.write_line(&format!("Successfully deleted image '{name}'"))
}

/// The user types the name, so a typo does not destroy disks.
fn confirm_delete(name: &str, users: &[String], ui: &Ui) -> Result<(), Error> {
    let question = format!(
        "Image '{}' is in use by {}. Deleting it destroys their disks.\nTo delete it anyway, type its name: ",
        escape_unseen(name),
        escape_unseen(&users.join(", "))
    );
    match ui.ask_text(&question)? {
        Some(answer) if answer == name || answer == escape_unseen(name) => Ok(()),
        Some(_) => Err(Error::new(Code::StorageDeclined, "the name does not match").unchanged()),
        None => {
            Err(Error::new(Code::ImageInUse, format!("image '{name}' is in use by {}", users.join(", ")))
                .hint("without a terminal, --force needs --yes")
                .unchanged())
        }
    }
}

/// Delete all images that no VM uses and that can be pulled again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image prune --dry-run
  foundry image prune --all --yes")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pool: InPool,
    /// Also delete images that cannot be pulled again
    #[arg(short, long)]
    all: bool,
    /// Show what would be deleted, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation; required when stdin is not a terminal
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run_prune(args: &PruneArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let found = image::find_unused(&context, &args.pool.pool_name(global), args.all)?;
    if found.is_empty() {
        ui.show_note("No unused images");
        return Ok(());
    }
    if args.dry_run {
        return ui.write_text(&format!("Would delete:\n{}", image_lines(&found)));
    }
    if !args.yes {
        let question = format!("Delete these images:\n{}Continue?", image_lines(&found));
        require_answer(&question, "deleting images", ui)?;
    }
    interrupt::install_handler(&context.cancel)?;
    let (mut freed, mut count) = (0, 0);
    image::prune_images(&context, &found, |image| (freed, count) = (freed + image.allocation.0, count + 1))
        .map_err(|e| e.outcome(format!("{count} of {} images were deleted", found.len())))?;
    let images = if count == 1 { "image" } else { "images" };
    ui.write_line(&format!("Successfully deleted {count} {images}, {}", Bytes(freed)))
}

/// Without a terminal this needs `--yes`, because the user did not name the images.
/// One line for each image, with names and notes escaped.
fn image_lines(found: &[UnusedImage]) -> String {
    let line = |d: &UnusedImage| {
        let origin = d.origin.as_ref().map_or("of unknown origin", |origin| origin.source.as_str());
        format!("  {}  {}  {}\n", escape_unseen(&d.image.name), d.image.allocation, escape_unseen(origin))
    };
    found.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_core::origin::ImageOrigin;
    use foundry_host::Volume;

    #[test]
    fn a_note_forges_no_line() {
        let image = Volume {
            pool: "images".into(),
            name: "a\u{202e}".into(),
            path: "/a".into(),
            format: "raw".into(),
            capacity: Bytes(1),
            allocation: Bytes(1),
            backing: None,
            mode: None,
        };
        let origin = ImageOrigin {
            source_id: None,
            source: "https://a\n  other  1 B  https://b\u{1b}[2J".into(),
            alias: None,
            digest: None,
            verified_by: None,
            compression: None,
            converted_from: None,
            etag: None,
            last_modified: None,
            fetched: String::new(),
        };
        let text = image_lines(&[UnusedImage { image, origin: Some(origin) }]);
        assert_eq!(text, "  a\\u{202e}  1 B  https://a\\n  other  1 B  https://b\\u{1b}[2J\n");
    }
}
