//! All that is on the host, in a form that can be compared: what libvirt says, and what lies in its directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::storage_pool::StoragePool;
use virt::sys as c;

use super::commands::{STORAGE, VMS, is_bystanders, is_vms};

/// What a guest has written, in so many bytes.
pub(crate) const DATA: u8 = 0xa7;
const MUCH: [u8; 4096] = [DATA; 4096];
/// Disks that nothing was written to are smaller.
const SMALL: u64 = 4 << 20;

/// What is at the host, each thing under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture(BTreeMap<String, String>);

impl Picture {
    /// Looks.
    pub(crate) fn take() -> Self {
        virt::error::clear_error_callback();
        let connection = Connect::open(Some("qemu:///system")).unwrap();
        let mut picture = Self(BTreeMap::new());
        for domain in connection.list_all_domains(0).unwrap() {
            picture.add_domain(&domain);
        }
        for pool in connection.list_all_storage_pools(0).unwrap() {
            picture.add_pool(&pool);
        }
        for directory in ["/var/lib/libvirt", "/etc/libvirt", "/var/log/libvirt/qemu"] {
            picture.add_files(Path::new(directory));
        }
        picture.forget_snapshot_directories();
        picture.number_revisions()
    }

    /// libvirt keeps the directory of a domain's snapshots, also without one, until the domain is undefined.
    fn forget_snapshot_directories(&mut self) {
        const DIRECTORY: &str = "directory /var/lib/libvirt/qemu/snapshot/";
        let domains: BTreeSet<String> =
            self.0.keys().filter_map(|name| name.strip_prefix("domain ")).map(str::to_owned).collect();
        self.0.retain(|name, _| name.strip_prefix(DIRECTORY).is_none_or(|domain| !domains.contains(domain)));
    }

    /// With the files of each disk numbered from the oldest: which revision a new one gets depends on those that an
    /// interrupted run has used.
    fn number_revisions(self) -> Self {
        let mut revisions: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for name in self.0.keys().filter(|name| name.starts_with("file ")) {
            let file = name.rsplit('/').next().unwrap();
            if let Some((disk, revision)) = file.rsplit_once('.')
                && let Ok(revision) = revision.parse()
            {
                revisions.entry(disk.to_owned()).or_default().insert(revision);
            }
        }
        // A name ends with its text, or with a mark of XML or JSON.
        let renamed = |text: &str| {
            let mut text = format!("{text}\n");
            for (disk, revisions) in &revisions {
                for (index, revision) in revisions.iter().enumerate() {
                    for end in ['"', '\'', '<', '\n'] {
                        text =
                            text.replace(&format!("{disk}.{revision}{end}"), &format!("{disk}.{index}{end}"));
                    }
                }
            }
            text.trim_end().to_owned()
        };
        Self(self.0.into_iter().map(|(name, text)| (renamed(&name), renamed(&text))).collect())
    }

    /// What is none of the commands' business.
    pub(crate) fn bystanders(&self) -> Self {
        self.only(is_bystanders)
    }

    fn only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(k, _)| wanted(k)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    /// Whether each thing is as in one of the two: of several documents the earlier ones stay, as does a default pool
    /// that was made. What the command replaces may be gone altogether: it goes before the new one comes.
    pub(crate) fn is_made_of(&self, before: &Self, asked: &Self, replaced: Option<&str>) -> bool {
        let names = [self, before, asked].into_iter().flat_map(|picture| picture.0.keys());
        let things: BTreeSet<Thing> = names.map(|what| thing(what)).collect();
        things.into_iter().all(|one| {
            let now = self.only(|what| thing(what) == one);
            let is_replaced = |what: &str| replaced.is_some_and(|name| what.contains(name));
            now == before.only(|what| thing(what) == one)
                || now == asked.only(|what| thing(what) == one)
                || now == before.only(|what| thing(what) == one && !is_replaced(what))
        })
    }

