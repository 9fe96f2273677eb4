//! Renders the steps of an operation as sentences.

use foundry_engine::vm::wait::Goal;
use foundry_engine::{Cleanup, Step, Task};

/// Renders the start of an operation.
pub fn render_task(task: &Task) -> String {
    match task {
        Task::CreateVm(vm) => format!("Creating VM '{vm}'..."),
        Task::CloneVm { from, to } => format!("Cloning VM '{from}' to '{to}'..."),
        Task::ChangeVm(vm) => format!("Changing VM '{vm}'..."),
        Task::RenameVm { from, to } => format!("Renaming VM '{from}' to '{to}'..."),
        Task::DestroyVm(vm) => format!("Destroying VM '{vm}'..."),
        Task::RemoveInterrupted(volumes) => {
            format!("Removing what an interrupted creation left: {}", volumes.join(", "))
        }
        Task::AttachDisk { vm, size } => format!("Attaching a disk of {size} to VM '{vm}'..."),
        Task::DetachDisk { vm, target } => format!("Detaching disk '{target}' from VM '{vm}'..."),
        Task::EjectSeed(vm) => format!("Ejecting the seed of VM '{vm}'..."),
        Task::RepaveVm(vm) => format!("Repaving VM '{vm}'..."),
        Task::RollBackVm(vm) => format!("Rolling back VM '{vm}'..."),
        Task::CreateSnapshot { vm, snapshot } => format!("Making snapshot '{snapshot}' of VM '{vm}'..."),
        Task::RestoreSnapshot { vm, snapshot } => format!("Restoring snapshot '{snapshot}' of VM '{vm}'..."),
        Task::DeleteSnapshot { vm, snapshot } => format!("Deleting snapshot '{snapshot}' of VM '{vm}'..."),
        Task::WarmImage(image) => format!("Making warm image '{image}'..."),
        Task::ImportImage(image) => format!("Importing image '{image}'..."),
    }
}

/// Renders a step in progress.
pub fn render_started(step: &Step) -> String {
    match step {
        Step::Validate => "Validating the configuration".into(),
        Step::RemoveInterrupted => "Removing what an interrupted creation left".into(),
        Step::DefineDomain => "Defining the domain".into(),
        Step::RenameDomain => "Renaming the domain".into(),
        Step::ChangeDefinition => "Changing the definition".into(),
        Step::ChangeRunning(field) => format!("Changing {field} of the running VM"),
        Step::ExchangeBootDisk => "Exchanging the boot disk".into(),
        Step::BringBackBootDisk => "Bringing back the previous boot disk".into(),
        Step::UndefineDomain => "Undefining the domain".into(),
        Step::StartVm => "Starting the VM".into(),
        Step::SaveMemory => "Saving the memory of the guest".into(),
        Step::RenewIdentity => "Starting from memory".into(),
        Step::StopVm => "Stopping the VM".into(),
        Step::ShutDownGuest => "Waiting for the guest to shut down".into(),
        Step::CreateStorage { .. } => "Creating the storage".into(),
        Step::GenerateSeed => "Generating the cloud-init ISO".into(),
        Step::RemoveStorage { .. } => "Removing the storage".into(),
        Step::CreateVolume(volume) => format!("Creating volume {}", volume.name),
        Step::CopyVolume(volume) => format!("Copying to volume {}", volume.name),
        Step::DeleteVolume(volume) => format!("Deleting volume {}", volume.name),
        Step::AttachDisk { .. } => "Attaching the disk".into(),
        Step::DetachDisk => "Waiting for the guest to let go of the disk".into(),
        Step::DetachCdrom => "Detaching the CD-ROM".into(),
        Step::MakeSnapshot => "Making the snapshot".into(),
        Step::RestoreDisks => "Setting the disks back".into(),
        Step::MergeSnapshot => "Merging what was written since".into(),
        Step::GrowDisk { target, size } => format!("Growing disk {target} to {size}"),
        Step::WaitFor { goal, .. } => format!("Waiting for {}", goal.as_str()),
        Step::AskServer(url) => format!("Asking for {url}"),
        Step::Download(url) => format!("Downloading {url}"),
        Step::Convert { from, to } => format!("Converting {from} to {to}"),
        Step::ImportImage => "Importing the image".into(),
        Step::WaitForLock(what) => format!("Waiting for another foundry process to finish with {what}"),
        Step::WaitForVolumes { pool } => {
            format!("Waiting for volumes that libvirt is still creating in pool '{pool}'")
        }
        Step::WaitForRival => "Waiting for another VM that wants the same address".into(),
        Step::RunProbe => "Running a test guest".into(),
        Step::CleanUp(Cleanup::Leftover(leftover)) => format!("Deleting {leftover}"),
        Step::CleanUp(done) => render_cleanup(done),
    }
}

