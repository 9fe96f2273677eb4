//! Domains as libvirt 11.3 describes them, shortened where it does not matter.

use super::*;

/// A running domain: a two-level overlay, a volume, an empty CD-ROM, a bridge and a network.
const RUNNING: &str = r#"<domain type='qemu' id='6'>
  <name>web</name>
  <uuid>3e55c231-40c6-4482-9b11-0acbed5005f5</uuid>
  <metadata>
    <other:thing xmlns:other="http://example.org/x">not <other:b>ours</other:b></other:thing>
    <foundry:vm xmlns:foundry="http://foundry.cofront.xyz/v1alpha1">a &amp; &lt;b&gt; "q" 'x'
ünï</foundry:vm>
  </metadata>
  <memory unit='KiB'>65536</memory>
  <currentMemory unit='KiB'>65536</currentMemory>
  <vcpu placement='static' current='1'>2</vcpu>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
    <firmware>
      <feature enabled='no' name='secure-boot'/>
    </firmware>
    <loader readonly='yes' type='pflash' format='raw'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd' format='raw'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
    <boot dev='hd'/>
  </os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/pool/web_boot.snap' index='3'/>
      <backingStore type='file' index='4'>
        <format type='qcow2'/>
        <source file='/pool/web_boot'/>
        <backingStore type='file' index='5'>
          <format type='qcow2'/>
          <source file='/pool/base.img'/>
          <backingStore/>
        </backingStore>
      </backingStore>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source pool='foundry-vms' volume='web_data-vdb' index='2'/>
      <backingStore/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='block' device='lun'>
      <source dev='/dev/sdz'/>
      <target dev='sdb' bus='scsi'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='rbd' name='pool/image'/>
      <target dev='vdc' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu'/>
      <target dev='sda' bus='scsi'/>
      <readonly/>
    </disk>
    <interface type='bridge'>
      <mac address='BE:EF:0a:37:16:16'/>
      <source bridge='br0'/>
      <target dev='vm0a371616'/>
      <model type='virtio'/>
    </interface>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/>
      <source network='default' portid='7c9e' bridge='virbr0'/>
      <target dev='vnet1'/>
    </interface>
    <interface type='user'/>
    <serial type='pty'>
      <log file='/var/log/libvirt/qemu/web-console.log' append='on'/>
      <target type='isa-serial' port='0'/>
    </serial>
    <console type='pty'>
      <log file='/var/log/libvirt/qemu/web-console.log' append='on'/>
      <target type='serial' port='0'/>
    </console>
  </devices>
</domain>"#;

fn read(xml: &str) -> DomainDescription {
    DomainDescription::read(xml).unwrap()
}

#[test]
fn a_running_domain_is_read() {
    let web = read(RUNNING);
    assert_eq!(web.uuid.unwrap().to_string(), "3e55c231-40c6-4482-9b11-0acbed5005f5");
    assert_eq!((web.name.as_str(), web.domain_type.as_str()), ("web", "qemu"));
    assert_eq!((web.memory, web.vcpus), (Bytes(64 << 20), 1));
    assert_eq!((web.arch.as_deref(), web.firmware.as_deref()), (Some("x86_64"), Some("efi")));
    assert_eq!(web.nvram.as_deref(), Some("/var/lib/libvirt/qemu/nvram/web_VARS.fd"));
    assert_eq!(web.console_log.as_deref(), Some("/var/log/libvirt/qemu/web-console.log"));
    assert_eq!(web.record.as_deref(), Some("a & <b> \"q\" 'x'\nünï"));
}

#[test]
fn disks_have_their_source_and_chain() {
    let web = read(RUNNING);
    let boot = web.disk("vda").unwrap();
    assert_eq!(boot.source, DiskSource::File("/pool/web_boot.snap".into()));
    assert_eq!(boot.backing_chain, ["/pool/web_boot", "/pool/base.img"]);
    assert_eq!((boot.format.as_deref(), boot.readonly), (Some("qcow2"), false));
    let files: Vec<_> = boot.files().collect();
    assert_eq!(files, ["/pool/web_boot.snap", "/pool/web_boot", "/pool/base.img"].map(Path::new));

    let data = web.disk("vdb").unwrap();
    let volume = DiskSource::Volume { pool: "foundry-vms".into(), volume: "web_data-vdb".into() };
    assert_eq!((&data.source, data.backing_chain.len()), (&volume, 0));
    assert_eq!(web.disk("sdb").unwrap().device, DiskDevice::Other("lun".into()));
    assert_eq!(web.disk("sdb").unwrap().source, DiskSource::Block("/dev/sdz".into()));
    assert_eq!(web.disk("vdc").unwrap().source, DiskSource::Rbd("pool/image".into()));

    let drive = web.disk("sda").unwrap();
    assert_eq!((&drive.device, &drive.source, drive.readonly), (&DiskDevice::Cdrom, &DiskSource::None, true));
    assert_eq!(web.disks.len(), 5);
}

#[test]
fn interfaces_have_mac_tap_and_where_they_are_connected() {
    let web = read(RUNNING);
    let read = |i: usize| {
        let one = &web.interfaces[i];
        let text = |o: &Option<String>| o.clone().unwrap_or_default();
        [one.kind.clone(), text(&one.mac), text(&one.target), text(&one.source)]
    };
    assert_eq!(read(0), ["bridge", "be:ef:0a:37:16:16", "vm0a371616", "br0"]);
    assert_eq!(read(1), ["network", "52:54:00:00:00:01", "vnet1", "default"]);
    assert_eq!(read(2), ["user", "", "", ""]);
}

