//! The elements of a domain's XML that foundry writes.
//!
//! They are only written. Reading a domain into them and writing it back would lose all elements that they do not
//! contain.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename = "domain")]
pub(super) struct DomainElement<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uuid: Option<String>,
    pub(super) genid: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<MetadataElement<'a>>,
    pub(super) memory: Memory,
    #[serde(rename = "currentMemory", skip_serializing_if = "Option::is_none")]
    pub(super) current_memory: Option<Memory>,
    pub(super) vcpu: Vcpu,
    pub(super) os: Os,
    pub(super) features: Features,
    pub(super) cpu: Cpu,
    pub(super) devices: Devices<'a>,
}

/// An element without content.
#[derive(Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
pub(super) struct MetadataElement<'a> {
    #[serde(rename = "foundry:vm")]
    pub(super) record: RecordElement<'a>,
}

#[derive(Serialize)]
pub(super) struct RecordElement<'a> {
    #[serde(rename = "@xmlns:foundry")]
    pub(super) namespace: &'static str,
    #[serde(rename = "$text")]
    pub(super) text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Memory {
    #[serde(rename = "@unit")]
    pub(super) unit: &'static str,
    #[serde(rename = "$text")]
    pub(super) value: u64,
}

#[derive(Serialize)]
pub(super) struct Vcpu {
    #[serde(rename = "@placement")]
    pub(super) placement: &'static str,
    #[serde(rename = "@current", skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<u32>,
    #[serde(rename = "$text")]
    pub(super) count: u32,
}

#[derive(Serialize)]
pub(super) struct Os {
    #[serde(rename = "@firmware", skip_serializing_if = "Option::is_none")]
    pub(super) firmware: Option<&'static str>,
    #[serde(rename = "type")]
    pub(super) kind: OsType,
    #[serde(rename = "firmware", skip_serializing_if = "Option::is_none")]
    pub(super) features: Option<FirmwareFeatures>,
}

#[derive(Serialize)]
pub(super) struct OsType {
    #[serde(rename = "@arch")]
    pub(super) arch: &'static str,
    #[serde(rename = "@machine")]
    pub(super) machine: &'static str,
    #[serde(rename = "$text")]
    pub(super) text: &'static str,
}

#[derive(Serialize)]
pub(super) struct FirmwareFeatures {
    pub(super) feature: Vec<FirmwareFeature>,
}

#[derive(Serialize)]
pub(super) struct FirmwareFeature {
    #[serde(rename = "@enabled")]
    pub(super) enabled: &'static str,
    #[serde(rename = "@name")]
    pub(super) name: &'static str,
}

#[derive(Serialize)]
pub(super) struct Features {
    pub(super) acpi: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apic: Option<Empty>,
}

#[derive(Serialize)]
pub(super) struct Cpu {
    #[serde(rename = "@mode")]
    pub(super) mode: &'static str,
}

#[derive(Serialize)]
pub(super) struct Devices<'a> {
    #[serde(rename = "$value")]
    pub(super) list: Vec<Device<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Device<'a> {
    Disk(Box<DiskElement<'a>>),
    Controller(Controller),
    Interface(InterfaceXml<'a>),
    Serial(Serial<'a>),
    Console(ConsoleElement),
    Channel(Channel),
    Rng(Rng),
    Graphics(GraphicsElement),
    Video(VideoElement),
}

#[derive(Serialize)]
pub(super) struct GraphicsElement {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@autoport", skip_serializing_if = "Option::is_none")]
    pub(super) autoport: Option<&'static str>,
    pub(super) listen: ListenElement,
}

#[derive(Serialize)]
pub(super) struct ListenElement {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@address", skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct VideoElement {
    pub(super) model: Model,
}

#[derive(Serialize)]
pub(super) struct DiskElement<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@device")]
    pub(super) device: &'static str,
    pub(super) driver: Driver<'a>,
    pub(super) source: SourceElement<'a>,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub(super) below: Option<BackingStore<'a>>,
    pub(super) target: DiskTargetElement<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) readonly: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<Boot>,
}

/// The backing file of a disk; an empty element ends the chain.
#[derive(Serialize, Default)]
pub(super) struct BackingStore<'a> {
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<BackingFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<SourceElement<'a>>,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    pub(super) below: Option<Box<BackingStore<'a>>>,
}

#[derive(Serialize)]
pub(super) struct BackingFormat<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'a str,
}