/// Renders a finished step.
pub fn render_finished(step: &Step) -> String {
    match step {
        Step::Validate => "Configuration validated".into(),
        Step::RemoveInterrupted => "Remains of an interrupted creation removed".into(),
        Step::DefineDomain => "Domain defined".into(),
        Step::RenameDomain => "Domain renamed".into(),
        Step::ChangeDefinition => "Definition changed".into(),
        Step::ChangeRunning(field) => format!("Running VM changed: {field}"),
        Step::ExchangeBootDisk => "Boot disk exchanged".into(),
        Step::BringBackBootDisk => "Previous boot disk brought back".into(),
        Step::UndefineDomain => "Domain undefined".into(),
        Step::StartVm => "VM started".into(),
        Step::SaveMemory => "Memory saved".into(),
        Step::RenewIdentity => "Guest has its own identity".into(),
        Step::StopVm => "VM stopped".into(),
        Step::ShutDownGuest => "Guest shut down".into(),
        Step::CreateStorage { boot, data, origin } => {
            let data = data.map(|data| format!(" + {data} data")).unwrap_or_default();
            let origin = origin.map(|origin| format!(", {origin}")).unwrap_or_default();
            format!("Storage created ({boot} boot{data}{origin})")
        }
        Step::GenerateSeed => "Cloud-init ISO generated".into(),
        Step::RemoveStorage { only_seed: true } => "Seed removed".into(),
        Step::RemoveStorage { only_seed: false } => "Storage removed".into(),
        Step::CreateVolume(volume) => format!("Volume '{}' created", volume.name),
        Step::CopyVolume(volume) => format!("Volume '{}' copied", volume.name),
        Step::DeleteVolume(volume) => format!("Volume '{}' deleted", volume.name),
        Step::AttachDisk { live: true } => "Disk attached".into(),
        Step::AttachDisk { live: false } => "Disk attached from the next start on".into(),
        Step::DetachDisk => "Disk detached".into(),
        Step::DetachCdrom => "CD-ROM detached".into(),
        Step::MakeSnapshot => "Snapshot made".into(),
        Step::RestoreDisks => "Disks set back".into(),
        Step::MergeSnapshot => "Overlays merged".into(),
        Step::GrowDisk { target, size } => format!("Disk {target} grown to {size}"),
        Step::WaitFor { goal, took } => {
            let reached = match goal {
                Goal::Ip => "Address known",
                Goal::Agent => "Guest agent answers",
                Goal::Ssh => "SSH answers",
                Goal::CloudInit => "cloud-init is done",
            };
            format!("{reached} after {:.0} s", took.as_secs_f32())
        }
        Step::AskServer(url) => format!("{url} answered"),
        Step::Download(url) => format!("{url} downloaded"),
        Step::Convert { from, to } => format!("{from} converted to {to}"),
        Step::ImportImage => "Image imported".into(),
        Step::WaitForLock(what) => format!("Another foundry process has finished with {what}"),
        Step::WaitForVolumes { pool } => format!("Volumes in pool '{pool}' created"),
        Step::WaitForRival => "Addresses settled".into(),
        Step::RunProbe => "Test guest ran".into(),
        Step::CleanUp(done) => render_cleanup(done),
    }
}

fn render_cleanup(done: &Cleanup) -> String {
    match done {
        Cleanup::Leftover(leftover) => format!("{leftover} removed"),
        Cleanup::AlreadyGone(leftover) => format!("{leftover} is gone already"),
        Cleanup::Vm(vm, volumes) if volumes.is_empty() => format!("VM '{vm}' removed"),
        Cleanup::Vm(vm, volumes) => format!("VM '{vm}' removed with {}", volumes.join(", ")),
        Cleanup::VmRemovedMeanwhile(vm) => format!("VM '{vm}' was deleted by another process meanwhile"),
        Cleanup::PartialImage(image) => format!("Partial image '{image}' deleted"),
        Cleanup::Note(image) => format!("Origin note of image '{image}' deleted"),
        Cleanup::Volume(volume) => format!("Volume '{volume}' deleted"),
        Cleanup::Nvram(path) => format!("{} deleted", path.display()),
        Cleanup::Snapshot(name) => format!("Snapshot {name} settled"),
        Cleanup::DiskRecorded { vm, target } => format!("Disk '{target}' of VM '{vm}' recorded"),
    }
}
