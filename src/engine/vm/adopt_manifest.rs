//! The manifest of a domain that foundry did not make, and the volumes of its disks.

use crate::Context;
use crate::storage::usage::Usage;
use foundry_core::domain_xml::{VirtType, cpu_mode};
use foundry_core::error::{Advice, Code, Error, Issue, Verb};
use foundry_core::manifest::{
    API_VERSION, BootDisk, DataDisk, Firmware, Graphics, KIND, Metadata, NetworkInterface, Number, Resources,
    Spec, VirtualMachine,
};
use foundry_core::names::{DiskTarget, VmName};
use foundry_core::plan::{CpuMode, VncListen};
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_core::units::{Bytes, GIB};
use foundry_host::libvirt_xml::{
    DiskDescription, DiskDevice, DiskSource, DomainDescription, InterfaceDescription,
};
use foundry_host::{Domain, Volume};

/// A manifest that says what it can of a domain.
pub(super) struct DraftManifest {
    pub(super) manifest: VirtualMachine,
    /// The volumes of its disks, the boot disk first.
    pub(super) volumes: Vec<RecordedVolume>,
    /// What prevents that foundry takes the domain over.
    pub(super) issues: Vec<Issue>,
}

/// Writes the manifest of a domain by its persistent definition.
///
/// # Errors
/// A failed call to the host.
pub(super) fn draft_manifest(
    context: &Context,
    domain: &Domain,
    next: &DomainDescription,
) -> Result<DraftManifest, Error> {
    let mut draft =
        DraftManifest { manifest: VirtualMachine::default(), volumes: Vec::new(), issues: Vec::new() };
    let host_arch = context.host.capabilities()?.arch;
    let is_native = next.arch.as_deref().is_none_or(|arch| arch == host_arch);
    let (boot_disk, data_disks) = draft.read_disks(context, domain, next)?;
    if VmName::parse_normalized(&domain.name).map_or(true, |name| name.as_str() != domain.name) {
        let message = format!("the name '{}' is not one that a manifest can give", domain.name);
        let issue = Issue::new(Code::NameUnfit, message);
        draft.issues.push(issue.hint(format!("virsh domrename {} NEW renames it", domain.shell_name())));
    }
    let linked = |i: &&InterfaceDescription| matches!(i.kind.as_str(), "bridge" | "network");
    let interfaces: Vec<NetworkInterface> =
        next.interfaces.iter().filter(linked).map(network_interface).collect();
    let storage_pool = draft.volumes.first().map(|volume| volume.pool.clone());
    draft.manifest = VirtualMachine {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata { name: Some(domain.name.clone()), ..Metadata::default() },
        spec: Spec {
            vcpus: Some(Number::Whole(next.vcpus.into())),
            memory_gib: Some(gib_number(next.current_memory)),
            resources: resources(next),
            boot_disk,
            data_disks,
            network_interfaces: interfaces,
            cpu_mode: cpu_word(next, is_native),
            autostart: Some(domain.autostart),
            storage_pool,
            firmware: Some(firmware(next)),
            arch: next.arch.clone().filter(|_| !is_native),
            graphics: graphics(next),
            ..Spec::default()
        },
        status: None,
    };
    Ok(draft)
}

impl DraftManifest {
    fn read_disks(
        &mut self,
        context: &Context,
        domain: &Domain,
        next: &DomainDescription,
    ) -> Result<(Option<BootDisk>, Vec<DataDisk>), Error> {
        let mut usage = None;
        let (mut boot, mut data) = (None, Vec::new());
        for disk in next.disks.iter().filter(|disk| disk.device == DiskDevice::Disk) {
            let target = disk.target.as_str();
            let is_boot = target == "vda";
            if !is_boot && target.parse::<DiskTarget>().is_err() {
                let what = format!("disk {target}: the disks of a manifest are vda, and vdb to vdz");
                self.issues
                    .push(Issue::new(Code::DiskNotOwn, what).hint("virsh edit gives it another target"));
                continue;
            }
            let Some((volume, format)) = self.find_volume(context, disk)? else { continue };
            if usage.is_none() {
                usage = Some(Usage::collect(context, Some(domain.uuid))?);
            }
            let others = usage.as_ref().map(|usage| usage.domains_using(&volume.path)).unwrap_or_default();
            if !others.is_empty() {
                let what =
                    format!("disk {target}: domain '{}' uses {} too", others.join("', '"), volume.path);
                self.issues.push(Issue::new(Code::DiskNotOwn, what));
            }
            let size = Some(Number::Whole(i64::try_from(volume.capacity.0 / GIB).unwrap_or(i64::MAX)));
            if is_boot {
                let image = image_of(context, &volume)?;
                let empty = image.is_none().then_some(true);
                let format = Some(format.clone());
                boot = Some(BootDisk { size_gib: size, image, empty, format, ..BootDisk::default() });
            } else {
                data.push(DataDisk {
                    device: Some(target.to_owned()),
                    size_gib: size,
                    format: Some(format.clone()),
                    serial: disk.serial.clone().filter(|serial| serial != target),
                    ..DataDisk::default()
                });
            }
            self.note_volume(disk, volume, format, is_boot);
        }
        data.sort_by(|one, other| one.device.cmp(&other.device));
        self.volumes.sort_by(|one, other| one.target.cmp(&other.target));
        if boot.is_none() && self.issues.is_empty() {
            let what = "it has no disk vda, the boot disk of a manifest";
            self.issues.push(Issue::new(Code::DiskMissing, what));
        }
        Ok((boot, data))
    }

