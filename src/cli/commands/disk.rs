//! `foundry disk`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::consent::{self, list_kept_back, list_volumes};
use crate::output::{ListingArgs, TableRow, or_dash, parse_duration};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::names::{DiskSerial, DiskTarget};
use foundry_core::plan::DiskFormat;
use foundry_core::record::{VolumeRef, VolumeRole};
use foundry_core::text::escape_unseen;
use foundry_core::units::{Bytes, SizeRequest};
use foundry_engine::Context;
use foundry_engine::disk::{self, AttachRequest, DetachPlan, DiskContent, DiskView, Resized};

/// List, grow, attach and detach the disks of VMs
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    #[command(subcommand)]
    command: DiskCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Qcow2,
    Raw,
}

#[derive(Debug, Subcommand)]
enum DiskCommand {
    /// List the disks of one VM, or of all VMs
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  foundry disk list\n  foundry disk list web -o wide"
    )]
    List {
        /// Name of the VM
        vm: Option<String>,
        #[command(flatten)]
        listing: ListingArgs,
    },
    /// Grow a disk of a running or stopped VM
    #[command(
        after_help = "Examples:\n  foundry disk resize web boot 40GiB\n  foundry disk resize web vdb +10GiB"
    )]
    Resize {
        /// Name of the VM
        vm: String,
        /// Disk: its device (vda), boot, or its volume name
        disk: String,
        /// New size in GiB (40GiB, 40G or 40), or the increase (+10GiB)
        #[arg(allow_hyphen_values = true)]
        size: SizeRequest,
    },
    /// Attach a new disk, or a volume that exists
    #[command(
        after_help = "Examples:\n  foundry disk attach web 20GiB\n  foundry disk attach web 100GiB --device vdd --format raw\n  foundry disk attach web pool/volume\n\nNeither disk detach nor destroy deletes a volume that existed."
    )]
    Attach {
        /// Name of the VM
        vm: String,
        /// Size of a new disk in GiB (20GiB, 20G or 20), or an existing volume as POOL/VOLUME
        #[arg(value_name = "SIZE|VOLUME", value_parser = parse_content)]
        content: ContentArg,
        /// Device name in the guest, vdb to vdz [default: the next free one]
        #[arg(long)]
        device: Option<DiskTarget>,
        /// Format of a new disk [default: qcow2]
        #[arg(long, value_enum)]
        format: Option<FormatArg>,
        /// Serial number, /dev/disk/by-id/virtio-SERIAL in the guest [default: the device]
        #[arg(long)]
        serial: Option<DiskSerial>,
        /// Attach it at the next boot instead of now
        #[arg(long)]
        at_next_start: bool,
    },
    /// Detach a data disk and delete its volume
    #[command(after_help = "Examples:\n  foundry disk detach web vdb\n  foundry disk detach web vdb --keep")]
    Detach {
        /// Name of the VM
        vm: String,
        /// Disk: its device (vdb), or its volume name
        disk: String,
        /// Keep the volume and print its name
        #[arg(long)]
        keep: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
        /// How long the guest may take to release the disk [default: 30s] [env: FOUNDRY_DETACH_TIMEOUT]
        #[arg(long, value_parser = parse_duration)]
        timeout: Option<Duration>,
    },
}

/// A size, or a volume.
#[derive(Debug, Clone, PartialEq)]
enum ContentArg {
    Size(Bytes),
    Volume(VolumeRef),
}

fn parse_content(text: &str) -> Result<ContentArg, String> {
    match text.split_once('/') {
        Some((pool, name)) if !pool.is_empty() && !name.is_empty() && !name.contains('/') => {
            return Ok(ContentArg::Volume(VolumeRef::new(pool, name)));
        }
        Some(_) => return Err("a volume is named POOL/VOLUME; virsh vol-pool PATH tells the pool".into()),
        None => {}
    }
    match text.parse().map_err(|e| format!("{e}; a volume is named POOL/VOLUME"))? {
        SizeRequest::To(size) => Ok(ContentArg::Size(size)),
        SizeRequest::By(_) => Err("a new disk needs a size, not an increase".into()),
    }
}

fn disk_content(content: &ContentArg, format: Option<FormatArg>) -> Result<DiskContent, Error> {
    let format = match format {
        None => None,
        Some(FormatArg::Qcow2) => Some(DiskFormat::Qcow2),
        Some(FormatArg::Raw) => Some(DiskFormat::Raw),
    };
    match (content, format) {
        (ContentArg::Size(size), format) => {
            Ok(DiskContent::New { size: *size, format: format.unwrap_or(DiskFormat::Qcow2) })
        }
        (ContentArg::Volume(volume), None) => Ok(DiskContent::Existing(volume.clone())),
        (ContentArg::Volume(_), Some(_)) => {
            Err(Error::new(Code::Contradiction, "--format is for a new disk; a volume keeps its format"))
        }
    }
}

