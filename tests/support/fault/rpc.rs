//! libvirt's RPC framing, as far as a proxy must understand it (libvirt's page "The libvirt RPC infrastructure";
//! virnetprotocol.x and remote_protocol.x in its sources).
//!
//! A packet is its length in 4 octets, a header of six 4-octet numbers, and a payload in XDR (RFC 4506).

use std::io::{self, Read, Write};

/// The program of all hypervisors' calls.
const REMOTE_PROGRAM: u32 = 0x2000_8086;
/// The program of what only QEMU has, of which foundry makes one call. Keepalive has another one, and no answers.
const QEMU_PROGRAM: u32 = 0x2000_8087;
/// No packet is longer (`VIR_NET_MESSAGE_MAX`).
const LONGEST: u32 = 32 << 20;
const HEADER: usize = 24;

/// What a packet is (`virNetMessageType`).
const CALL: u32 = 0;
const REPLY: u32 = 1;
const STREAM: u32 = 3;
const CALL_WITH_FDS: u32 = 4;
const REPLY_WITH_FDS: u32 = 5;

/// How it went (`virNetMessageStatus`); in a stream, OK is its end and ERROR its being given up.
const OK: u32 = 0;
const ERROR: u32 = 1;
const CONTINUE: u32 = 2;

/// One packet, its length included.
#[derive(Clone)]
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    /// The next packet; `None` where the other side has closed.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let total = u32::from_be_bytes(length);
        if total > LONGEST || (total as usize) < 4 + HEADER {
            return Err(io::Error::other(format!("a packet of {total} octets")));
        }
        let mut bytes = length.to_vec();
        bytes.resize(total as usize, 0);
        from.read_exact(&mut bytes[4..])?;
        Ok(Some(Self(bytes)))
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.0)
    }

    fn number(&self, index: usize) -> u32 {
        let at = 4 + 4 * index;
        u32::from_be_bytes(std::array::from_fn(|i| self.0[at + i]))
    }

    fn set(&mut self, index: usize, value: u32) {
        self.0[4 + 4 * index..8 + 4 * index].copy_from_slice(&value.to_be_bytes());
    }

    fn procedure(&self) -> u32 {
        self.number(2)
    }

    fn kind(&self) -> u32 {
        self.number(3)
    }

    fn status(&self) -> u32 {
        self.number(5)
    }

    /// What an answer repeats. All packets of a stream have that of the call that began it.
    pub(crate) fn serial(&self) -> u32 {
        self.number(4)
    }

    /// Whether descriptors come with it. foundry makes no such call.
    pub(crate) fn has_descriptors(&self) -> bool {
        matches!(self.kind(), CALL_WITH_FDS | REPLY_WITH_FDS)
    }

    /// What is waited for: a procedure of the hypervisor's, or that the daemon has all of a stream.
    pub(crate) fn asks(&self) -> Option<String> {
        match self.number(0) {
            REMOTE_PROGRAM => {}
            QEMU_PROGRAM => return Some("virDomainQemuAgentCommand".to_owned()),
            _ => return None,
        }
        match (self.kind(), self.status()) {
            (CALL, _) => Some(procedure(self.procedure())),
            (STREAM, OK) => Some(format!("{}, end of its stream", procedure(self.procedure()))),
            _ => None,
        }
    }

    /// Whether this is the answer to that packet.
    pub(crate) fn answers(&self, asked: &Self) -> bool {
        let is_answer = if asked.kind() == STREAM {
            self.kind() == STREAM && self.status() != CONTINUE
        } else {
            self.kind() == REPLY
        };
        is_answer && self.serial() == asked.serial()
    }

    /// The end of a stream made its being given up.
    pub(crate) fn give_up(&self) -> Option<Self> {
        let mut given_up = self.clone();
        given_up.set(5, ERROR);
        (self.kind() == STREAM).then_some(given_up)
    }

    /// The answer to this packet that refuses it (`virNetMessageError`): an operation that failed, in the QEMU driver.
    pub(crate) fn refusal(&self, words: &str) -> Self {
        const OPERATION_FAILED: u32 = 9;
        const FROM_QEMU: u32 = 10;
        const LEVEL_ERROR: u32 = 2;
        let mut payload = Vec::new();
        let mut put = |numbers: &[u32]| numbers.iter().for_each(|n| payload.extend(n.to_be_bytes()));
        let length = u32::try_from(words.len()).expect("a short text");
        put(&[OPERATION_FAILED, FROM_QEMU, 1, length]);
        payload.extend(words.bytes());
        payload.resize(payload.len().next_multiple_of(4), 0);
        let mut put = |numbers: &[u32]| numbers.iter().for_each(|n| payload.extend(n.to_be_bytes()));
        // No domain, no further texts, no numbers, no network.
        put(&[LEVEL_ERROR, 0, 0, 0, 0, 0, 0, 0]);
        let mut answer = Self(self.0[..4 + HEADER].to_vec());
        answer.0.extend(payload);
        let total = u32::try_from(answer.0.len()).expect("a short packet");
        answer.0[..4].copy_from_slice(&total.to_be_bytes());
        answer.set(3, if self.kind() == STREAM { STREAM } else { REPLY });
        answer.set(5, ERROR);
        answer
    }
}

