//! Two creations that want the same address, the second of which nobody could see beforehand.

use crate::support::bench::{Bench, whole};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::Domains;
use foundry::operations::vm::create::dry_run;
use uuid::Uuid;

const LOWEST: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);
const HIGHEST: Uuid = Uuid::from_u128(0xffff_ffff_ffff_4fff_bfff_ffff_ffff_ffff);

/// The definition of a VM `rival` with the address of `web`, which an operation of this process is creating: the one of
/// that bench, for as long as it lives.
fn rival(bench: &Bench, uuid: Uuid) -> String {
    let blueprint = dry_run(&bench.context(), &plan_with(WEB, &[("name: web", "name: rival")])).unwrap();
    let xml = blueprint.domain_xml;
    let own = xml.split("<uuid>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    xml.replace(&own, &uuid.to_string())
}

/// The number of the call before which a creation of `web` has looked at the host and has defined nothing.
fn after_the_preflight() -> usize {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    clean.host.calls().iter().position(|call| call == "define_domain web").unwrap()
}

/// The number of the call with which it looks whether its address is its own.
fn second_look() -> usize {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    clean.host.calls().iter().rposition(|call| call == "domains").unwrap()
}

/// The first rule: of two that see each other the lower UUID has the address, and the other leaves nothing.
#[test]
fn the_higher_one_goes() {
    let bench = Bench::new();
    let xml = rival(&bench, LOWEST);
    bench.host.on_call(after_the_preflight(), move |host| assert!(host.define_domain(&xml).is_ok()));
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    assert!(error.cause().unwrap().contains("VM 'rival' already has the address"), "{}", whole(&error));
    assert_eq!(error.outcome_texts(), ["everything that was made is removed again"]);
    assert!(bench.host.domain("web").unwrap().is_none());
    assert!(bench.host.domain("rival").unwrap().is_some());
    assert!(!bench.host.files().iter().any(|file| file == "/pool/vms/web_boot"));
}

/// The second: the lower one waits for the other, which may have looked before it could be seen. One that goes
/// leaves it the address,
#[test]
fn the_lower_one_waits_until_the_other_is_gone() {
    let bench = Bench::new();
    let xml = rival(&bench, HIGHEST);
    bench.host.on_call(after_the_preflight(), move |host| assert!(host.define_domain(&xml).is_ok()));
    bench.host.on_call(second_look() + 3, |host| host.undefine(HIGHEST).unwrap());
    bench.create(&plan(WEB)).unwrap();
    assert!(bench.host.domain("rival").unwrap().is_none());
}

/// and one that is whole has it.
#[test]
fn the_lower_one_goes_where_the_other_was_done_first() {
    let bench = Bench::new();
    let xml = rival(&bench, HIGHEST);
    bench.host.on_call(after_the_preflight(), move |host| assert!(host.define_domain(&xml).is_ok()));
    bench.host.on_call(second_look() + 3, |host| {
        let record = host.domain("rival").unwrap().unwrap().record.unwrap();
        host.set_record(HIGHEST, &record.replace("\"creating\"", "\"created\"")).unwrap();
    });
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(error.cause().unwrap().contains("VM 'rival' already has the address"), "{}", whole(&error));
    assert!(bench.host.domain("web").unwrap().is_none());
}

/// Of one whose process died nothing will come: it is told as the preflight tells of it.
#[test]
fn a_dead_one_is_not_waited_for() {
    let bench = Bench::new();
    let xml = rival(&bench, HIGHEST);
    let pid = format!("\"pid\":{}", std::process::id());
    // In the XML the record's quotes may be escaped.
    let escaped = pid.replace('"', "&quot;");
    let dead = xml.replace(&pid, "\"pid\":4194305").replace(&escaped, "&quot;pid&quot;:4194305");
    assert_ne!(dead, xml);
    bench.host.on_call(after_the_preflight(), move |host| assert!(host.define_domain(&dead).is_ok()));
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(error.cause().unwrap().contains("VM 'rival' already has the address"), "{}", whole(&error));
}
