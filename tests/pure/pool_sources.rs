//! Pools of every type: what they may be made of, and what libvirt is told of them.

use std::process::Command;

use crate::support::command::skip_without;
use crate::support::deadline::CommandInTime as _;
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::libvirt_xml;
use foundry::pool::{PoolRequest, PoolSourceSpec, PoolType};

/// A source from the words of a command line: `fs /dev/sdb1 --target /srv`.
fn judge(line: &str) -> Result<PoolSourceSpec, foundry::Error> {
    let mut words = line.split(' ');
    let kind = words.next().unwrap();
    let kind = PoolType::ALL.into_iter().find(|k| k.as_str() == kind).unwrap();
    let mut wanted = PoolRequest::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().map(|word| word.replace('_', " "));
        match word {
            "--target" => wanted.target = value(),
            "--format" => wanted.format = value(),
            "--protocol-ver" => wanted.protocol_version = value(),
            "--monitor" => wanted.monitors.extend(value()),
            "--auth-user" => wanted.auth_user = value(),
            "--secret" => wanted.secret = value(),
            "--initiator-iqn" => wanted.initiator = value(),
            source => wanted.source.push(source.into()),
        }
    }
    PoolSourceSpec::from_request(kind, &wanted)
}

/// Each option of each type at least once.
const GOOD: [&str; 17] = [
    "dir /srv/vms",
    "dir /srv/a&b/<c>'d\"",
    "fs /dev/disk/by-uuid/0f5e --target /srv/vms",
    "fs /dev/sdb1 --target /srv/vms --format xfs",
    "netfs nas.example.com:/export/vms --target /srv/shared",
    "netfs [fd00::1]:/export --target /srv/shared --protocol-ver 4.2",
    "netfs nas:share --target /srv/shared --format cifs",
    "netfs nas:volume --target /srv/shared --format glusterfs",
    "netfs nas:/export --target /srv/shared --format auto",
    "logical vg0",
    "zfs tank",
    "zfs tank/vms",
    "rbd vms --monitor mon1 --monitor 10.0.0.2:6790 --monitor [fd00::1]:3300",
    "rbd vms --monitor mon1 --auth-user libvirt --secret 2ec115d7-3a88-3ceb-bc12-0ac909a6fd87",
    "iscsi san.example.com iqn.2026-01.com.example:disks",
    "iscsi 10.0.0.1:3261 iqn.2026-12.com.example --initiator-iqn iqn.2026-01.com.example:host",
    "iscsi san iqn.2026-01.com.example:disks --auth-user me --secret the_usage_of_it",
];

/// libvirt's own schema, by libvirt's own tool. `None` where that is missing and nobody requires it.
fn validate(xml: &str, line: &str) -> Option<bool> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pool.xml");
    std::fs::write(&file, xml).unwrap();
    let Ok(done) = Command::new("virt-xml-validate").arg(&file).arg("storagepool").output_in_time() else {
        skip_without("virt-xml-validate", "libvirt-clients");
        return None;
    };
    if !done.status.success() {
        println!("{line}: {}\n{xml}", String::from_utf8_lossy(&done.stderr));
    }
    Some(done.status.success())
}

#[test]
fn every_pool_is_valid_by_libvirts_schema() {
    for line in GOOD {
        let xml = judge(line).unwrap().to_xml("x").unwrap();
        match validate(&xml, line) {
            Some(valid) => assert!(valid, "{line}"),
            None => return,
        }
    }
    let xml = judge("logical vg0").unwrap().to_xml("x").unwrap();
    let spoilt = xml.replace("<source>", "<source><gizmo/>");
    assert_eq!(validate(&spoilt, "spoilt"), Some(false), "the validation can fail");
}

/// What libvirt is told comes back as it was said.
#[test]
fn a_pool_is_read_as_it_was_written() {
    for line in GOOD {
        let source = judge(line).unwrap();
        let read = libvirt_xml::read_pool(&source.to_xml("a <b> & c").unwrap(), false, false).unwrap();
        assert_eq!(
            (read.name.as_str(), read.kind.as_str()),
            ("a <b> & c", source.pool_type().as_str()),
            "{line}"
        );
        let (target, of) = (read.target.as_deref(), read.source);
        match &source {
            PoolSourceSpec::Dir { path } => {
                assert_eq!((target, of.to_string().as_str()), (Some(path.as_str()), ""))
            }
            PoolSourceSpec::Fs { device, target: mounted, format } => {
                assert_eq!((target, of.to_string()), (Some(mounted.as_str()), device.clone()));
                assert_eq!(of.format.as_ref(), Some(format));
            }
            PoolSourceSpec::NetFs { server, export, target: mounted, format, .. } => {
                assert_eq!(target, Some(mounted.as_str()));
                assert_eq!(
                    (of.servers[0].host.as_str(), of.directory.as_ref()),
                    (server.as_str(), Some(export))
                );
                assert_eq!(of.format.as_ref(), Some(format));
            }
            PoolSourceSpec::Logical { group } => {
                assert_eq!((target, of.name.as_ref()), (Some(format!("/dev/{group}").as_str()), Some(group)));
            }
            PoolSourceSpec::Zfs { dataset } => {
                let volumes = format!("/dev/zvol/{dataset}");
                assert_eq!((target, of.name.as_ref()), (Some(volumes.as_str()), Some(dataset)));
            }
            PoolSourceSpec::Rbd { pool, monitors, auth } => {
                assert_eq!((target, of.name.as_ref()), (None, Some(pool)));
                assert_eq!((&of.servers, &of.auth), (monitors, auth), "{line}");
            }
            PoolSourceSpec::Iscsi { portal, target: iqn, auth, .. } => {
                assert_eq!((target, &of.devices), (Some("/dev/disk/by-path"), &vec![iqn.clone()]));
                assert_eq!((&of.servers[0], &of.auth), (portal, auth), "{line}");
            }
        }
    }
}

