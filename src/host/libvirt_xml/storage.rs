//! `<pool>` and `<volume>`.

use roxmltree::Node;

use super::{
    attribute_value, child_element, child_elements, find_element, parse_xml, read_size, text_at,
    unreadable_xml,
};
use foundry_core::pool::{PoolAuth, Secret, Server};

use crate::{Pool, PoolSource, Result, Volume};
use foundry_core::units::Bytes;

/// Reads a pool's XML, which does not say whether it is active or starts automatically.
///
/// # Errors
/// If the text is not libvirt's `<pool>`.
pub fn read_pool(xml: &str, active: bool, autostart: bool) -> Result<Pool> {
    let parts = PoolParts::read(xml)?;
    // The XML of an inactive pool has the sizes of its last refresh.
    let measured = |bytes| Bytes(if active { bytes } else { 0 });
    Ok(Pool {
        name: parts.name,
        kind: parts.kind,
        active,
        autostart,
        target: parts.target,
        source: parts.source,
        capacity: measured(parts.capacity),
        allocation: measured(parts.allocation),
        available: measured(parts.available),
    })
}

/// Reads a volume's XML.
///
/// # Errors
/// If the text is not libvirt's `<volume>`, or has no path or capacity.
pub fn read_volume(pool: &str, xml: &str) -> Result<Volume> {
    let parts = VolumeParts::read(xml)?;
    let what = parts.what();
    let capacity = parts.capacity.ok_or_else(|| unreadable_xml(&what, "<capacity> is missing"))?;
    Ok(Volume {
        pool: pool.to_owned(),
        path: parts.path.ok_or_else(|| unreadable_xml(&what, "<target><path> is missing"))?,
        // A volume on a block device may have no format; then it is raw.
        format: parts.format.unwrap_or_else(|| "raw".into()),
        capacity: Bytes(capacity),
        allocation: Bytes(parts.allocation.unwrap_or(capacity)),
        backing: parts.backing,
        mode: parts.mode,
        name: parts.name,
    })
}

/// Reads the name in a volume's XML, of an existing volume or of one to create.
///
/// # Errors
/// If the text is not a `<volume>` or has no name.
pub fn volume_name(xml: &str) -> Result<String> {
    VolumeParts::read(xml).map(|v| v.name)
}

/// The content of a `<pool>`.
pub(crate) struct PoolParts {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) target: Option<String>,
    pub(crate) source: PoolSource,
    pub(crate) capacity: u64,
    pub(crate) allocation: u64,
    pub(crate) available: u64,
}

impl PoolParts {
    pub(crate) fn read(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "pool", "the description of a pool")?;
        let root = document.root_element();
        let name = named(root, "the description of a pool")?;
        let what = format!("the description of pool '{name}'");
        let bytes = |tag| child_element(root, tag).map_or(Ok(0), |n| read_size(n, "bytes", &what));
        Ok(Self {
            kind: attribute_value(root, "type")
                .ok_or_else(|| unreadable_xml(&what, "its type is missing"))?,
            target: text_at(root, &["target", "path"]),
            source: child_element(root, "source").map(read_source).unwrap_or_default(),
            capacity: bytes("capacity")?,
            allocation: bytes("allocation")?,
            available: bytes("available")?,
            name,
        })
    }
}

fn read_source(node: Node<'_, '_>) -> PoolSource {
    PoolSource {
        servers: child_elements(node, "host").filter_map(read_server).collect(),
        devices: child_elements(node, "device").filter_map(|d| attribute_value(d, "path")).collect(),
        directory: child_element(node, "dir").and_then(|d| attribute_value(d, "path")),
        name: text_at(node, &["name"]),
        format: child_element(node, "format").and_then(|f| attribute_value(f, "type")),
        auth: child_element(node, "auth").and_then(read_auth),
    }
}

fn read_server(node: Node<'_, '_>) -> Option<Server> {
    let port = node.attribute("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    Some(Server { host: attribute_value(node, "name")?, port })
}

fn read_auth(node: Node<'_, '_>) -> Option<PoolAuth> {
    let secret = child_element(node, "secret")?;
    let uuid = secret.attribute("uuid").and_then(|uuid| uuid.parse().ok()).map(Secret::Uuid);
    let secret = uuid.or_else(|| attribute_value(secret, "usage").map(Secret::Usage))?;
    Some(PoolAuth { user: attribute_value(node, "username")?, secret })
}

/// The content of a `<volume>`, existing or to be created.
pub(crate) struct VolumeParts {
    pub(crate) name: String,
    pub(crate) path: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) capacity: Option<u64>,
    pub(crate) allocation: Option<u64>,
    pub(crate) backing: Option<String>,
    #[cfg(feature = "testing")]
    pub(crate) backing_format: Option<String>,
    pub(crate) mode: Option<u32>,
}

impl VolumeParts {
    pub(crate) fn read(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "volume", "the description of a volume")?;
        let root = document.root_element();
        let name = named(root, "the description of a volume")?;
        let what = format!("the description of volume '{name}'");
        let bytes = |tag| child_element(root, tag).map(|n| read_size(n, "bytes", &what)).transpose();
        Ok(Self {
            path: text_at(root, &["target", "path"]),
            format: find_element(root, &["target", "format"]).and_then(|f| attribute_value(f, "type")),
            capacity: bytes("capacity")?,
            allocation: bytes("allocation")?,
            backing: text_at(root, &["backingStore", "path"]).filter(|p| !p.is_empty()),
            #[cfg(feature = "testing")]
            backing_format: find_element(root, &["backingStore", "format"])
                .and_then(|f| attribute_value(f, "type")),
            mode: find_element(root, &["target", "permissions", "mode"])
                .map(|m| read_mode(m, &what))
                .transpose()?,
            name,
        })
    }

    fn what(&self) -> String {
        format!("the description of volume '{}'", self.name)
    }
}

