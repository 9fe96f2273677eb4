//! Earlier versions of a VM's manifest, as its record keeps them.

use serde::{Deserialize, Serialize};

use super::{Record, digest_of};
use crate::manifest::VirtualMachine;

/// How many versions a record keeps, the present one included.
pub const KEPT: usize = 10;

/// The most that the kept manifests may take as JSON. libvirt takes 4 MiB in a string, and a listing reads all records.
pub const KEPT_BYTES: usize = 64 << 10;

/// A version of a VM's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The VM's generation with it.
    pub generation: u64,
    /// Digest of the manifest, without secrets.
    pub digest: String,
    /// When it was applied (RFC 3339).
    pub at: String,
    /// Who applied it: `USER@HOST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The manifest, without secrets; absent for the present one, which is in the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Box<VirtualMachine>>,
}

/// The digest of a manifest without secrets.
pub fn manifest_digest(manifest: &VirtualMachine) -> String {
    digest_of(&serde_json::to_string(manifest).unwrap_or_default())
}

impl Record {
    /// Raises the generation for a changed manifest, and keeps the one `before`. The oldest versions are dropped.
    pub fn note_revision(&mut self, before: &VirtualMachine, by: Option<String>, now: &str) {
        let first = Revision {
            generation: self.generation,
            digest: manifest_digest(before),
            at: self.created_at.clone(),
            by: None,
            manifest: None,
        };
        if self.history.last().is_none_or(|last| last.generation != self.generation) {
            self.history.push(first);
        }
        if let Some(replaced) = self.history.last_mut() {
            replaced.manifest = Some(Box::new(before.clone()));
        }
        self.generation += 1;
        self.history.push(Revision {
            generation: self.generation,
            digest: manifest_digest(&self.manifest),
            at: now.to_owned(),
            by,
            manifest: None,
        });
        self.drop_old_revisions();
    }

    fn drop_old_revisions(&mut self) {
        let size = |revision: &Revision| {
            revision.manifest.as_ref().map_or(0, |m| serde_json::to_string(m).map_or(0, |text| text.len()))
        };
        let (mut count, mut bytes) = (0, 0);
        let fits = |revision: &&Revision| {
            count += 1;
            bytes += size(revision);
            count <= KEPT && bytes <= KEPT_BYTES
        };
        let kept = self.history.iter().rev().take_while(fits).count();
        self.history.drain(..self.history.len() - kept);
    }

    /// The versions of the manifest, oldest first, the present one last. A VM that never changed has one.
    pub fn revisions(&self) -> Vec<Revision> {
        let present = Revision {
            generation: self.generation,
            digest: manifest_digest(&self.manifest),
            at: if self.generation == 1 { self.created_at.clone() } else { self.changed_at.clone() },
            by: None,
            manifest: None,
        };
        let mut all = self.history.clone();
        // An older foundry raised the generation without keeping versions.
        if all.last().is_none_or(|last| last.generation != self.generation) {
            all.push(present);
        }
        all
    }

    /// The manifest of a version, without secrets.
    pub fn manifest_of(&self, generation: u64) -> Option<&VirtualMachine> {
        if generation == self.generation {
            return Some(&self.manifest);
        }
        self.history.iter().find(|revision| revision.generation == generation)?.manifest.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Owner;

    fn record() -> Record {
        let text = r#"{"version": 1, "domain": "00000000-0000-0000-0000-000000000001", "state": "created",
            "manifest": {"apiVersion": "foundry.cofront.xyz/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": "web"}, "spec": {"vcpus": 1}}, "volumes": [], "maker": {"host": "", "boot": "",
            "pid": 1, "started": 1, "version": "1"}, "createdAt": "c", "changedAt": "c", "generation": 1}"#;
        let Owner::Foundry(record) = Owner::parse_metadata(Some(text)) else { panic!("it is a record") };
        *record
    }

    fn change(record: &mut Record, label: &str) {
        let before = record.manifest.clone();
        record.manifest.metadata.labels.insert("n".into(), label.into());
        record.note_revision(&before, Some("root@here".into()), label);
    }

    #[test]
    fn a_new_vm_has_one_version() {
        let revisions = record().revisions();
        assert_eq!((revisions.len(), revisions[0].generation, revisions[0].at.as_str()), (1, 1, "c"));
        assert!(!record().to_text().unwrap().contains("history"));
    }

    #[test]
    fn each_version_is_kept_with_its_manifest() {
        let mut record = record();
        change(&mut record, "one");
        change(&mut record, "two");
        let told: Vec<_> =
            record.revisions().into_iter().map(|r| (r.generation, r.at, r.by.is_some())).collect();
        assert_eq!(told, [(1, "c".into(), false), (2, "one".into(), true), (3, "two".into(), true)]);
        let label = |n| record.manifest_of(n).map(|m| m.metadata.labels.get("n").cloned());
        assert_eq!(label(1), Some(None));
        assert_eq!(label(2), Some(Some("one".into())));
        assert_eq!(label(3), Some(Some("two".into())));
        assert_eq!(label(4), None);
    }

    #[test]
    fn number_and_size_are_bounded() {
        let mut record = record();
        (0..30).for_each(|n| change(&mut record, &n.to_string()));
        assert_eq!(record.history.len(), KEPT);
        assert_eq!((record.history[0].generation, record.generation), (22, 31));
        change(&mut record, &"x".repeat(KEPT_BYTES));
        change(&mut record, "small");
        assert_eq!(record.history.len(), 1, "the manifest before was too large");
        assert_eq!(record.revisions().last().unwrap().generation, 33);
    }
}
