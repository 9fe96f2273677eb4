//! The VMs of jobs on a host in memory, with neighbours that nothing may touch.

use super::{config, job};
use crate::support::bench::{Bench, neighbours_alone};
use crate::support::manifests::{KEY, SMALL, plan_with};
use foundry::Code;
use foundry::gitlab::environment::Job;
use foundry::gitlab::job_vm::{DEADLINE, JobVm};
use foundry::gitlab::vms::{create_job_vm, destroy_expired_vms, destroy_job_vm, find_job_vm, plan_job_vm};
use foundry::host::Domains;

const PAST: &str = "2026-01-02T02:59:59Z";

fn vm(job: &Job) -> JobVm {
    JobVm::of_job(&config(), job)
}

fn create(bench: &Bench, job: &Job) -> Result<String, foundry::Error> {
    let context = bench.context();
    let plan = plan_job_vm(&context, &config(), (job, &vm(job)), KEY)?;
    create_job_vm(&context, job, &plan).map(|_| vm(job).name)
}

fn destroy(bench: &Bench, job: &Job) -> Option<String> {
    destroy_job_vm(&bench.context(), &vm(job)).unwrap().map(|domain| domain.name)
}

fn reap(bench: &Bench) -> Vec<String> {
    let (destroyed, failures) = destroy_expired_vms(&bench.context(), &config()).unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    let mut names: Vec<String> = destroyed.into_iter().map(|domain| domain.name).collect();
    names.sort();
    names
}

fn set_metadata(bench: &Bench, name: &str, kind: &str, key: &str, value: &str) {
    bench.edit_record(name, |record| record["manifest"]["metadata"][kind][key] = value.into());
}

#[test]
fn each_job_has_its_own_vm_and_destroys_no_other() {
    let bench = Bench::new();
    let (first, second) = (job(1), job(2));
    for job in [&first, &second] {
        let name = create(&bench, job).unwrap();
        let domain = bench.host.domain(&name).unwrap().unwrap();
        assert!(domain.state.is_active());
        assert_eq!(bench.record(&name).manifest.metadata.labels["gitlab-job"], job.id.to_string());
    }
    assert_eq!(destroy(&bench, &first).as_deref(), Some("gitlab-1"));
    assert_eq!(destroy(&bench, &first), None, "a second cleanup has nothing to do");
    assert!(find_job_vm(&bench.context(), &vm(&second)).unwrap().is_some());
    assert_eq!(destroy(&bench, &second).as_deref(), Some("gitlab-2"));
    assert_eq!(bench.host.fingerprint(), *neighbours_alone());
}

/// GitLab Runner tries a failed preparation again.
#[test]
fn second_try_of_a_job_destroys_what_the_first_left() {
    let bench = Bench::new();
    let job = job(1);
    create(&bench, &job).unwrap();
    let first = bench.host.domain("gitlab-1").unwrap().unwrap().uuid;
    assert_eq!(create(&bench, &job).unwrap_err().code(), Code::NameTaken);
    assert!(destroy(&bench, &job).is_some());
    create(&bench, &job).unwrap();
    assert_ne!(bench.host.domain("gitlab-1").unwrap().unwrap().uuid, first);
}

#[test]
fn vm_of_that_name_without_the_labels_is_left_alone() {
    let bench = Bench::new();
    bench.create(&plan_with(SMALL, &[("name: small", "name: gitlab-1")])).unwrap();
    let before = bench.host.fingerprint();
    assert_eq!(destroy(&bench, &job(1)), None);
    assert_eq!(create(&bench, &job(1)).unwrap_err().code(), Code::NameTaken);
    set_metadata(&bench, "gitlab-1", "labels", "gitlab-job", "1");
    assert_eq!(destroy(&bench, &job(1)), None, "one label is not enough");
    set_metadata(&bench, "gitlab-1", "annotations", DEADLINE, PAST);
    assert_eq!(reap(&bench), [""; 0]);
    bench.edit_record("gitlab-1", |record| {
        for kind in ["labels", "annotations"] {
            record["manifest"]["metadata"].as_object_mut().unwrap().remove(kind);
        }
    });
    assert_eq!(bench.host.fingerprint(), before);
}

#[test]
fn domain_of_somebody_else_is_left_alone() {
    let bench = Bench::new();
    let xml = crate::support::bench::foreign("gitlab-1", "/pool/vms/x");
    bench.host.define_domain(&xml).unwrap();
    assert_eq!(destroy(&bench, &job(1)), None);
    assert_eq!(reap(&bench), [""; 0]);
    assert!(bench.host.domain("gitlab-1").unwrap().is_some());
}

#[test]
fn expired_vms_of_this_executor_are_destroyed_and_no_others() {
    let bench = Bench::new();
    for id in 1..=5 {
        create(&bench, &job(id)).unwrap();
    }
    assert_eq!(reap(&bench), [""; 0], "all deadlines are ahead");
    set_metadata(&bench, "gitlab-1", "annotations", DEADLINE, PAST);
    set_metadata(&bench, "gitlab-2", "annotations", DEADLINE, "yesterday");
    for (name, label) in [("gitlab-3", "other"), ("gitlab-4", "gitlab")] {
        set_metadata(&bench, name, "annotations", DEADLINE, PAST);
        set_metadata(&bench, name, "labels", "gitlab-executor", label);
    }
    // A preparation that was killed leaves a VM that is half made.
    bench.edit_record("gitlab-4", |record| record["state"] = "creating".into());
    bench.bury_maker("gitlab-4");
    assert_eq!(reap(&bench), ["gitlab-1", "gitlab-4"]);
    let left: Vec<String> =
        bench.host.domains(false).unwrap().into_iter().map(|domain| domain.name).collect();
    assert_eq!(left.iter().filter(|name| name.starts_with("gitlab-")).count(), 3, "{left:?}");
}

#[test]
fn image_of_a_job_is_allowed_and_exists() {
    let bench = Bench::new();
    let with = |image: &str| {
        let mut job = job(1);
        job.image = Some(image.into());
        job
    };
    for image in ["debian-13", "web_boot2", "/pool/images/web_boot"] {
        assert_eq!(create(&bench, &with(image)).unwrap_err().code(), Code::JobImageRefused, "{image}");
    }
    assert_eq!(bench.host.fingerprint(), *neighbours_alone());
    create(&bench, &with("web_boot")).unwrap();
    assert!(bench.record("gitlab-1").image.unwrap().contains("web_boot"));
}
