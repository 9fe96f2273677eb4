//! Whatever can be planned can be rendered: XML of the same shape, YAML that reads as it was meant, an image with
//! three files. What is checked is what the tests of hostile manifests check.
#![no_main]

use foundry::operations::Settings;
use foundry::plan::VmPlan;

#[allow(dead_code, reason = "the tests take more of it")]
#[path = "../../tests/support/rendered.rs"]
mod rendered;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(manifests) = foundry::manifest::load(text, "fuzz.yaml") else { return };
    for manifest in manifests {
        let Ok(plan) = VmPlan::from_manifest(&manifest, &Settings::default().defaults(None)) else { continue };
        let rendered = rendered::rendered(&plan);
        rendered::check(&plan, &rendered);
        rendered::check_image(&rendered);
    }
});
