//! Judges the guest and the VMs of a pool.

use foundry_core::domain_xml::check_patch;
use foundry_core::error::Code;
use foundry_core::manifest::{API_VERSION, KIND, Metadata, Spec, VirtualMachine, escape_unseen};
use foundry_core::names::VmName;
use foundry_core::plan::{Defaults, Problem, VmPlan};

use super::pool_judge::{MAX_NAME, PoolJudge};
use super::usual_runner::UsualRunner;
use super::{RunnerGuest, RunnerPool};

/// The runner in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerGuestPlan {
    /// Its user.
    pub user: String,
    /// Its directory.
    pub directory: String,
    /// Shell command that is the runner.
    pub run: String,
    /// Shell command that ends with 0 while it works.
    pub busy: String,
}

impl PoolJudge {
    pub(super) fn judge_guest(&mut self, guest: &RunnerGuest, usual: UsualRunner) -> RunnerGuestPlan {
        let user = guest.user.clone().unwrap_or_else(|| "runner".to_owned());
        let is_user = !user.is_empty()
            && !user.starts_with('-')
            && user.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if !is_user {
            self.reject(Code::NameUnfit, "spec.guest.user", Some(&user), "is not the name of a user");
        }
        let directory = guest.directory.clone().unwrap_or_else(|| usual.directory.to_owned());
        if !directory.starts_with('/') {
            self.reject(
                Code::TextUnfit,
                "spec.guest.directory",
                Some(&directory),
                "must be an absolute path",
            );
        }
        let plan = RunnerGuestPlan {
            user,
            directory,
            run: guest.run.clone().unwrap_or_else(|| usual.run.to_owned()),
            busy: guest.busy.clone().unwrap_or_else(|| usual.busy.to_owned()),
        };
        let texts = [("directory", &plan.directory), ("run", &plan.run), ("busy", &plan.busy)];
        for (field, text) in texts {
            if text.trim().is_empty() || text.contains('\0') {
                let path = format!("spec.guest.{field}");
                self.reject(
                    Code::TextUnfit,
                    &path,
                    Some(&escape_unseen(text)),
                    "must be text, without zeros",
                );
            }
        }
        plan
    }

    /// The VMs of a pool are alike: what only one can have is refused.
    pub(super) fn judge_template(
        &mut self,
        pool: &RunnerPool,
        name: &str,
        defaults: &Defaults,
    ) -> VirtualMachine {
        const PATH: &str = "spec.template";
        let Some(spec) = pool.spec.template.clone() else {
            self.reject(Code::ValueMissing, PATH, None, "is required: the spec of the VMs");
            return VirtualMachine::default();
        };
        self.reject_fixed(&spec);
        let spec = Spec { autostart: Some(false), ..spec };
        let metadata = Metadata {
            labels: pool.metadata.labels.clone(),
            annotations: pool.metadata.annotations.clone(),
            ..Metadata::default()
        };
        let template = VirtualMachine {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            metadata,
            spec,
            status: None,
        };
        let mut example = template.clone();
        let is_name = name.parse::<VmName>().is_ok() && name.len() <= MAX_NAME;
        example.metadata.name =
            Some(if is_name { format!("{name}-00000000") } else { "pool-00000000".into() });
        let planned = VmPlan::from_manifest(&example, defaults);
        let judged = planned.and_then(|plan| check_patch(&plan).map(drop));
        for problem in judged.err().map(|problems| problems.list).unwrap_or_default() {
            let path = match problem.path.strip_prefix("spec") {
                Some(rest) => format!("{PATH}{rest}"),
                None => problem.path.clone(),
            };
            self.problems.push(Problem { path, ..problem });
        }
        template
    }

    fn reject_fixed(&mut self, spec: &Spec) {
        const WHY: &str = "cannot be set: the VMs of a pool are alike";
        for (index, interface) in spec.network_interfaces.iter().enumerate() {
            let fixed = [
                ("ip", interface.ip.is_some()),
                ("addresses", !interface.addresses.is_empty()),
                ("macAddress", interface.mac_address.is_some()),
            ];
            for (field, _) in fixed.into_iter().filter(|(_, is_set)| *is_set) {
                let path = format!("spec.template.networkInterfaces[{index}].{field}");
                self.reject(Code::Contradiction, &path, None, WHY);
            }
        }
        let cloud_init = spec.cloud_init.as_ref();
        if cloud_init.is_some_and(|cloud_init| cloud_init.fqdn.is_some()) {
            self.reject(Code::Contradiction, "spec.template.cloudInit.fqdn", None, WHY);
        }
        if spec.autostart == Some(true) {
            let message = "cannot be true: after a start of the host, the job of a runner is gone";
            self.reject(Code::Contradiction, "spec.template.autostart", None, message);
        }
    }
}