#[derive(Serialize)]
pub(super) struct Driver<'a> {
    #[serde(rename = "@name")]
    pub(super) name: &'static str,
    #[serde(rename = "@type")]
    pub(super) kind: &'a str,
    #[serde(rename = "@cache", skip_serializing_if = "Option::is_none")]
    pub(super) cache: Option<&'static str>,
    #[serde(rename = "@io", skip_serializing_if = "Option::is_none")]
    pub(super) io: Option<&'static str>,
    #[serde(rename = "@discard", skip_serializing_if = "Option::is_none")]
    pub(super) discard: Option<&'static str>,
}

#[derive(Serialize, Default)]
pub(super) struct SourceElement<'a> {
    #[serde(rename = "@pool", skip_serializing_if = "Option::is_none")]
    pub(super) pool: Option<&'a str>,
    #[serde(rename = "@volume", skip_serializing_if = "Option::is_none")]
    pub(super) volume: Option<&'a str>,
    #[serde(rename = "@file", skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<&'a str>,
    #[serde(rename = "@dev", skip_serializing_if = "Option::is_none")]
    pub(super) dev: Option<&'a str>,
    #[serde(rename = "@protocol", skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<&'static str>,
    #[serde(rename = "@name", skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(rename = "host")]
    pub(super) hosts: Vec<SourceHost<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<Box<SourceAuth<'a>>>,
}

#[derive(Serialize)]
pub(super) struct SourceHost<'a> {
    #[serde(rename = "@name")]
    pub(super) name: &'a str,
    #[serde(rename = "@port", skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct SourceAuth<'a> {
    #[serde(rename = "@username")]
    pub(super) user: &'a str,
    pub(super) secret: SourceSecret<'a>,
}

#[derive(Serialize)]
pub(super) struct SourceSecret<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@uuid", skip_serializing_if = "Option::is_none")]
    pub(super) uuid: Option<String>,
    #[serde(rename = "@usage", skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct DiskTargetElement<'a> {
    #[serde(rename = "@dev")]
    pub(super) dev: &'a str,
    #[serde(rename = "@bus")]
    pub(super) bus: &'static str,
}

#[derive(Serialize)]
pub(super) struct Boot {
    #[serde(rename = "@order")]
    pub(super) order: u32,
}

#[derive(Clone, Serialize)]
pub(super) struct Controller {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@index", skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    #[serde(rename = "@model")]
    pub(super) model: &'static str,
}

#[derive(Serialize)]
pub(super) struct InterfaceXml<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    pub(super) mac: Mac,
    pub(super) source: InterfaceSource<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vlan: Option<Vlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) virtualport: Option<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<TargetDev<'a>>,
    pub(super) model: Model,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<Mtu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<Boot>,
}

#[derive(Serialize)]
pub(super) struct Mac {
    #[serde(rename = "@address")]
    pub(super) address: String,
}

#[derive(Serialize)]
pub(super) struct InterfaceSource<'a> {
    #[serde(rename = "@bridge", skip_serializing_if = "Option::is_none")]
    pub(super) bridge: Option<&'a str>,
    #[serde(rename = "@network", skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Vlan {
    pub(super) tag: Tag,
}

#[derive(Serialize)]
pub(super) struct Tag {
    #[serde(rename = "@id")]
    pub(super) id: u16,
}

#[derive(Serialize)]
pub(super) struct TargetDev<'a> {
    #[serde(rename = "@dev")]
    pub(super) dev: &'a str,
}

#[derive(Serialize)]
pub(super) struct Mtu {
    #[serde(rename = "@size")]
    pub(super) size: u16,
}

#[derive(Serialize)]
pub(super) struct Model {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct Serial<'a> {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Log<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<SerialTarget>,
}

#[derive(Serialize)]
pub(super) struct Log<'a> {
    #[serde(rename = "@file")]
    pub(super) file: &'a str,
    #[serde(rename = "@append")]
    pub(super) append: &'static str,
}

#[derive(Serialize)]
pub(super) struct SerialTarget {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@port")]
    pub(super) port: u32,
}

#[derive(Serialize)]
pub(super) struct ConsoleElement {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    pub(super) target: SerialTarget,
}

#[derive(Serialize)]
pub(super) struct Channel {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    pub(super) target: ChannelTarget,
}

#[derive(Serialize)]
pub(super) struct ChannelTarget {
    #[serde(rename = "@type")]
    pub(super) kind: &'static str,
    #[serde(rename = "@name")]
    pub(super) name: &'static str,
}

#[derive(Serialize)]
pub(super) struct Rng {
    #[serde(rename = "@model")]
    pub(super) model: &'static str,
    pub(super) backend: RngBackend,
}

#[derive(Serialize)]
pub(super) struct RngBackend {
    #[serde(rename = "@model")]
    pub(super) model: &'static str,
    #[serde(rename = "$text")]
    pub(super) path: &'static str,
}