fn named(root: Node<'_, '_>, what: &str) -> Result<String> {
    text_at(root, &["name"])
        .filter(|n| !n.is_empty())
        .ok_or_else(|| unreadable_xml(what, "<name> is missing"))
}

/// Permission bits, in octal as libvirt writes them.
fn read_mode(node: Node<'_, '_>, what: &str) -> Result<u32> {
    let text = node.text().unwrap_or_default();
    u32::from_str_radix(text.trim(), 8)
        .ok()
        .filter(|bits| *bits <= 0o7777)
        .ok_or_else(|| unreadable_xml(what, format!("<mode> is '{text}', which is not octal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An active directory pool of libvirt 11.3.
    const POOL: &str = "<pool type='dir'>
  <name>foundry-vms</name>
  <uuid>d0279614-c904-44cb-a9fb-6e3532aa291c</uuid>
  <capacity unit='bytes'>270553174016</capacity>
  <allocation unit='bytes'>14842183680</allocation>
  <available unit='bytes'>255710990336</available>
  <source>
  </source>
  <target>
    <path>/var/lib/libvirt/images/foundry-vms</path>
    <permissions>
      <mode>0711</mode>
      <owner>0</owner>
      <group>0</group>
    </permissions>
  </target>
</pool>";

    /// A two-level overlay of libvirt 11.3.
    const OVERLAY: &str = "<volume type='file'>
  <name>web_boot</name>
  <key>/pool/web_boot</key>
  <capacity unit='bytes'>536870912</capacity>
  <allocation unit='bytes'>200704</allocation>
  <physical unit='bytes'>196616</physical>
  <target>
    <path>/pool/web_boot</path>
    <format type='qcow2'/>
    <permissions>
      <mode>0600</mode>
      <owner>64055</owner>
      <group>64055</group>
    </permissions>
    <compat>1.1</compat>
    <clusterSize unit='B'>65536</clusterSize>
  </target>
  <backingStore>
    <path>/pool/base &amp; more.img</path>
    <format type='qcow2'/>
    <permissions>
      <mode>0644</mode>
    </permissions>
  </backingStore>
</volume>";

    #[test]
    fn a_pool_is_read() {
        let read = read_pool(POOL, true, false).unwrap();
        assert_eq!(
            read,
            Pool {
                name: "foundry-vms".into(),
                kind: "dir".into(),
                active: true,
                autostart: false,
                target: Some("/var/lib/libvirt/images/foundry-vms".into()),
                source: PoolSource::default(),
                capacity: Bytes(270_553_174_016),
                allocation: Bytes(14_842_183_680),
                available: Bytes(255_710_990_336),
            }
        );
    }

    #[test]
    fn an_inactive_pool_has_no_sizes() {
        let read = read_pool(POOL, false, true).unwrap();
        assert_eq!((read.capacity, read.allocation, read.available), (Bytes(0), Bytes(0), Bytes(0)));
        assert!(read.autostart && !read.active);
    }

    #[test]
    fn an_overlay_is_read_with_its_own_format_mode_and_backing() {
        let read = read_volume("vms", OVERLAY).unwrap();
        assert_eq!(
            read,
            Volume {
                pool: "vms".into(),
                name: "web_boot".into(),
                path: "/pool/web_boot".into(),
                format: "qcow2".into(),
                capacity: Bytes(536_870_912),
                allocation: Bytes(200_704),
                backing: Some("/pool/base & more.img".into()),
                mode: Some(0o600),
            }
        );
    }

    #[test]
    fn a_volume_of_the_test_driver_has_no_mode() {
        let xml = "<volume type='file'><name>x</name><key>/d/x</key><capacity unit='bytes'>5</capacity>
            <allocation unit='bytes'>5</allocation><target><path>/d/x</path><format type='raw'/></target></volume>";
        let read = read_volume("d", xml).unwrap();
        assert_eq!((read.mode, read.backing, read.format.as_str()), (None, None, "raw"));
    }

    #[test]
    fn units_other_than_bytes_count() {
        let xml = "<volume><name>x</name><capacity unit='MiB'>3</capacity><target><path>/x</path></target></volume>";
        assert_eq!(read_volume("d", xml).unwrap().capacity, Bytes(3 << 20));
    }

    #[test]
    fn what_is_missing_or_no_number_is_named() {
        let cause = |xml: &str| read_volume("d", xml).unwrap_err().cause().unwrap();
        assert_eq!(cause("<volume><name>x</name></volume>"), "<capacity> is missing");
        assert_eq!(cause("<volume><capacity>1</capacity></volume>"), "<name> is missing");
        assert_eq!(
            cause("<volume><name>x</name><capacity>-1</capacity></volume>"),
            "<capacity> is '-1' bytes, which is no size"
        );
        let overflow = format!("<volume><name>x</name><capacity unit='E'>{}</capacity></volume>", u64::MAX);
        assert!(cause(&overflow).contains("which is no size"));
        let mode = OVERLAY.replace("<mode>0600", "<mode>0689");
        assert_eq!(cause(&mode), "<mode> is '0689', which is not octal");
    }

    #[test]
    fn a_wish_has_a_name() {
        assert_eq!(volume_name("<volume><name>a b</name></volume>").unwrap(), "a b");
        volume_name("<volume><name></name></volume>").unwrap_err();
    }
}