#[test]
fn a_domain_without_devices_and_record_is_read() {
    let xml = "<domain type='test'><name>t</name><memory>2097152</memory><os><type>hvm</type></os></domain>";
    let t = read(xml);
    assert_eq!((t.memory, t.vcpus, t.uuid, t.record), (Bytes(2 << 30), 1, None, None));
    assert!(t.disks.is_empty() && t.interfaces.is_empty());
}

#[test]
fn somebody_elses_element_of_the_same_name_is_not_read() {
    let xml = "<domain xmlns:x='http://example.org/x'><name>t</name>
        <metadata><x:vm>no</x:vm></metadata><x:devices><disk/></x:devices></domain>";
    let t = read(xml);
    assert_eq!((t.record, t.disks.len()), (None, 0));
}

#[test]
fn the_first_foundrys_record_is_read_whatever_its_prefix() {
    let xml = "<domain><name>t</name><metadata>
        <m:metadata xmlns:m='http://foundry.cofront.xyz/v1alpha1'>kind: VirtualMachine\nb: 1 &gt; 0\n</m:metadata>
        </metadata></domain>";
    assert_eq!(read(xml).record.as_deref(), Some("kind: VirtualMachine\nb: 1 > 0\n"));
}

#[test]
fn a_record_outside_of_metadata_is_none() {
    let xml = "<domain xmlns:f='http://foundry.cofront.xyz/v1alpha1'><name>t</name><f:vm>x</f:vm></domain>";
    assert_eq!(read(xml).record, None);
}

#[test]
fn what_makes_no_sense_is_named() {
    let cause = |xml: &str| DomainDescription::read(xml).unwrap_err().cause().unwrap();
    assert_eq!(cause("<domain/>"), "<name> is missing");
    assert_eq!(cause("<domain><name>t</name><uuid>x</uuid></domain>"), "<uuid> is no UUID");
    assert_eq!(
        cause("<domain><name>t</name><vcpu>two</vcpu></domain>"),
        "<vcpu> is 'two', which is no number"
    );
    assert!(cause("<domain><name>t</name><memory unit='furlong'>2</memory></domain>").contains("furlong"));
}

#[test]
fn metadata_comes_alone_and_without_its_prefix() {
    assert_eq!(metadata_text("<vm>a &amp; &lt;b&gt;\nünï</vm>").unwrap(), "a & <b>\nünï");
    assert_eq!(metadata_text("<metadata><![CDATA[<x>]]></metadata>").unwrap(), "<x>");
    assert_eq!(metadata_text("<f:vm xmlns:f='http://foundry.cofront.xyz/v1alpha1'>t</f:vm>").unwrap(), "t");
    assert_eq!(metadata_text("<vm/>").unwrap(), "");
    for broken in ["", "text", "<vm>", "<vm>&x;</vm>", "é"] {
        metadata_text(broken).unwrap_err();
    }
}

/// A copy that is under way, a qcow2 image with a data file, and an element of another century.
#[test]
fn what_unknown_elements_name_is_needed_too() {
    let read = read(
        "<domain type='kvm'><name>/no/path</name><description>/srv/prose</description>
        <metadata><x:y xmlns:x='urn:x' file='/srv/metadata'/></metadata>
        <os><kernel>/srv/vmlinuz</kernel><nvram type='file'><source file='/srv/vars.fd'/></nvram></os>
        <devices>
          <disk type='file'><source file='/srv/web.qcow2'><dataStore type='file'>
            <source file='/srv/web.raw'/></dataStore></source>
            <mirror type='volume' job='copy'><source pool='p' volume='copy'/></mirror>
            <target dev='vda'/></disk>
          <crystal model='quartz'><growsIn vessel=' relative' at='/srv/crystal'/></crystal>
        </devices></domain>",
    );
    let paths = ["/srv/crystal", "/srv/vars.fd", "/srv/vmlinuz", "/srv/web.qcow2", "/srv/web.raw"];
    assert!(read.mentions.paths.iter().eq(paths), "{:?}", read.mentions);
    assert!(
        read.mentions.volumes.iter().eq([&foundry_core::record::VolumeRef::new("p", "copy")]),
        "{:?}",
        read.mentions
    );
}

/// Every type of disk that libvirt 11.3 documents, and one that it does not.
#[test]
fn a_disk_of_any_type_is_listed() {
    let types = ["file", "block", "dir", "network", "volume", "nvme", "vhostuser", "vhostvdpa", "hologram"];
    let disks: String = types
        .iter()
        .map(|kind| format!("<disk type='{kind}' device='lens'><source what='x'/><target dev='{kind}' bus='light'/></disk>"))
        .collect();
    let read = read(&format!("<domain><name>n</name><devices>{disks}</devices></domain>"));
    assert!(read.disks.iter().map(|d| d.target.as_str()).eq(types));
    assert_eq!(read.disk("nvme").unwrap().source, DiskSource::Other("nvme".into()));
    assert_eq!(read.disk("hologram").unwrap().source, DiskSource::Other("hologram".into()));
    assert_eq!(read.disk("file").unwrap().source, DiskSource::None, "without a file there is none");
    assert_eq!(read.disk("file").unwrap().device, DiskDevice::Other("lens".into()));
}