    /// Finds the volume of a disk, and its format.
    fn find_volume(
        &mut self,
        context: &Context,
        disk: &DiskDescription,
    ) -> Result<Option<(Volume, String)>, Error> {
        let target = &disk.target;
        let mut refuse = |message: String| self.issues.push(Issue::new(Code::DiskNotOwn, message));
        let path = match &disk.source {
            DiskSource::File(path) | DiskSource::Block(path) => path,
            DiskSource::Volume { pool, volume } => {
                refuse(format!(
                    "disk {target}: the domain names the volume {pool}/{volume}; foundry knows a disk by its path"
                ));
                return Ok(None);
            }
            DiskSource::None => {
                refuse(format!("disk {target}: it has no file"));
                return Ok(None);
            }
            DiskSource::Rbd(path) => {
                refuse(format!("disk {target}: {path} is a Ceph image, which is not taken over"));
                return Ok(None);
            }
            DiskSource::Other(kind) => {
                refuse(format!("disk {target}: a disk of type '{kind}' is not in a pool"));
                return Ok(None);
            }
        };
        let Some(volume) = context.host.volume_at(path)? else {
            let issue = Issue::new(Code::DiskNotOwn, format!("disk {target}: {path} is in no started pool"));
            let advice = Advice::from(Verb::PoolAdd { pool: "NAME".into() });
            self.issues.push(issue.hint(advice.text(" adds a pool; its directory is that of the file")));
            return Ok(None);
        };
        let format = disk.format.clone().unwrap_or_else(|| volume.format.clone());
        if !matches!(format.as_str(), "qcow2" | "raw") {
            refuse(format!("disk {target}: its format is {format}; a manifest has qcow2 and raw"));
            return Ok(None);
        }
        Ok(Some((volume, format)))
    }

    /// The path is the domain's, because disks are compared by that.
    fn note_volume(&mut self, disk: &DiskDescription, volume: Volume, format: String, is_boot: bool) {
        let role = if is_boot { VolumeRole::Boot } else { VolumeRole::Data };
        let reference = volume.reference();
        let path = disk.source.path().map_or(volume.path, str::to_owned);
        self.volumes.push(RecordedVolume {
            backing: volume.backing,
            target: Some(disk.target.clone()),
            adopted: true,
            ..RecordedVolume::new(role, reference, path, format, volume.capacity)
        });
    }
}

/// The image below a boot disk, if it is a volume.
fn image_of(context: &Context, volume: &Volume) -> Result<Option<String>, Error> {
    let Some(path) = &volume.backing else { return Ok(None) };
    let image = context.host.volume_at(path)?;
    Ok(image.map(|image| format!("{}:{}", image.pool, image.name)))
}

fn resources(next: &DomainDescription) -> Option<Resources> {
    let room = Resources {
        max_vcpus: (next.max_vcpus != next.vcpus).then(|| Number::Whole(next.max_vcpus.into())),
        max_memory_gib: (next.memory != next.current_memory).then(|| gib_number(next.memory)),
    };
    (room != Resources::default()).then_some(room)
}

/// The word that means the domain's CPU; `None` is the default, and a patch says the rest.
fn cpu_word(next: &DomainDescription, is_native: bool) -> Option<String> {
    let virt_type = virt_type(next);
    let means_it = |mode| next.cpu_mode.as_deref() == Some(cpu_mode(mode, virt_type, is_native));
    let passes_through = !means_it(CpuMode::HostModel) && means_it(CpuMode::HostPassthrough);
    passes_through.then(|| "host-passthrough".to_owned())
}

/// How the domain's guest runs.
pub(super) fn virt_type(next: &DomainDescription) -> VirtType {
    if next.domain_type == "kvm" { VirtType::Kvm } else { VirtType::Qemu }
}

fn firmware(next: &DomainDescription) -> Firmware {
    let has_efi = next.firmware.as_deref() == Some("efi") || next.nvram.is_some();
    let kind = if has_efi { "efi" } else { "bios" };
    Firmware { kind: Some(kind.to_owned()), secure_boot: next.secure_boot.filter(|on| *on) }
}

/// The screen; one that the manifest has no word for becomes a patch.
fn graphics(next: &DomainDescription) -> Option<Graphics> {
    let found = next.graphics.as_ref().filter(|found| found.kind == "vnc" && next.has_video)?;
    let listen = found.listen.clone()?;
    let is_known = VncListen::ALL.into_iter().any(|known| known.as_str() == listen);
    is_known.then_some(Graphics { kind: None, listen: Some(listen) })
}

fn network_interface(interface: &InterfaceDescription) -> NetworkInterface {
    let is_bridge = interface.kind == "bridge";
    let number = |n: u16| Number::Whole(n.into());
    NetworkInterface {
        bridge: interface.source.clone().filter(|_| is_bridge),
        network: interface.source.clone().filter(|_| !is_bridge),
        mac_address: interface.mac.clone(),
        mtu: interface.mtu.map(number),
        vlan: interface.vlan.map(number),
        virtualport: interface.is_open_vswitch.then(|| "openvswitch".to_owned()),
        pxe_boot: interface.boot_order.is_some().then_some(true),
        ..NetworkInterface::default()
    }
}

fn gib_number(size: Bytes) -> Number {
    #[allow(clippy::cast_precision_loss, reason = "sizes in KiB are exact in 53 bits")]
    let gib = size.0 as f64 / GIB as f64;
    let whole = size.0.is_multiple_of(GIB).then(|| i64::try_from(size.0 / GIB).ok()).flatten();
    whole.map_or(Number::Real(gib), Number::Whole)
}
