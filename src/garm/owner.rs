//! To which controller and pool a VM belongs: its labels say it.

use std::collections::BTreeMap;

/// Label with the UUID of the controller.
const CONTROLLER: &str = "garm-controller";
/// Label with the pool.
const POOL: &str = "garm-pool";
/// Label with the runner's name as GARM wrote it; a VM's name is in lower case.
const INSTANCE: &str = "garm-instance";

/// The controller of VMs, and one of its pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceOwner<'a> {
    /// UUID of the controller.
    pub controller: &'a str,
    /// The pool; `None` for all.
    pub pool: Option<&'a str>,
}

impl InstanceOwner<'_> {
    /// Whether a VM with these labels is its own.
    pub fn owns(self, labels: &BTreeMap<String, String>) -> bool {
        let has = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
        has(CONTROLLER, self.controller) && self.pool.is_none_or(|pool| has(POOL, pool))
    }

    /// The labels of a new VM for a runner.
    pub(crate) fn labels_of(self, instance: &str) -> BTreeMap<String, String> {
        let pool = self.pool.map(|pool| (POOL, pool));
        let all = [(CONTROLLER, self.controller), (INSTANCE, instance)].into_iter().chain(pool);
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

/// The runner's name of a VM with these labels.
pub(crate) fn instance_name(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(INSTANCE).map(String::as_str)
}

/// Whether GARM means a VM with this UUID and these labels: it names the `provider_id` that it got, or the runner's name
/// if it got none.
pub fn is_instance(asked: &str, uuid: &str, labels: &BTreeMap<String, String>) -> bool {
    asked == uuid || instance_name(labels) == Some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_belongs_to_one_controller_and_one_pool() {
        let own = InstanceOwner { controller: "c", pool: Some("p") };
        let labels = own.labels_of("Garm-1");
        assert!(own.owns(&labels));
        assert!(InstanceOwner { pool: None, ..own }.owns(&labels));
        assert!(!InstanceOwner { pool: Some("q"), ..own }.owns(&labels));
        assert!(!InstanceOwner { controller: "d", pool: None }.owns(&labels));
        assert!(!own.owns(&BTreeMap::new()));
        for (asked, is_meant) in [("Garm-1", true), ("uuid", true), ("garm-1", false), ("", false)] {
            assert_eq!(is_instance(asked, "uuid", &labels), is_meant, "{asked}");
        }
    }
}