pub(super) fn run_disk(args: &DiskArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    if let DiskCommand::Resize { .. } | DiskCommand::Attach { .. } = &args.command {
        interrupt::install_handler(&context.cancel)?;
    }
    match &args.command {
        DiskCommand::List { vm, listing } => {
            listing.show_list(&disk::list_disks(&context, vm.as_deref())?, "No disks", (global, ui))
        }
        DiskCommand::Resize { vm, disk, size } => {
            report_resize(&disk::resize(&context, vm, disk, *size)?, ui)
        }
        DiskCommand::Attach { vm, content, device, format, serial, at_next_start } => {
            let content = disk_content(content, *format)?;
            let (device, serial) = (device.clone(), serial.clone());
            let at_next_start = *at_next_start;
            attach_disk(&context, &AttachRequest { vm, content, device, serial, at_next_start }, ui)
        }
        DiskCommand::Detach { vm, disk, keep, yes, timeout } => {
            let plan = disk::plan_detach(&context, vm, disk, *keep)?;
            if !yes {
                consent::require_consent(&detach_question(&plan), "nothing was detached", ui)?;
            }
            // Not earlier: until the question is answered, a signal ends the program at once.
            interrupt::install_handler(&context.cancel)?;
            let timeout = timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::DetachTimeout));
            disk::detach(&context, &plan, timeout)?;
            report_detach(&plan, ui)
        }
    }
}

impl TableRow for DiskView {
    type Object = Self;
    const HEADERS: &'static [&'static str] =
        &["VM", "DEVICE", "ROLE", "FORMAT", "SIZE", "ALLOCATED", "VOLUME", "STATE"];
    const WIDE_HEADERS: &'static [&'static str] = &["PATH", "BACKING"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(format!("{}/{}", self.vm, self.device))
    }

    fn row_cells(&self) -> Vec<String> {
        let volume =
            self.pool.as_ref().zip(self.volume.as_ref()).map(|(pool, name)| format!("{pool}/{name}"));
        vec![
            self.vm.clone(),
            self.device.clone(),
            self.role.map_or("-", role_word).into(),
            or_dash(self.format.clone()),
            or_dash(self.size.map(|s| s.to_string())),
            or_dash(self.allocated.map(|s| s.to_string())),
            or_dash(volume),
            self.presence.as_str().into(),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![or_dash(self.path.clone()), or_dash(self.backing.clone())]
    }
}

fn role_word(role: VolumeRole) -> &'static str {
    match role {
        VolumeRole::Boot => "boot",
        VolumeRole::Data => "data",
        VolumeRole::Seed => "seed",
        VolumeRole::Memory => "memory",
    }
}

/// Prints the new size, and what remains to be done in the guest.
fn report_resize(resized: &Resized, ui: &Ui) -> Result<(), Error> {
    let Resized { vm, target, from, to, live, .. } = resized;
    if from == to {
        return ui.write_line(&format!("Disk '{target}' of VM '{vm}' already has {to}"));
    }
    ui.write_line(&format!("Successfully grew disk '{target}' of VM '{vm}' from {from} to {to}"))?;
    ui.show_note(if *live {
        "The guest sees the new size."
    } else {
        "The guest sees the new size at its next start."
    });
    if resized.agent == Some(true) {
        ui.show_note("The guest agent runs, but it does not grow partitions.");
    }
    if resized.role == VolumeRole::Boot {
        ui.show_note(
            "Cloud-init, if the image has it, grows the root partition and its file system at the next boot \
             (growpart and resizefs, on by default).",
        );
        if *live {
            ui.show_note(
                "To grow them now, run in the guest: growpart /dev/vda 1 && resize2fs /dev/vda1 (xfs_growfs / for XFS)",
            );
        }
    } else {
        let serial = resized.serial.as_deref().unwrap_or(target);
        ui.show_note(&format!(
            "To grow its file system, run in the guest: resize2fs /dev/disk/by-id/virtio-{serial} (XFS: xfs_growfs MOUNTPOINT)"
        ));
    }
    Ok(())
}

fn attach_disk(context: &Context, request: &AttachRequest<'_>, ui: &Ui) -> Result<(), Error> {
    let attached = disk::attach(context, request)?;
    let (vm, disk) = (&attached.vm, &attached.disk);
    ui.write_line(&format!("Successfully attached disk '{}' ({}) to VM '{vm}'", disk.target, disk.size))?;
    let serial = disk.serial.as_ref().map_or(disk.target.as_str(), DiskSerial::as_str);
    let begin = if attached.volume.adopted { "In" } else { "It is empty; in" };
    ui.show_note(&format!("{begin} the guest it is /dev/disk/by-id/virtio-{serial}."));
    Ok(())
}

fn detach_question(plan: &DetachPlan) -> String {
    let DetachPlan { vm, target, live, volume, kept_back, .. } = plan;
    let mut text = format!("Detach disk '{}' from VM '{}'\n", escape_unseen(target), escape_unseen(vm));
    if *live {
        text.push_str("  The VM is running: unmount the disk in the guest first.\n");
    }
    list_volumes(&mut text, "and delete:", volume.as_slice());
    list_kept_back(&mut text, kept_back.as_slice());
    text.push_str("Continue?");
    text
}

fn report_detach(plan: &DetachPlan, ui: &Ui) -> Result<(), Error> {
    let DetachPlan { vm, target, .. } = plan;
    let kept = plan
        .released_volume()
        .map(|(pool, name)| format!("{}\n", escape_unseen(&format!("{pool}/{name}"))))
        .unwrap_or_default();
    if let Some((pool, name)) = plan.missing_volume() {
        let volume = VolumeRef::new(pool, name);
        ui.show_warning(&format!("{volume} no longer exists, so nothing is kept"));
    }
    let (target, vm) = (escape_unseen(target), escape_unseen(vm));
    let text = format!("{kept}Successfully detached disk '{target}' from VM '{vm}'\n");
    ui.write_text(&text).map_err(|unwritten| unwritten.outcome(format!("disk '{target}' was detached")))
}
