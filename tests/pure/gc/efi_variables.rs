//! Files with EFI variables.

use super::run_in;
use crate::support::bench::{Bench, foreign, host_with_neighbours};
use foundry::operations::gc::{
    LeftoverAction, LeftoverKind, choose_leftovers, execute_cleanup, find_leftovers,
};
use foundry_host::local::DomainDirectories;

/// Only a regular file of that directory, named as libvirt names it, of no domain by whatever name.
#[test]
fn efi_variables_of_domains_that_are_gone_go_when_named() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().join("nvram"),
        definitions: folder.path().join("qemu"),
        saved: folder.path().join("save"),
    };
    std::fs::create_dir(&places.nvram).unwrap();
    std::fs::create_dir(&places.definitions).unwrap();
    let file = |name: &str| places.nvram.join(name);
    for name in ["gone_VARS.fd", "other_VARS.fd", "odd_VARS.fd", "defined_VARS.fd", "notes.txt"] {
        std::fs::write(file(name), name).unwrap();
    }
    std::os::unix::fs::symlink(file("notes.txt"), file("link_VARS.fd")).unwrap();
    std::fs::create_dir(file("dir_VARS.fd")).unwrap();
    let odd = foreign("strange", "/pool/vms/x")
        .replace("</os>", &format!("<nvram>{}</nvram></os>", file("odd_VARS.fd").display()));
    std::fs::write(places.definitions.join("defined.xml"), foreign("defined", "/x")).unwrap();
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&odd).local());
    let found = find_leftovers(&bench.context(), Some(&places)).unwrap();
    let nvram: Vec<_> =
        found.found.iter().filter(|r| r.kind == LeftoverKind::Nvram).map(|r| (&r.name, r.fate)).collect();
    let gone = file("gone_VARS.fd").display().to_string();
    assert_eq!(nvram, [(&gone, LeftoverAction::WhenNamed)]);
    run_in(&bench, Some(&places), &[]).unwrap();
    assert!(file("gone_VARS.fd").exists());
    for name in
        ["other_VARS.fd", "odd_VARS.fd", "defined_VARS.fd", "link_VARS.fd", "dir_VARS.fd", "notes.txt"]
    {
        let path = file(name).display().to_string();
        let errors = run_in(&bench, Some(&places), &[&gone, &path]).unwrap_err();
        assert!(errors[0].to_string().contains("it does not hold the EFI variables"), "{errors:?}");
    }
    run_in(&bench, Some(&places), &[&gone]).unwrap();
    assert!(!file("gone_VARS.fd").exists());
    let left = std::fs::read_dir(&places.nvram).unwrap().count();
    assert_eq!(left, 6, "nothing else went");
}

/// A definition that cannot be read may be of the domain whose variables these are.
#[test]
fn where_definitions_cannot_be_read_nothing_is_said_of_efi_variables() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().join("nvram"),
        definitions: folder.path().into(),
        saved: folder.path().join("save"),
    };
    std::fs::create_dir(&places.nvram).unwrap();
    std::fs::write(places.nvram.join("gone_VARS.fd"), "x").unwrap();
    std::fs::write(folder.path().join("broken.xml"), "<domain").unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    let found = find_leftovers(&bench.context(), Some(&places)).unwrap();
    assert!(found.found.iter().all(|r| r.kind != LeftoverKind::Nvram));
    assert!(found.unseen[0].contains("broken.xml is not a domain definition"), "{:?}", found.unseen);
}

/// Another file under the same name is another's.
#[test]
fn efi_variables_that_were_replaced_since_stay() {
    let folder = tempfile::tempdir().unwrap();
    let places = DomainDirectories {
        nvram: folder.path().into(),
        definitions: folder.path().join("none"),
        saved: folder.path().join("save"),
    };
    let (file, target) = (folder.path().join("gone_VARS.fd"), folder.path().join("keep"));
    let changes: [fn(&std::path::Path, &std::path::Path); 3] = [
        |file, _| {
            std::fs::write(file, "longer than it was before, and more than a page".repeat(200)).unwrap()
        },
        |file, target| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink(target, file).unwrap();
        },
        |file, target| std::fs::rename(target, file).unwrap(),
    ];
    for change in changes {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, "x").unwrap();
        std::fs::write(&target, "y").unwrap();
        let bench = Bench::on(host_with_neighbours().local());
        let context = bench.context();
        let found = find_leftovers(&context, Some(&places)).unwrap();
        let name = file.display().to_string();
        let chosen = choose_leftovers(&context, &found, &[name.as_str().into()]).unwrap();
        change(&file, &target);
        execute_cleanup(&context, Some(&places), &chosen, |_| {}).unwrap_err();
        assert!(std::fs::symlink_metadata(&file).is_ok());
    }
}
