#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

const NOBODY: u32 = 65534;

fn file_of(thing: &str) -> String {
    digest_of(thing).replace("sha256:", "")
}

fn refusal(places: &LockDirectories) -> String {
    match HostLock::take(places, "a") {
        Err(LockError::Unusable(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Starts another program that locks the file and keeps the lock.
fn rival(file: &Path) -> Child {
    let mut child = Command::new("flock")
        .arg("--no-fork")
        .arg(file)
        .args(["sh", "-c", "echo locked; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    child
}

#[test]
fn one_has_it_until_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let places = LockDirectories::only(&dir.path().join("turns"));
    let first = HostLock::take(&places, "a").unwrap();
    assert_eq!(HostLock::take(&places, "a").unwrap_err(), LockError::Taken(Some(std::process::id())));
    let other = HostLock::take(&places, "b").unwrap();
    drop(first);
    drop(HostLock::take(&places, "a").unwrap());
    drop(other);
    assert_eq!(fs::read_dir(dir.path().join("turns")).unwrap().count(), 0, "nothing lies around");
    assert_eq!(fs::metadata(dir.path().join("turns")).unwrap().mode() & 0o7777, 0o700);
}

/// The content of a lock file is ignored: the kernel knows the holder.
#[test]
fn the_holder_is_named_and_its_death_frees_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let places = LockDirectories::only(dir.path());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let file = dir.path().join(file_of("a"));
    fs::write(&file, "1\n").unwrap();
    let mut child = rival(&file);
    assert_eq!(HostLock::take(&places, "a").unwrap_err(), LockError::Taken(Some(child.id())));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(file.exists(), "a file that was left");
    drop(HostLock::take(&places, "a").unwrap());
    assert!(!file.exists(), "goes with the next one that has it");
}

/// A removed file is not a valid lock, and a new file of the same name is kept.
#[test]
fn only_the_file_of_the_name_counts() {
    let dir = tempfile::tempdir().unwrap();
    let places = LockDirectories::only(dir.path());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let file = dir.path().join(file_of("a"));
    let swept = HostLock::take(&places, "a").unwrap();
    fs::remove_file(&file).unwrap();
    let second = HostLock::take(&places, "a").unwrap();
    drop(swept);
    assert!(file.exists());
    assert!(matches!(HostLock::take(&places, "a"), Err(LockError::Taken(Some(_)))));
    drop(second);

    // The file was opened before, and locked after, the other process removed it.
    let place = places.open().unwrap().unwrap();
    let first = HostLock::take(&places, "a").unwrap();
    let opened = open(&place, &file_of("a")).unwrap();
    drop(first);
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive).unwrap();
    let directory = place.directory.try_clone().unwrap();
    assert!(!Held { file: opened, directory, name: file_of("a") }.has_its_name());
}

#[test]
fn what_was_planted_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    fs::create_dir(at("real")).unwrap();
    set(&at("real"), 0o700);
    symlink(at("real"), at("link")).unwrap();
    assert!(refusal(&LockDirectories::only(&at("link"))).contains("is a link, or no directory"));
    fs::write(at("file"), "").unwrap();
    assert!(refusal(&LockDirectories::only(&at("file"))).contains("no directory"));
    set(&at("real"), 0o777);
    assert!(
        refusal(&LockDirectories::only(&at("real"))).contains("may be written to by everybody (mode 777)")
    );
    set(&at("real"), 0o1777);
    assert!(refusal(&LockDirectories::only(&at("real"))).contains("by everybody (mode 1777)"));
    set(&at("real"), 0o700);
    fs::write(at("secret"), "secret").unwrap();
    let lock = at("real").join(file_of("a"));
    symlink(at("secret"), &lock).unwrap();
    assert!(refusal(&LockDirectories::only(&at("real"))).contains("is a link"));
    fs::remove_file(&lock).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &lock, FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(refusal(&LockDirectories::only(&at("real"))).contains("is not a regular file"));
    fs::remove_file(&lock).unwrap();
    set(dir.path(), 0o777);
    assert!(refusal(&LockDirectories::only(&at("real"))).contains("is not safe: directory"));
    set(dir.path(), 0o700);
    assert_eq!(fs::read_to_string(at("secret")).unwrap(), "secret");
    if rustix::process::geteuid().is_root() {
        chown(at("real"), Some(12345), None).unwrap();
        assert!(
            refusal(&LockDirectories::only(&at("real")))
                .contains("belongs to user 12345, neither to you nor to root")
        );
    }
}

/// A user who may not open the directory cannot lock a file in it, even if its name is known.
#[test]
fn another_user_cannot_take_a_lock() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("foundry");
    // A group without other members on this machine.
    let places = directory::tests::shared(&path, Some(12345));
    let held = HostLock::take(&places, "a").unwrap();
    let file = path.join(file_of("a"));
    let made = fs::metadata(&file).unwrap();
    assert_eq!((made.gid(), made.mode() & 0o7777), (12345, 0o660));
    let locks = |groups: &str| {
        let nobody = NOBODY.to_string();
        let mut flock = Command::new("setpriv");
        flock.args(["--reuid", &nobody, "--regid", groups, "--clear-groups"]);
        let tried = flock.args(["flock", "--nonblock", "--conflict-exit-code", "99"]).arg(&file).arg("true");
        tried.stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(locks("12345"), Some(99), "a member of the group has to wait");
    drop(held);
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(locks("12345"), Some(0));
    assert!(!matches!(locks(&NOBODY.to_string()), Some(0 | 99)), "it may not even open it");
}
