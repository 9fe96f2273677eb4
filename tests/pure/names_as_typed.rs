//! A name on the command line means what was typed. libvirt knows names that foundry would never give: with blanks, with
//! capitals, with any letters. What changes a VM never takes another spelling for it; what only looks may.

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, disk_request, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan};
use foundry::host::Domains;
use foundry::operations::disk::{self, attach};
use foundry::operations::vm::{inspect, seed};
use foundry::units::{Bytes, SizeRequest};
use foundry::{Code, Error};

/// What a shell may hand over for `web`, and what is none of it.
const SPELLINGS: [&str; 7] = ["web ", " web", "WEB", "Web", "web\t", "\u{a0}web", "ＷＥＢ"];

/// Everything that changes a VM.
fn each_change(bench: &Bench, name: &str) -> Vec<(&'static str, Error)> {
    let context = bench.context();
    let size = SizeRequest::To(Bytes(900 * GIB));
    vec![
        ("destroy", bench.destroy(name, GENTLE).unwrap_err()),
        ("destroy --force", bench.destroy(name, FORCE).unwrap_err()),
        ("disk attach", attach(&context, &disk_request(name, 1)).unwrap_err()),
        ("disk resize", disk::resize(&context, name, "vdb", size).unwrap_err()),
        ("disk detach", disk::plan_detach(&context, name, "vdb", false).unwrap_err()),
        ("seed eject", seed::plan_eject(&context, name, true).unwrap_err()),
    ]
}

#[test]
fn what_changes_a_vm_takes_no_other_spelling_for_its_name() {
    let bench = Bench::with_web();
    for name in SPELLINGS {
        for (verb, error) in each_change(&bench, name) {
            assert_eq!(error.code(), Code::VmMissing, "{verb} '{name}': {}", whole(&error));
        }
    }
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [&str; 0]);
    let error = bench.destroy("WEB", GENTLE).unwrap_err();
    assert!(whole(&error).contains("did you mean 'web'?"), "{}", whole(&error));
}

/// virsh domrename takes any of these.
#[test]
fn a_domain_that_is_called_like_another_one_but_for_blanks_or_capitals_is_the_one_that_is_meant() {
    for name in ["Web", "web (old) ü", "WEB", "wéb"] {
        let host = host_with_neighbours().with_foreign_domain(&foreign(name, "/pool/vms/web_data-vdx"));
        let bench = Bench::on(host);
        bench.create(&plan(WEB)).unwrap();
        let seen = inspect::get_vm(&bench.context(), name).unwrap();
        assert_eq!((seen.domain.name.as_str(), seen.managed_word()), (name, "no"));
        let error = bench.destroy(name, GENTLE).unwrap_err();
        assert_eq!(error.code(), Code::NotFoundrys, "{}", whole(&error));
        bench.destroy(name, FORCE).unwrap();
        assert!(bench.host.domain(name).unwrap().is_none(), "{name}");
        assert!(bench.host.domain("web").unwrap().is_some(), "{name}");
    }
}

/// A manifest's `Web` makes `web`, and who asks for `Web` then wants to see that.
#[test]
fn who_only_looks_finds_what_a_manifest_of_that_name_makes() {
    let bench = Bench::with_web();
    for name in ["Web", " web", "web "] {
        assert_eq!(inspect::get_vm(&bench.context(), name).unwrap().domain.name, "web");
        assert_eq!(disk::list_disks(&bench.context(), Some(name)).unwrap()[0].vm, "web");
    }
    inspect::get_vm(&bench.context(), "w eb").unwrap_err();
}