#[test]
fn owner_and_mode_are_nowhere_named() {
    for line in GOOD {
        assert!(!judge(line).unwrap().to_xml("x").unwrap().contains("permissions"), "{line}");
    }
}

#[test]
fn what_is_wrong_is_said_in_full_and_changes_nothing() {
    for (line, problems) in [
        ("dir relative", &["\"relative\" is not an absolute path without '..'"][..]),
        ("dir", &["a pool of type dir needs the path of a directory"]),
        ("dir /a /b", &["\"/b\" is one argument too many"]),
        ("dir /a --target /b", &["--target has no meaning for a pool of type dir"]),
        ("fs sdb1 --target b", &["\"sdb1\" is not a device", "--target \"b\" is not an absolute path"]),
        ("fs /dev/sdb1", &["a pool of type fs needs --target"]),
        (
            "fs /dev/sdb1 --target /b --format ext5",
            &["--format \"ext5\" is not one of auto, ext2", "did you mean ext"],
        ),
        ("netfs nas --target /b", &["\"nas\" is not HOST:/DIRECTORY"]),
        ("netfs nas:rel --target /b", &["\"nas:rel\" is not HOST:/DIRECTORY"]),
        ("netfs nas:/a --target /b --format nfs4", &["did you mean nfs?"]),
        ("netfs nas:/a --target /b --protocol-ver four", &["--protocol-ver \"four\" is not a version"]),
        ("netfs nas:a --target /b --format cifs --protocol-ver 3", &["--protocol-ver is for --format nfs"]),
        ("logical vg/0", &["\"vg/0\" is not the name of a volume group"]),
        ("logical vg0 /dev/sdb", &["\"/dev/sdb\" is one argument too many"]),
        ("zfs /tank", &["\"/tank\" is not the name of a ZFS pool or dataset"]),
        ("rbd vms", &["a pool of type rbd needs --monitor"]),
        (
            "rbd a/b --monitor m:99999",
            &["\"a/b\" is not the name of a Ceph pool", "--monitor \"m:99999\" is not"],
        ),
        (
            "rbd vms --monitor m --auth-user me",
            &["--auth-user and --secret must be given together; --secret is missing"],
        ),
        ("rbd vms --monitor m --secret me", &["--auth-user is missing"]),
        ("iscsi san", &["a pool of type iscsi needs the target's qualified name"]),
        ("iscsi san disks", &["\"disks\" is not an iSCSI qualified name"]),
        ("iscsi san iqn.2026-13.com.example", &["is not an iSCSI qualified name"]),
        ("iscsi --initiator-iqn me", &["needs a portal", "needs the target's", "\"me\" is not an iSCSI"]),
    ] {
        let error = judge(line).unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome_texts()),
            (Kind::Validation, vec!["nothing was changed".to_owned()])
        );
        for problem in problems {
            assert!(error.message().contains(problem), "{line}: {}", error.message());
        }
    }
}

/// Whatever is a word for a shell, a path out of somewhere, an option or a control character.
#[test]
fn hostile_words_are_refused_wherever_they_stand() {
    for hostile in
        ["..", "/../etc", "-o", "--help", "a\nb", "a\u{1b}[2J", "\0", "$(id)", "a;b", "a b", "a'b", "<a>", ""]
    {
        for kind in PoolType::ALL.into_iter().filter(|k| !matches!(k, PoolType::Dir | PoolType::Fs)) {
            let wanted = PoolRequest {
                source: vec![hostile.into(), "iqn.2026-01.com.example".into()]
                    [..if kind == PoolType::Iscsi { 2 } else { 1 }]
                    .to_vec(),
                target: matches!(kind, PoolType::NetFs).then(|| "/t".into()),
                monitors: if kind == PoolType::Rbd { vec!["m".into()] } else { Vec::new() },
                ..PoolRequest::default()
            };
            // What Ceph calls its pools is not for a shell to say.
            let harmless = kind == PoolType::Rbd && ["$(id)", "a;b", "a'b", "<a>"].contains(&hostile);
            assert_eq!(PoolSourceSpec::from_request(kind, &wanted).is_ok(), harmless, "{kind:?} {hostile:?}");
        }
        let good =
            PoolRequest { source: vec!["/d".into()], target: Some("/t".into()), ..PoolRequest::default() };
        let ceph = PoolRequest {
            source: vec!["p".into()],
            monitors: vec![hostile.into()],
            ..PoolRequest::default()
        };
        PoolSourceSpec::from_request(PoolType::Rbd, &ceph).unwrap_err();
        let mounted = PoolRequest { target: Some(hostile.into()), ..good.clone() };
        PoolSourceSpec::from_request(PoolType::Fs, &mounted).unwrap_err();
        let device = PoolRequest { source: vec![hostile.into()], ..good.clone() };
        PoolSourceSpec::from_request(PoolType::Fs, &device).unwrap_err();
        let format = PoolRequest { format: Some(hostile.into()), ..good };
        PoolSourceSpec::from_request(PoolType::Fs, &format).unwrap_err();
    }
}
