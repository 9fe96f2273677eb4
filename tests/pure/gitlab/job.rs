//! The job of the environment, its image, its VM's manifest, and the exit codes.

use std::path::PathBuf;
use std::time::Duration;

use super::{config, job, read_job};
use crate::support::manifests::{KEY, defaults};
use foundry::gitlab::exit_codes::ExitCodes;
use foundry::gitlab::image_rules::ImageRules;
use foundry::gitlab::job_vm::{DEADLINE, JobVm, is_expired};
use foundry::manifest::Metadata;
use foundry::plan::VmPlan;
use foundry::{Code, Error};

const RESPONSE: &str = r#"{"id": 5678, "token": "secret-token", "job_info": {"project_id": 9, "name": "test"},
    "runner_info": {"timeout": 120}, "variables": [{"key": "CI_JOB_ID", "value": "1"}]}"#;

#[test]
fn job_sets_its_variables_but_not_its_number() {
    let variables = [
        ("CUSTOM_ENV_CI_JOB_ID", "1"),
        ("CUSTOM_ENV_CI_PROJECT_ID", "2"),
        ("CUSTOM_ENV_CI_JOB_TIMEOUT", "99999999"),
    ];
    let job = read_job(&variables, Some(RESPONSE)).unwrap();
    assert_eq!((job.id, job.project, job.timeout), (5678, Some(9), Some(Duration::from_secs(120))));
    // A runner that is too old for the file.
    let job = read_job(&variables, None).unwrap();
    assert_eq!((job.id, job.project), (1, Some(2)));
    assert_eq!(job.timeout, Some(Duration::from_secs(31 * 24 * 3600)), "GitLab has no longer ones");
}

#[test]
fn number_of_a_job_is_digits_and_nothing_else() {
    for id in ["", " 1", "1\n2", "+1", "-1", "1;reboot", "１", "0x1", "18446744073709551616", "../1"] {
        let error = read_job(&[("CUSTOM_ENV_CI_JOB_ID", id)], None).unwrap_err();
        assert_eq!(error.code(), Code::JobUnknown, "{id:?}");
    }
    assert_eq!(read_job(&[], None).unwrap_err().code(), Code::JobUnknown);
    for response in ["", "{}", "{\"id\": \"1\"}", "{\"id\": -1}", "{\"id\": 1, \"token\": secret-token}"] {
        let error = read_job(&[("CUSTOM_ENV_CI_JOB_ID", "1")], Some(response)).unwrap_err();
        assert_eq!(error.code(), Code::JobUnknown, "{response:?}");
        assert!(!format!("{error:?}").contains("secret-token"), "{error:?}");
    }
}

#[test]
fn other_values_of_a_job_are_left_out_if_they_are_not_what_they_should_be() {
    let variables = [
        ("CUSTOM_ENV_CI_JOB_ID", "1"),
        ("CUSTOM_ENV_CI_SERVER_HOST", "a\nb"),
        ("CUSTOM_ENV_CI_RUNNER_ID", "1 2"),
        ("CUSTOM_ENV_CI_PIPELINE_ID", "\u{202e}"),
        ("CUSTOM_ENV_CI_JOB_TIMEOUT", "soon"),
        ("CUSTOM_ENV_CI_JOB_IMAGE", ""),
        ("CUSTOM_ENV_CI_JOB_SERVICES", ""),
    ];
    let job = read_job(&variables, None).unwrap();
    assert_eq!(
        (job.server, job.runner, job.pipeline, job.timeout, job.image),
        (None, None, None, None, None)
    );
    assert!(!job.has_services);
}

#[test]
fn files_of_a_job_are_in_its_own_directory() {
    let file = |directory: &str| {
        read_job(&[("CUSTOM_ENV_CI_JOB_ID", "7"), ("TMPDIR", directory)], None).unwrap().file("key")
    };
    assert_eq!(
        file("/tmp/custom-executor1").unwrap(),
        PathBuf::from("/tmp/custom-executor1/foundry-job-7-key")
    );
    assert_eq!(file("tmp").unwrap_err().code(), Code::JobUnknown);
    assert_eq!(job(7).file("key").unwrap_err().code(), Code::JobUnknown);
}

