//! Checks that the documents of one file do not conflict.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{InterfacePlan, Problem, Problems, VmPlan};
use crate::error::Code;

/// Checks the VMs of one file, each of which is valid by itself, against each other: no two may have the same name,
/// address, MAC or tap.
///
/// # Errors
/// All conflicts at once, reported for the later VM of each pair; `file` is the subject of the report.
pub fn check_batch(plans: &[VmPlan], file: &str) -> Result<(), Problems> {
    let mut batch = Batch::default();
    plans.iter().for_each(|plan| batch.add_plan(plan));
    match batch.problems {
        none if none.is_empty() => Ok(()),
        list => Err(Problems { subject: file.to_owned(), list }),
    }
}

#[derive(Default)]
struct Batch {
    /// The VM and path that first had each name, address or MAC. The formats of these values do not overlap.
    first_uses: HashMap<String, String>,
    problems: Vec<Problem>,
}

impl Batch {
    fn add_plan(&mut self, plan: &VmPlan) {
        let named =
            self.claim_value(Code::NameTwice, plan.name.to_string(), "metadata.name".to_owned(), plan);
        // Two documents with the same name are one mistake, even if one is a copy of the other.
        if named {
            plan.interfaces.iter().enumerate().for_each(|(index, nic)| self.add_interface(plan, index, nic));
        }
    }

    fn add_interface(&mut self, plan: &VmPlan, index: usize, nic: &InterfacePlan) {
        let path = format!("spec.networkInterfaces[{index}]");
        // MAC and tap are derived from the address, so a conflict of addresses is reported once. A MAC that is derived
        // from names or was given can conflict alone.
        let is_new = nic.ip.is_none_or(|ip| {
            self.claim_value(Code::AddressTwice, ip.addr().to_string(), format!("{path}.ip"), plan)
        });
        if is_new {
            self.claim_value(Code::AddressTwice, nic.mac.to_string(), format!("{path} (MAC address)"), plan);
        }
        for (further, address) in nic.addresses.iter().enumerate() {
            let address = address.addr().to_canonical().to_string();
            self.claim_value(Code::AddressTwice, address, format!("{path}.addresses[{further}]"), plan);
        }
    }

    /// Notes which VM uses a value that only one VM can have. If another VM uses it, records a problem and returns
    /// false.
    fn claim_value(&mut self, code: Code, value: String, path: String, plan: &VmPlan) -> bool {
        match self.first_uses.entry(value) {
            Entry::Vacant(free) => {
                free.insert(format!("{}: {path}", plan.name));
                true
            }
            Entry::Occupied(taken) => {
                self.problems.push(Problem {
                    path: format!("{}: {path}", plan.name),
                    value: Some(taken.key().clone()),
                    code,
                    advice: None,
                    message: format!("is also used by another VM of this file ({})", taken.get()),
                });
                false
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;
    use crate::manifest::load_text;
    use crate::names::MacAddress;
    use crate::plan::Defaults;

    fn plan_named(name: &str) -> VmPlan {
        let text = format!(
            "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n\
             spec: {{vcpus: 1, memoryGiB: 1, bootDisk: {{sizeGB: 1, empty: true}}, networkInterfaces: [{{network: n}}]}}\n"
        );
        let defaults = Defaults {
            vm_pool: "vms".parse().unwrap(),
            image_pool: "images".parse().unwrap(),
            pool_override: None,
            bridge: None,
            dns: Vec::new(),
        };
        VmPlan::from_manifest(&load_text(&text, "vm.yaml").unwrap()[0], &defaults).unwrap()
    }

    #[test]
    fn mac_from_names_can_conflict_alone() {
        let (one, mut two) = (plan_named("one"), plan_named("two"));
        assert_eq!(check_batch(&[one.clone(), two.clone()], "vm.yaml"), Ok(()));
        two.interfaces[0].mac = MacAddress::from_name(&one.name, 0);
        let problems = check_batch(&[one, two], "vm.yaml").unwrap_err();
        assert_eq!(problems.list.len(), 1);
        assert_eq!(problems.list[0].path, "two: spec.networkInterfaces[0] (MAC address)");
    }

    #[test]
    fn each_copy_is_one_problem() {
        let problems =
            check_batch(&[plan_named("one"), plan_named("one"), plan_named("one")], "vm.yaml").unwrap_err();
        assert_eq!(problems.list.len(), 2);
        assert_eq!(check_batch(&[], "vm.yaml"), Ok(()));
    }
}
