//! Tests of the in-memory host itself: faults, hooks, guests. The rest is in `tests/pure/host_contract.rs`.

use super::*;
use crate::libvirt_xml::DomainDescription;
use crate::{
    AddressSource, DomainState, Domains, GuestAddress, Guests, HostError, Pools, Stopped, Transfers, View,
    Volumes,
};
use foundry_core::error::{Code, Kind};
use foundry_core::record::VolumeRef;
use foundry_fetch::content::Content;

fn domain(name: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory>65536</memory><os firmware='efi'><type>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    )
}

fn volume(name: &str, format: &str, capacity: u64) -> String {
    format!(
        "<volume><name>{name}</name><capacity>{capacity}</capacity><target><format type='{format}'/></target></volume>"
    )
}

fn host() -> MemoryHost {
    MemoryHost::new().with_pool("vms", "/pool/vms")
}

/// Defines a domain and a volume, and rolls back on failure: the pattern of a creation.
fn make_two(host: &MemoryHost) -> Result<()> {
    let uuid = host.define_domain(&domain("web", ""))?;
    let made = host.create_volume("vms", &volume("web_boot", "qcow2", 1 << 30)).map(drop);
    made.inspect_err(|_| {
        host.delete_volume(&VolumeRef::new("vms", "web_boot")).unwrap();
        host.undefine(uuid).unwrap();
    })
}

#[test]
fn a_loop_over_all_refusals_finds_what_stays_behind() {
    let mut left = Vec::new();
    for n in 0.. {
        let host = host();
        let before = host.fingerprint();
        host.fail_at(n, Effect::RefuseAfterEffect);
        let made = make_two(&host);
        if !host.fault_hit() {
            made.unwrap();
            break;
        }
        made.unwrap_err();
        left.push(host.changes_since(&before).len());
    }
    // The define that takes effect and is reported as refused leaves its domain: `make_two` does not
    // look. The volume's counterpart is cleaned up.
    assert_eq!(left, [1, 0]);
}

#[test]
fn effects_come_before_or_after_and_may_stay() {
    for effect in Effect::ALL {
        let host = host();
        let before = host.fingerprint();
        host.fail_at(0, effect);
        let error = host.stop_pool("vms").unwrap_err();
        assert_eq!(
            error.outcome_unknown(),
            !matches!(effect, Effect::RefuseBefore | Effect::RefuseAfterEffect)
        );
        assert_eq!(host.changes_since(&before).is_empty(), effect.comes_before(), "{effect:?}");
        assert_eq!(host.pools().is_err(), effect.breaks_connection(), "{effect:?}");
        host.heal();
        host.pools().unwrap();
    }
}