/// Its name as libvirt's functions are called (`enum remote_procedure`): those that foundry uses.
fn procedure(number: u32) -> String {
    let name = match number {
        1 => "virConnectOpen",
        2 => "virConnectClose",
        7 => "virConnectGetCapabilities",
        9 => "virDomainCreate",
        12 => "virDomainDestroy",
        14 => "virDomainGetXMLDesc",
        15 => "virDomainGetAutostart",
        16 => "virDomainGetInfo",
        23 => "virDomainLookupByName",
        24 => "virDomainLookupByUUID",
        29 => "virDomainSetAutostart",
        258 => "virDomainShutdownFlags",
        59 => "virConnectGetHostname",
        60 => "virConnectSupportsFeature",
        66 => "authentication",
        77 => "virStoragePoolDefineXML",
        78 => "virStoragePoolCreate",
        79 => "virStoragePoolBuild",
        80 => "virStoragePoolDestroy",
        82 => "virStoragePoolUndefine",
        83 => "virStoragePoolRefresh",
        84 => "virStoragePoolLookupByName",
        86 => "virStoragePoolLookupByVolume",
        88 => "virStoragePoolGetXMLDesc",
        89 => "virStoragePoolGetAutostart",
        90 => "virStoragePoolSetAutostart",
        93 => "virStorageVolCreateXML",
        94 => "virStorageVolDelete",
        95 => "virStorageVolLookupByName",
        97 => "virStorageVolLookupByPath",
        99 => "virStorageVolGetXMLDesc",
        100 => "virStorageVolGetPath",
        150 => "virDomainIsActive",
        151 => "virDomainIsPersistent",
        154 => "virStoragePoolIsActive",
        157 => "virConnectGetLibVersion",
        160 => "virDomainAttachDeviceFlags",
        161 => "virDomainDetachDeviceFlags",
        185 => "virDomainSnapshotCreateXML",
        186 => "virDomainSnapshotGetXMLDesc",
        189 => "virDomainSnapshotLookupByName",
        193 => "virDomainSnapshotDelete",
        196 => "virDomainCreateWithFlags",
        208 => "virStorageVolUpload",
        209 => "virStorageVolDownload",
        212 => "virDomainGetState",
        231 => "virDomainUndefineFlags",
        238 => "virDomainGetBlockJobInfo",
        251 => "virDomainBlockResize",
        260 => "virStorageVolResize",
        264 => "virDomainSetMetadata",
        265 => "virDomainGetMetadata",
        273 => "virConnectListAllDomains",
        274 => "virDomainListAllSnapshots",
        281 => "virConnectListAllStoragePools",
        282 => "virStoragePoolListAllVolumes",
        358 => "virDomainRename",
        344 => "virConnectGetAllDomainStats",
        350 => "virDomainDefineXMLFlags",
        other => return format!("procedure {other}"),
    };
    name.to_owned()
}