    /// Whether nothing is another in `now` but pools: the default ones, once made, stay for the next command.
    pub(crate) fn is_but_for_pools(&self, now: &Self) -> bool {
        let others = |what: &str| thing(what) != Thing::Pools;
        self.only(others) == now.only(others)
    }

    /// What is another in `now`, for people.
    pub(crate) fn differences(&self, now: &Self) -> String {
        let mut text = String::new();
        let names: BTreeSet<_> = self.0.keys().chain(now.0.keys()).collect();
        for name in names {
            match (self.0.get(name), now.0.get(name)) {
                (Some(was), Some(is)) if was != is => {
                    text.push_str(&format!("    ~ {name}\n{}", lines(was, is)))
                }
                (Some(_), None) => text.push_str(&format!("    - {name}\n")),
                (None, Some(_)) => text.push_str(&format!("    + {name}\n")),
                _ => {}
            }
        }
        text
    }

    fn add_domain(&mut self, domain: &Domain) {
        let name = domain.name().unwrap();
        let xml = domain.xml_desc(c::VIR_DOMAIN_XML_INACTIVE | c::VIR_DOMAIN_XML_SECURE).unwrap();
        let is = |yes: bool, word: &str| if yes { word.to_owned() } else { format!("not {word}") };
        let active = is(domain.is_active().unwrap(), "active");
        let autostart = is(domain.autostart().unwrap(), "autostarted");
        // libvirt drops the end of a chain when it merges a snapshot.
        let xml: String =
            xml.lines().filter(|l| l.trim() != "<backingStore/>").flat_map(|l| [l, "\n"]).collect();
        let mut text = format!("{active}\n{autostart}\n{}", plain(&xml, &domain.uuid_string().unwrap()));
        for snapshot in domain.list_all_snapshots(0).unwrap() {
            // The definition of that time comes after its own disks.
            let xml = snapshot.xml_desc(0).unwrap();
            let own = xml.lines().take_while(|line| !line.trim_start().starts_with("<domain"));
            let own = own.filter(|line| !line.contains("<creationTime>"));
            text.extend(own.flat_map(|line| [line, "\n"]));
        }
        self.0.insert(format!("domain {name}"), text);
    }

    fn add_pool(&mut self, pool: &StoragePool) {
        let name = pool.name().unwrap();
        let active = pool.is_active().unwrap();
        let xml = plain(&pool.xml_desc(0).unwrap(), &pool.uuid_string().unwrap());
        let text = format!("active: {active}\nautostart: {}\n{xml}", pool.autostart().unwrap());
        self.0.insert(format!("pool {name}"), text);
        if !active {
            return;
        }
        pool.refresh(0).unwrap();
        for volume in pool.list_all_volumes(0).unwrap() {
            let text = plain(&volume.xml_desc(0).unwrap(), "");
            self.0.insert(format!("volume {name}/{}", volume.name().unwrap()), text);
        }
    }

    /// Of bystanders each byte; of the VM's own files, which differ from one making to the next, that they are there and
    /// whether they hold what the guest has written.
    fn add_files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.display().to_string();
            if is_passing(&name) {
                continue;
            }
            if meta.is_dir() {
                self.0.insert(format!("directory {name}"), owner(&meta));
                self.add_files(&path);
            } else {
                let mut text = owner(&meta);
                if is_bystanders(&name) && meta.is_file() {
                    let digest = Sha256::digest(fs::read(&path).unwrap());
                    text.extend(digest.iter().map(|octet| format!("{octet:02x}")));
                } else if name.starts_with(STORAGE) && meta.is_file() && meta.len() < SMALL {
                    let bytes = fs::read(&path).unwrap();
                    text.push_str(if bytes.chunks(MUCH.len()).any(|c| c == MUCH) { "data" } else { "empty" });
                }
                self.0.insert(format!("file {name}"), text);
            }
        }
    }
}

fn owner(meta: &fs::Metadata) -> String {
    format!("{:o} ", meta.mode())
}