#[test]
fn a_broken_connection_lets_nothing_through() {
    let host = host();
    host.fail_at(0, Effect::BrokenAfterEffect);
    let error = host.create_volume("vms", &volume("a", "raw", 1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection);
    let Err(HostError::Lost { .. }) = host.delete_volume(&VolumeRef::new("vms", "a")) else {
        panic!("it got through")
    };
    assert_eq!(host.files(), ["/pool/vms/a"], "the first call took effect, the second did not");
}

#[test]
fn calls_are_refused_by_name_or_by_name_and_object() {
    let host = host();
    host.fail_calls_named("delete_volume vms/a");
    host.delete_volume(&VolumeRef::new("vms", "a")).unwrap_err();
    host.delete_volume(&VolumeRef::new("vms", "ab")).unwrap();
    assert_eq!(host.calls(), ["delete_volume vms/a", "delete_volume vms/ab"]);
    host.forget_calls();
    host.fail_calls_named("delete_volume");
    host.delete_volume(&VolumeRef::new("vms", "ab")).unwrap_err();
    assert!(host.fault_hit());
    assert_eq!(host.call_count(), 1);
}

#[test]
fn numbers_count_from_the_next_call() {
    let host = host();
    host.pools().unwrap();
    host.fail_at(1, Effect::RefuseBefore);
    host.pools().unwrap();
    host.pools().unwrap_err();
    host.pools().unwrap();
}

#[test]
fn a_hook_acts_between_two_calls_and_is_not_counted() {
    let host = host();
    host.on_call(1, |host| {
        host.define_domain(&domain("web", "")).unwrap();
    });
    assert!(host.domain("web").unwrap().is_none());
    let refusal = host.define_domain(&domain("web", "")).unwrap_err();
    assert!(refusal.detail().unwrap().contains("already exists with uuid"));
    assert_eq!(refusal.cause().as_deref(), Some("the name 'web' is taken"));
    assert_eq!(host.calls(), ["domain web", "define_domain web"]);
}

#[test]
fn refusals_say_what_was_asked_of_what() {
    let error = host().create_volume("nope", &volume("a", "raw", 1)).unwrap_err();
    assert_eq!(error.to_string(), "cannot create volume 'a' in pool 'nope'");
    assert_eq!(error.kind(), Kind::Storage);
    let uuid = Uuid::from_u128(7);
    assert_eq!(host().start(uuid).unwrap_err().to_string(), format!("cannot start domain '{uuid}'"));
}

#[test]
fn a_guest_shuts_down_in_its_own_time() {
    for (what, states) in [
        (OnShutdown::AtOnce, ["shut off", "shut off", "shut off"]),
        (OnShutdown::AfterLooks(2), ["running", "running", "shut off"]),
        (OnShutdown::Never, ["running", "running", "running"]),
    ] {
        let host = host().with_guest("web", Guest::new().on_shutdown(what));
        let uuid = host.define_domain(&domain("web", "")).unwrap();
        host.start(uuid).unwrap();
        assert_eq!(host.state(uuid).unwrap().unwrap().state, DomainState::Running);
        host.request_shutdown(uuid).unwrap();
        let seen: Vec<_> = (0..3).map(|_| host.state(uuid).unwrap().unwrap().state.to_string()).collect();
        assert_eq!(seen, states);
    }
}

#[test]
fn a_guest_that_the_hypervisor_stopped_does_not_go_on() {
    let host = host().with_guest("web", Guest::new().stopped_by_error());
    let uuid = host.define_domain(&domain("web", "")).unwrap();
    host.start(uuid).unwrap();
    host.resume(uuid).unwrap();
    let web = host.domain("web").unwrap().unwrap();
    assert_eq!((web.state, web.stopped_by_error()), (DomainState::Paused, true));
    host.request_shutdown(uuid).unwrap_err();
    host.force_off(uuid).unwrap();
    assert_eq!(host.domain("web").unwrap().unwrap().state, DomainState::ShutOff);
}

#[test]
fn addresses_and_agent_come_after_a_while_and_only_while_it_runs() {
    let address = GuestAddress { mac: "be:ef:0a:00:00:01".into(), ip: [10, 0, 0, 1].into(), prefix: 24 };
    let guest = Guest::new()
        .address(AddressSource::Lease, 1, address.clone())
        .agent_answer("guest-ping", "{\"return\":{}}")
        .agent_after(1);
    let host = host().with_guest("web", guest);
    let uuid = host.define_domain(&domain("web", "")).unwrap();
    let lease = || host.addresses(uuid, AddressSource::Lease).unwrap();
    let ask = || host.agent(uuid, "{\"execute\":\"guest-ping\"}", std::time::Duration::ZERO).unwrap();
    assert_eq!((lease(), ask()), (vec![], None));
    host.start(uuid).unwrap();
    assert_eq!((lease(), ask()), (vec![], None));
    assert_eq!((lease(), ask().is_some()), (vec![address], true));
    assert!(host.addresses(uuid, AddressSource::Arp).unwrap().is_empty());
}

#[test]
fn a_running_domain_shows_its_chain_and_a_hole_in_it_stops_a_start() {
    let host = host().with_image("vms", "base", "qcow2", 1 << 30).with_overlay(
        "vms",
        "web_boot",
        2 << 30,
        "/pool/vms/base",
    );
    let disk = "<disk><source file='/pool/vms/web_boot'/><target dev='vda'/></disk>";
    let uuid = host.define_domain(&domain("web", disk)).unwrap();
    host.remove_file("/pool/vms/base");
    assert!(host.start(uuid).unwrap_err().cause().unwrap().contains("/pool/vms/base"));
    let host = host.with_image("vms", "base", "qcow2", 1 << 30);
    host.start(uuid).unwrap();
    let chain = |view| {
        let xml = host.domain_xml(uuid, view).unwrap().unwrap();
        DomainDescription::read(&xml).unwrap().disks[0].backing_chain.clone()
    };
    assert_eq!(chain(View::Current), ["/pool/vms/base"]);
    assert!(chain(View::Config).is_empty());
}

#[test]
fn a_start_needs_its_network_and_bridge() {
    let on = |kind: &str, source: &str| {
        domain("web", &format!("<interface type='{kind}'><source {kind}='{source}'/></interface>"))
    };
    let bridge = |name: &str| Bridge { name: name.into(), ..Bridge::default() };
    for (xml, starts) in [
        (on("network", "default"), true),
        (on("network", "off"), false),
        (on("network", "absent"), false),
        (on("bridge", "br0"), true),
        (on("bridge", "br1"), false),
    ] {
        let host =
            host().with_network("default", true).with_network("off", false).with_bridges(&[bridge("br0")]);
        let uuid = host.define_domain(&xml).unwrap();
        assert_eq!(host.start(uuid).is_ok(), starts, "{xml}");
    }
}

#[test]
fn a_volume_needs_room() {
    let host = host().with_space(1 << 20);
    let refused = host.create_volume("vms", &volume("a", "raw", 2 << 20)).unwrap_err();
    assert_eq!(refused.code(), Code::OutOfSpace, "{refused:?}");
    host.create_volume("vms", &volume("a", "qcow2", 2 << 20)).unwrap();
    let pool = host.pool("vms").unwrap().unwrap();
    assert_eq!(pool.allocation.0 + pool.available.0, pool.capacity.0);
}

#[test]
fn a_file_that_libvirt_has_not_seen_is_in_the_way_and_no_volume() {
    let host = host().with_file("/pool/vms/a", b"x");
    assert_eq!(host.volume(&VolumeRef::new("vms", "a")).unwrap(), None);
    host.create_volume("vms", &volume("a", "raw", 1)).unwrap_err();
    host.refresh_pool("vms").unwrap();
    assert!(host.volume(&VolumeRef::new("vms", "a")).unwrap().is_some());
}

#[test]
fn an_upload_that_the_user_stops_says_so() {
    struct Stops;
    impl std::io::Read for Stops {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other(Stopped))
        }
    }
    impl Content for Stops {}
    let host = host().with_image("vms", "a", "raw", 10);
    assert_eq!(
        host.upload_all(&VolumeRef::new("vms", "a"), &mut Stops, 10).unwrap_err().kind(),
        Kind::Interrupted
    );
}

#[test]
fn fingerprints_print_one_thing_a_line() {
    let host = host().with_image("vms", "a", "raw", 10).with_foreign_domain(&domain("other", ""));
    let before = host.fingerprint();
    assert_eq!(before.lines().count(), 4);
    host.delete_volume(&VolumeRef::new("vms", "a")).unwrap();
    let changes = host.changes_since(&before);
    assert!(
        changes.len() == 1 && changes[0].starts_with("- file /pool/vms/a: raw, capacity 10"),
        "{changes:?}"
    );
    assert_eq!(format!("{before:?}").lines().count(), 5);
    host.set_state("other", DomainState::Suspended);
    assert!(host.changes_since(&before).iter().any(|line| line.contains("pmsuspended")));
}
