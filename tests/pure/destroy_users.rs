//! What destruction leaves because somebody else's disk lies on it.

use crate::support::bench::{Bench, FORCE, GENTLE, GIB, foreign, host_with_neighbours};
use crate::support::manifests::{WEB, plan};
use foundry::host::{DomainState, Domains, Volumes};

fn is_there(bench: &Bench, path: &str) -> bool {
    bench.host.files().iter().any(|f| f == path)
}

fn volume_xml(name: &str, format: &str, capacity: u64) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{capacity}</capacity><target><format type='{format}'/></target></volume>"
    )
}

/// libvirt shows what a disk lies on only while its domain runs, and a foreign domain has no record: the
/// volumes themselves are asked.
#[test]
fn a_volume_under_a_disk_of_a_foreign_domain_that_is_off_stays() {
    let on_web = |pool: &str| {
        host_with_neighbours()
            .with_pool("ssd", "/pool/ssd")
            .with_foreign_domain(&foreign("clone", &format!("/pool/{pool}/clone.qcow2")))
    };
    let overlay = "<volume><name>clone.qcow2</name><capacity>1073741824</capacity><target><format type='qcow2'/></target>\
                   <backingStore><path>/pool/vms/web_data-vdb</path><format type='qcow2'/></backingStore></volume>";
    for pool in ["foundry-vms", "ssd"] {
        let bench = Bench::on(on_web(pool.trim_start_matches("foundry-")));
        bench.create(&plan(WEB)).unwrap();
        bench.host.create_volume(pool, overlay).unwrap();
        let survey = bench.survey("web", GENTLE).unwrap();
        let why = format!("domain 'clone' uses it too; volume 'clone.qcow2' in pool '{pool}' is based on it");
        assert_eq!(survey.kept_back, [("volume 'web_data-vdb' in pool 'foundry-vms'".to_owned(), why)]);
        bench.destroy("web", GENTLE).unwrap();
        assert!(is_there(&bench, "/pool/vms/web_data-vdb") && !is_there(&bench, "/pool/vms/web_boot"));
    }
}

/// Nobody's disk is a disk all the same, and so is what lies on one that lies on it.
#[test]
fn a_volume_under_overlays_of_nobody_stays() {
    let bench = Bench::with_web();
    for (name, on) in [("middle", "web_data-vdb"), ("top", "middle")] {
        let backing = format!(
            "<backingStore><path>/pool/vms/{on}</path><format type='qcow2'/></backingStore></volume>"
        );
        let xml = volume_xml(name, "qcow2", GIB).replace("</volume>", &backing);
        bench.host.create_volume("foundry-vms", &xml).unwrap();
    }
    bench.destroy("web", FORCE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_data-vdb") && !is_there(&bench, "/pool/vms/web_data-vdc"));
    let told = "left: volume 'web_data-vdb' in pool 'foundry-vms': volume 'middle' in pool 'foundry-vms' and volume 'top' in pool 'foundry-vms' are based on it";
    assert!(bench.told.warnings().contains(&told.to_owned()), "{:?}", bench.told.warnings());
}

/// The disk is in a pool that has not seen it: made by hand, and never refreshed.
#[test]
fn a_disk_that_libvirt_has_not_seen_is_looked_for() {
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&foreign("clone", "/pool/vms/by-hand")));
    bench.create(&plan(WEB)).unwrap();
    let overlay = {
        let other = foundry::host::memory::MemoryHost::new().with_pool("vms", "/pool/vms").with_overlay(
            "vms",
            "by-hand",
            GIB,
            "/pool/vms/web_data-vdb",
        );
        other.content("/pool/vms/by-hand").unwrap()
    };
    bench.host.put_file("/pool/vms/by-hand", &overlay);
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_data-vdb"));
}

/// What is attached for the next start only is not in what runs.
#[test]
fn a_disk_of_the_next_start_counts_too() {
    let bench = Bench::with_web();
    let reader = foreign("reader", "/x");
    bench.host.define_domain(&reader).unwrap();
    bench.host.set_state("reader", DomainState::Running);
    bench.host.define_domain(&reader.replace("'/x'", "'/pool/vms/web_data-vdb'")).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    assert!(is_there(&bench, "/pool/vms/web_data-vdb"));
}