/// What something on the host is a part of.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Vm(&'static str),
    Image,
    Pools,
    Other,
}

/// A bystander's volume shows when its pool does; it is a file, too.
fn thing(what: &str) -> Thing {
    if let Some(vm) = VMS.iter().find(|vm| is_vms(what, vm)) {
        return Thing::Vm(vm);
    }
    let is_of_pools =
        ["pool ", "directory ", "volume foundry-test-f-vms/"].iter().any(|w| what.starts_with(w));
    match what {
        _ if is_of_pools || what.contains("/etc/libvirt/storage/") => Thing::Pools,
        _ if what.contains(".qcow2") => Thing::Image,
        _ => Thing::Other,
    }
}

/// What libvirt and QEMU leave for each domain that ever ran, and directories of what runs.
fn is_passing(name: &str) -> bool {
    (name.starts_with("/var/log/") && !name.ends_with("-console.log"))
        || name.contains("/qemu/domain-")
        || name.contains("/qemu/channel/target/")
}

/// XML without what is another each time: identities, times, processes, how much is allocated.
fn plain(xml: &str, uuid: &str) -> String {
    const VARIABLE: [&str; 10] = [
        "<uuid>",
        "<genid>",
        "<allocation",
        "<available",
        "<mtime>",
        "<ctime>",
        "<atime>",
        "<physical",
        "<owner>",
        "<group>",
    ];
    let mut text = String::new();
    for line in xml.lines() {
        if VARIABLE.iter().any(|v| line.trim_start().starts_with(v)) || is_passing_line(line) {
            continue;
        }
        let line = if uuid.is_empty() { line.to_owned() } else { line.replace(uuid, "UUID") };
        text.push_str(&without_maker(&without_history(&line)));
        text.push('\n');
    }
    text
}

fn is_passing_line(line: &str) -> bool {
    line.trim_start().starts_with("<timestamps>") || line.trim_start().starts_with("</timestamps>")
}

/// A record without the manifests of before: what was taken back stays in them.
fn without_history(line: &str) -> String {
    const BEGIN: &str = "\"history\":[";
    let Some((before, rest)) = line.split_once(BEGIN) else { return line.to_owned() };
    let mut depth = 1;
    let end = rest.find(|c| {
        depth += match c {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth == 0
    });
    format!("{}{}", before.trim_end_matches(','), &rest[end.map_or(rest.len(), |end| end + 1)..])
}

/// foundry's record tells who wrote it and when, and how often; its digests of secrets have a salt of each creation's own,
/// and the guest's host key is made with the seed.
fn without_maker(line: &str) -> String {
    let mut rest = line;
    let mut text = String::new();
    const FIELDS: [&str; 15] = [
        "\"pid\":",
        "\"started\":",
        "\"since\":",
        "\"createdAt\":",
        "\"changedAt\":",
        "\"host\":",
        "\"boot\":",
        "\"generation\":",
        "\"instanceId\":",
        "\"salted-sha256:",
        "\"id\":",
        "\"directory\":",
        "\"at\":",
        "\"by\":",
        "\"hostKeys\":[",
    ];
    while let Some((at, field)) = FIELDS.iter().filter_map(|f| Some((rest.find(f)?, f))).min() {
        let behind = &rest[at + field.len()..];
        text.push_str(&rest[..at + field.len()]);
        rest = &behind[behind.find([',', '}']).unwrap_or(behind.len())..];
    }
    text + rest
}

/// The lines of two texts that differ.
fn lines(was: &str, is: &str) -> String {
    let only = |text: &str, other: &str, mark: &str| -> String {
        let other: Vec<&str> = other.lines().collect();
        let lines = text.lines().filter(|l| !other.contains(l));
        lines.map(|l| format!("      {mark} {}\n", l.chars().take(2000).collect::<String>())).collect()
    };
    only(was, is, "-") + &only(is, was, "+")
}
