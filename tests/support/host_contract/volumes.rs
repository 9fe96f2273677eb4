//! Volumes: what they are called, how large they are, what they lie on.

use foundry::Kind;
use foundry::record::VolumeRef;
use foundry::units::Bytes;

use super::bench::{Bench, cases, refused, volume_xml};

cases! {
    an_absent_volume_is_none;
    a_volume_is_as_asked;
    a_volume_is_found_by_name_by_path_and_in_the_list;
    a_volume_name_is_taken_once;
    a_volume_that_was_deleted_can_be_made_again;
    names_with_blanks_and_markup_are_names;
    names_that_leave_the_directory_are_refused needs Files;
    a_volume_that_makes_no_sense_is_refused;
    an_overlay_knows_what_it_lies_on;
    an_overlay_on_nothing_is_refused needs Files;
    an_overlay_on_another_format_than_said_is_refused needs Files;
    a_raw_volume_takes_what_it_is_told_to needs Files;
    a_volume_without_room_is_refused needs Files;
    a_volume_grows_and_does_not_shrink needs Resize;
    a_clone_is_as_large_as_its_source needs Files;
    a_clone_of_nothing_or_onto_something_is_refused;
}

fn an_absent_volume_is_none(bench: &Bench<'_>) {
    let pool = bench.pool();
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "absent")).unwrap(), None);
    assert_eq!(bench.host().volume_at(&(bench.directory("pool") + "/absent")).unwrap(), None);
    assert_eq!(bench.host().volume_at("/nowhere at all").unwrap(), None);
    assert_eq!(bench.host().volumes(&pool).unwrap(), []);
    bench.host().delete_volume(&VolumeRef::new(&pool, "absent")).unwrap();
}

fn a_volume_is_as_asked(bench: &Bench<'_>) {
    let pool = bench.pool();
    for (name, format, capacity) in [("a", "qcow2", 5 << 30), ("b", "raw", 12_345), ("c.iso", "raw", 376_832)]
    {
        let made = bench.create(&pool, name, format, capacity);
        assert_eq!((made.pool.as_str(), made.name.as_str()), (pool.as_str(), name));
        assert_eq!((made.format.as_str(), made.capacity), (format, Bytes(capacity)));
        assert_eq!(made.path, format!("{}/{name}", bench.directory("pool")));
        assert_eq!((made.backing, made.mode), (None, Some(0o600)));
    }
}

fn a_volume_is_found_by_name_by_path_and_in_the_list(bench: &Bench<'_>) {
    let pool = bench.pool();
    let made = bench.create(&pool, "a", "qcow2", 1 << 30);
    let found = bench.volume(&pool, "a");
    assert_eq!((&found.path, &found.format, found.capacity), (&made.path, &made.format, made.capacity));
    assert_eq!(bench.host().volume_at(&made.path).unwrap().as_ref(), Some(&found));
    assert_eq!(bench.host().volumes(&pool).unwrap(), [found]);
}

fn a_volume_name_is_taken_once(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "a", "raw", 4096);
    let before = bench.volume(&pool, "a");
    refused(bench.host().create_volume(&pool, &volume_xml("a", "qcow2", 8192, None)), Kind::Storage);
    assert_eq!(bench.volume(&pool, "a"), before);
}

fn a_volume_that_was_deleted_can_be_made_again(bench: &Bench<'_>) {
    let pool = bench.pool();
    for capacity in [4096, 8192] {
        assert_eq!(bench.create(&pool, "a", "raw", capacity).capacity, Bytes(capacity));
        bench.host().delete_volume(&VolumeRef::new(&pool, "a")).unwrap();
        assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
        bench.host().delete_volume(&VolumeRef::new(&pool, "a")).unwrap();
    }
}

fn names_with_blanks_and_markup_are_names(bench: &Bench<'_>) {
    let pool = bench.pool();
    for name in ["with blank", "<b>&amp;'", "ünï", "-x", ".hidden", "web_1_boot", "%s"] {
        let made = bench.create(&pool, name, "raw", 4096);
        assert_eq!(made.name, name);
        assert_eq!(bench.host().volume_at(&made.path).unwrap().unwrap().name, name);
        bench.host().delete_volume(&VolumeRef::new(&pool, name)).unwrap();
        assert_eq!(bench.host().volume(&VolumeRef::new(&pool, name)).unwrap(), None);
    }
}

/// The test driver takes them: foundry's own names cannot hold such a thing.
fn names_that_leave_the_directory_are_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    for name in ["../x", "a/b", "/etc/x", ".", ".."] {
        refused(bench.host().create_volume(&pool, &volume_xml(name, "raw", 4096, None)), Kind::Storage);
        assert_eq!(bench.host().volume(&VolumeRef::new(&pool, name)).unwrap(), None);
    }
    assert_eq!(bench.host().volumes(&pool).unwrap(), []);
}