#[test]
fn job_gets_an_image_that_is_allowed() {
    let rules = ImageRules::new(vec!["debian-*".into(), "web?".into(), "*.qcow2".into()]).unwrap();
    for image in ["debian-13", "debian-", "web1", "golden.qcow2", "base"] {
        assert_eq!(rules.choose(Some(image), Some("base")).unwrap(), Some(image), "{image}");
    }
    assert_eq!(rules.choose(None, Some("base")).unwrap(), Some("base"));
    // The template's image may be a path; that of a job never is.
    assert_eq!(rules.choose(Some("/srv/base"), Some("/srv/base")).unwrap(), Some("/srv/base"));
    for image in [
        "web",
        "ubuntu",
        "Debian-13",
        "/etc/x.qcow2",
        "../x.qcow2",
        "pool:x.qcow2",
        "-x.qcow2",
        ".x.qcow2",
        "a\nb.qcow2",
        "debian-13\n",
        "debian-13 ",
        "debian:13",
        "ä.qcow2",
    ] {
        let error = rules.choose(Some(image), Some("base")).unwrap_err();
        assert_eq!(error.code(), Code::JobImageRefused, "{image:?}");
        assert!(!error.message().contains('\n'), "{error:?}");
    }
    let nothing = ImageRules::default().choose(Some("debian-13"), None).unwrap_err();
    assert_eq!(nothing.cause(), Some("allowed images: none but the template's"));
    assert_eq!(ImageRules::new(vec!["*".into(), "a/*".into()]), Err(1));
}

#[test]
fn vm_of_a_job_says_whose_it_is_and_until_when() {
    let (config, mut job) = (config(), job(5678));
    job.image = Some("web_1".into());
    let vm = JobVm::of_job(&config, &job);
    assert_eq!(vm.name, "gitlab-5678");
    let now = "2026-01-02T03:04:05Z";
    let manifest = vm.manifest(&config, &job, KEY, now.parse().unwrap()).unwrap();
    let labels: Vec<String> =
        manifest.metadata.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "gitlab-executor=gitlab",
            "gitlab-job=5678",
            "gitlab-pipeline=56",
            "gitlab-project=34",
            "gitlab-runner=12",
            "gitlab-server=gitlab.example.com"
        ]
    );
    assert_eq!(
        manifest.metadata.annotations[DEADLINE], "2026-01-02T05:04:05Z",
        "an hour for the job, and one more"
    );
    assert_eq!(manifest.spec.autostart, Some(false));
    assert_eq!(manifest.spec.boot_disk.as_ref().unwrap().image.as_deref(), Some("web_1"));
    let plan = VmPlan::from_manifest(&manifest, &defaults()).unwrap();
    assert_eq!(plan.seed.unwrap().ssh_keys, [KEY]);
    assert!(vm.is_described_by(&manifest.metadata));

    let expired = |metadata: &Metadata, now: &str| is_expired(&config, metadata, now.parse().unwrap());
    assert!(!expired(&manifest.metadata, "2026-01-02T05:04:05Z"));
    assert!(expired(&manifest.metadata, "2026-01-02T05:04:06Z"));
    job.timeout = None;
    let manifest = vm.manifest(&config, &job, KEY, now.parse().unwrap()).unwrap();
    assert_eq!(manifest.metadata.annotations[DEADLINE], "2026-01-02T05:04:05Z", "the configuration's hour");
}

#[test]
fn vm_of_another_job_executor_or_server_is_not_the_jobs() {
    let config = config();
    let vm = JobVm::of_job(&config, &job(7));
    let manifest = vm.manifest(&config, &job(7), KEY, "2026-01-02T03:04:05Z".parse().unwrap()).unwrap();
    for (label, value) in
        [("gitlab-job", "8"), ("gitlab-executor", "other"), ("gitlab-server", "gitlab.example.org")]
    {
        let mut metadata = manifest.metadata.clone();
        assert!(vm.is_described_by(&metadata));
        metadata.labels.insert(label.into(), value.into());
        assert!(!vm.is_described_by(&metadata), "{label}");
        metadata.labels.remove(label);
        assert!(!vm.is_described_by(&metadata), "without {label}");
    }
}

fn codes(variables: &[(&str, &str)]) -> ExitCodes {
    ExitCodes::read(&|name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn exit_codes_are_those_of_the_runner() {
    let refused = Error::new(Code::JobImageRefused, "no");
    let broken = Error::new(Code::NotReady, "no");
    let given = codes(&[
        ("BUILD_FAILURE_EXIT_CODE", "11"),
        ("SYSTEM_FAILURE_EXIT_CODE", "12"),
        ("BUILD_EXIT_CODE_FILE", "/t/code"),
    ]);
    assert_eq!((given.of_script(0), given.of_script(1), given.of_script(255)), (0, 11, 11));
    assert_eq!((given.of_error(&refused), given.of_error(&broken)), (11, 12));
    assert_eq!(given.script_code_file, Some(PathBuf::from("/t/code")));
    // A failure never ends with 0, whatever the environment says.
    for wrong in ["0", "", "-1", "256", "one"] {
        let given = codes(&[("BUILD_FAILURE_EXIT_CODE", wrong), ("SYSTEM_FAILURE_EXIT_CODE", wrong)]);
        assert_eq!((given.of_script(7), given.of_error(&broken)), (1, 2), "{wrong:?}");
        assert_eq!(given.script_code_file, None);
    }
}
