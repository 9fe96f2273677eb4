//! The XML of a `<pool>` ("Storage pool and volume XML format").

use serde::Serialize;

use super::{PoolAuth, PoolSourceSpec, Secret, Server};

/// The directory with stable names of iSCSI units.
const ISCSI_UNITS: &str = "/dev/disk/by-path";

#[derive(Serialize)]
#[serde(rename = "pool")]
struct PoolXml<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetXml>,
}

#[derive(Serialize, Default)]
struct SourceXml<'a> {
    #[serde(rename = "host")]
    hosts: Vec<HostXml<'a>>,
    #[serde(rename = "dir", skip_serializing_if = "Option::is_none")]
    directory: Option<PathXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<PathXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<InitiatorXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<AuthXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<FormatXml<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<ProtocolXml<'a>>,
}

#[derive(Serialize)]
struct HostXml<'a> {
    #[serde(rename = "@name")]
    name: &'a str,
    #[serde(rename = "@port", skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
struct PathXml<'a> {
    #[serde(rename = "@path")]
    path: &'a str,
}

#[derive(Serialize)]
struct InitiatorXml<'a> {
    iqn: NameXml<'a>,
}

#[derive(Serialize)]
struct NameXml<'a> {
    #[serde(rename = "@name")]
    name: &'a str,
}

#[derive(Serialize)]
struct AuthXml<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@username")]
    user: &'a str,
    secret: SecretXml<'a>,
}

#[derive(Serialize)]
struct SecretXml<'a> {
    #[serde(rename = "@uuid", skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(rename = "@usage", skip_serializing_if = "Option::is_none")]
    usage: Option<&'a str>,
}

#[derive(Serialize)]
struct FormatXml<'a> {
    #[serde(rename = "@type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct ProtocolXml<'a> {
    #[serde(rename = "@ver")]
    version: &'a str,
}

#[derive(Serialize)]
struct TargetXml {
    path: String,
}

impl PoolSourceSpec {
    /// Renders the XML of a pool with this name. It sets neither owner nor mode, so an existing directory keeps its
    /// own.
    ///
    /// # Errors
    /// None in practice; those of the serializer.
    pub fn to_xml(&self, name: &str) -> Result<String, quick_xml::SeError> {
        let pool = PoolXml {
            kind: self.pool_type().as_str(),
            name,
            source: source_element(self),
            target: target_path(self).map(|path| TargetXml { path }),
        };
        let mut text = String::new();
        let mut writer = quick_xml::se::Serializer::new(&mut text);
        writer.indent(' ', 2);
        pool.serialize(writer)?;
        text.push('\n');
        Ok(text)
    }
}

fn source_element(source: &PoolSourceSpec) -> Option<SourceXml<'_>> {
    let format = |kind| Some(FormatXml { kind });
    let none = SourceXml::default();
    Some(match source {
        PoolSourceSpec::Dir { .. } => return None,
        PoolSourceSpec::Fs { device, format: kind, .. } => {
            SourceXml { device: Some(PathXml { path: device }), format: format(kind), ..none }
        }
        PoolSourceSpec::NetFs { server, export, format: kind, version, .. } => SourceXml {
            hosts: vec![HostXml { name: server, port: None }],
            directory: Some(PathXml { path: export }),
            format: format(kind),
            protocol: version.as_deref().map(|version| ProtocolXml { version }),
            ..none
        },
        PoolSourceSpec::Logical { group } => SourceXml { name: Some(group), format: format("lvm2"), ..none },
        PoolSourceSpec::Zfs { dataset } => SourceXml { name: Some(dataset), ..none },
        PoolSourceSpec::Rbd { pool, monitors, auth } => SourceXml {
            hosts: monitors.iter().map(host_element).collect(),
            name: Some(pool),
            auth: auth.as_ref().map(|a| auth_element("ceph", a)),
            ..none
        },
        PoolSourceSpec::Iscsi { portal, target, initiator, auth } => SourceXml {
            hosts: vec![host_element(portal)],
            device: Some(PathXml { path: target }),
            initiator: initiator.as_deref().map(|name| InitiatorXml { iqn: NameXml { name } }),
            auth: auth.as_ref().map(|a| auth_element("chap", a)),
            ..none
        },
    })
}

fn host_element(server: &Server) -> HostXml<'_> {
    HostXml { name: &server.host, port: server.port }
}

fn auth_element<'a>(kind: &'static str, auth: &'a PoolAuth) -> AuthXml<'a> {
    let (uuid, usage) = match &auth.secret {
        Secret::Uuid(uuid) => (Some(uuid.to_string()), None),
        Secret::Usage(usage) => (None, Some(usage.as_str())),
    };
    AuthXml { kind, user: &auth.user, secret: SecretXml { uuid, usage } }
}

fn target_path(source: &PoolSourceSpec) -> Option<String> {
    match source {
        PoolSourceSpec::Logical { group } => Some(format!("/dev/{group}")),
        PoolSourceSpec::Zfs { dataset } => Some(format!("/dev/zvol/{dataset}")),
        PoolSourceSpec::Iscsi { .. } => Some(ISCSI_UNITS.to_owned()),
        PoolSourceSpec::Rbd { .. } => None,
        PoolSourceSpec::Dir { .. } | PoolSourceSpec::Fs { .. } | PoolSourceSpec::NetFs { .. } => {
            source.local_directory().map(str::to_owned)
        }
    }
}
