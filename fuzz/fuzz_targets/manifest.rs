//! Any text is a manifest or an error with a place, never a panic, and a valid plan can be rendered.
#![no_main]

use foundry::operations::Settings;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(manifests) = foundry::manifest::load(text, "fuzz.yaml") else { return };
    for manifest in manifests {
        let _ = foundry::plan::VmPlan::from_manifest(&manifest, &Settings::default().defaults(None));
    }
});
