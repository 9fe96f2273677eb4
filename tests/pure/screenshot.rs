//! Pictures of screens.

use crate::support::bench::{Bench, whole};
use crate::support::manifests::{WEB, plan, plan_with};
use foundry::Code;
use foundry::host::Domains;
use foundry::operations::change::{ApplyOptions, WantedVm, apply_vm};
use foundry::operations::vm::create::create_vm;
use foundry::operations::vm::screenshot::take_screenshot;

#[test]
fn a_picture_needs_a_screen_and_a_vm_that_runs() {
    let bench = Bench::new();
    let context = bench.context();
    let code = || take_screenshot(&context, "web").unwrap_err().code();
    assert_eq!(code(), Code::VmMissing);
    create_vm(&context, &plan(WEB)).unwrap();
    let error = take_screenshot(&context, "web").unwrap_err();
    assert_eq!(error.code(), Code::ScreenMissing);
    for said in ["its manifest has no spec.graphics", "foundry logs web", "nothing was changed"] {
        assert!(whole(&error).contains(said), "{said}: {}", whole(&error));
    }
    // It has a screen from its next start on.
    let with = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  graphics: {}")]);
    apply_vm(&context, &WantedVm::of_manifest(with), ApplyOptions::default()).unwrap();
    assert_eq!(code(), Code::ScreenMissing);
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.force_off(uuid).unwrap();
    assert_eq!(code(), Code::GuestOff);
    bench.host.start(uuid).unwrap();
    let picture = take_screenshot(&context, "web").unwrap();
    assert_eq!((picture.media_type.as_str(), &picture.bytes[1..4]), ("image/png", b"PNG".as_slice()));
    // A VM that goes off between two looks is off, whatever libvirt calls that.
    bench.host.fail_calls_named("screenshot");
    assert!(whole(&take_screenshot(&context, "web").unwrap_err()).contains("picture"));
}