fn a_volume_that_makes_no_sense_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    let good = volume_xml("a", "raw", 4096, None);
    let no_capacity = good.replace("<capacity unit='bytes'>4096</capacity>", "");
    for bad in [no_capacity, good.replace("'raw'", "'punchcard'")] {
        refused(bench.host().create_volume(&pool, &bad), Kind::Storage);
    }
    for unreadable in ["no XML", "<volume><name>a", "<volume/>"] {
        bench.host().create_volume(&pool, unreadable).unwrap_err();
    }
    assert_eq!(bench.host().volumes(&pool).unwrap(), []);
}

fn an_overlay_knows_what_it_lies_on(bench: &Bench<'_>) {
    let pool = bench.pool();
    let base = bench.create(&pool, "base & more.img", "qcow2", 1 << 30);
    let overlay = volume_xml("a", "qcow2", 2 << 30, Some((&base.path, "qcow2")));
    let made = bench.host().create_volume(&pool, &overlay).unwrap();
    assert_eq!((made.backing.as_deref(), made.capacity), (Some(base.path.as_str()), Bytes(2 << 30)));
    bench.host().refresh_pool(&pool).unwrap();
    assert_eq!(bench.volume(&pool, "a").backing, Some(base.path));
}

fn an_overlay_on_nothing_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    let absent = bench.directory("pool") + "/absent";
    let overlay = volume_xml("a", "qcow2", 1 << 30, Some((&absent, "qcow2")));
    refused(bench.host().create_volume(&pool, &overlay), Kind::Storage);
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
}

fn an_overlay_on_another_format_than_said_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    let base = bench.create(&pool, "base", "raw", 1 << 20);
    let overlay = volume_xml("a", "qcow2", 1 << 30, Some((&base.path, "qcow2")));
    refused(bench.host().create_volume(&pool, &overlay), Kind::Storage);
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
}

fn a_raw_volume_takes_what_it_is_told_to(bench: &Bench<'_>) {
    let (pool, size) = (bench.pool(), 4 << 20);
    assert!(bench.create(&pool, "full", "raw", size).allocation.0 >= size);
    let sparse =
        volume_xml("sparse", "raw", size, None).replace("<target>", "<allocation>0</allocation><target>");
    assert!(bench.host().create_volume(&pool, &sparse).unwrap().allocation.0 < size);
    assert!(bench.create(&pool, "image", "qcow2", size).allocation.0 < size);
}

fn a_volume_without_room_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    let too_much = bench.pool_now(&pool).available.0 + (1 << 40);
    refused(bench.host().create_volume(&pool, &volume_xml("a", "raw", too_much, None)), Kind::Storage);
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
    bench.create(&pool, "a", "raw", 4096);
}

fn a_volume_grows_and_does_not_shrink(bench: &Bench<'_>) {
    let pool = bench.pool();
    for (name, format) in [("a", "qcow2"), ("b", "raw")] {
        bench.create(&pool, name, format, 4 << 20);
        bench.host().resize_volume(&VolumeRef::new(&pool, name), Bytes(8 << 20)).unwrap();
        assert_eq!(bench.volume(&pool, name).capacity, Bytes(8 << 20));
        refused(bench.host().resize_volume(&VolumeRef::new(&pool, name), Bytes(4 << 20)), Kind::Storage);
        assert_eq!(bench.volume(&pool, name).capacity, Bytes(8 << 20));
    }
    refused(bench.host().resize_volume(&VolumeRef::new(&pool, "absent"), Bytes(4 << 20)), Kind::Storage);
}

fn a_clone_is_as_large_as_its_source(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "source", "qcow2", 8 << 20);
    for (name, format, asked) in [("a", "qcow2", 8 << 20), ("b", "raw", 8 << 20), ("c", "raw", 512)] {
        let xml = volume_xml(name, format, asked, None);
        let made = bench.host().clone_volume(&pool, &xml, &VolumeRef::new(&pool, "source")).unwrap();
        assert_eq!((made.format.as_str(), made.capacity), (format, Bytes(8 << 20)), "{name}");
    }
}

fn a_clone_of_nothing_or_onto_something_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    bench.create(&pool, "source", "raw", 4096);
    bench.create(&pool, "taken", "raw", 4096);
    let onto = |name, from| {
        bench
            .host()
            .clone_volume(&pool, &volume_xml(name, "raw", 4096, None), &VolumeRef::new(&pool, from))
            .map(drop)
    };
    refused(onto("a", "absent"), Kind::Storage);
    refused(onto("taken", "source"), Kind::Storage);
    assert_eq!(bench.host().volume(&VolumeRef::new(&pool, "a")).unwrap(), None);
}
