//! Logs: what is read of them, from where, and what ends it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::bench::{Bench, whole};
use crate::support::manifests::{WEB, plan};
use foundry::host::Domains;
use foundry::operations::vm::logs::{LogEnd, LogOptions, LogSink, read_log};
use foundry::{Code, Error};
use tempfile::TempDir;

/// What was read; `act` is called whenever nothing more comes, with how often that was.
struct Read<'a> {
    text: String,
    idle: usize,
    act: &'a dyn Fn(usize) -> bool,
}

impl LogSink for Read<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        self.text.push_str(std::str::from_utf8(bytes).unwrap());
        if !bytes.is_empty() {
            return Ok(true);
        }
        self.idle += 1;
        Ok((self.act)(self.idle))
    }
}

/// A VM whose console log is a file of this machine.
fn with_log(text: Option<&str>) -> (Bench, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("web-console.log");
    if let Some(text) = text {
        fs::write(&log, text).unwrap();
    }
    let bench = Bench::on(Bench::new().host.local());
    bench.create(&plan(WEB)).unwrap();
    bench.edit_record("web", |record| record["consoleLog"] = log.to_str().unwrap().into());
    (bench, log, folder)
}

fn read(bench: &Bench, options: LogOptions, act: &dyn Fn(usize) -> bool) -> Result<(LogEnd, String), Error> {
    let mut sink = Read { text: String::new(), idle: 0, act };
    let end = read_log(&bench.context(), "web", options, &mut sink)?;
    Ok((end, sink.text))
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    assert!(fs::read_to_string(path).unwrap().len() > before.len());
}

const ALL: LogOptions = LogOptions { qemu: false, follow: false, tail: None };
const FOLLOW: LogOptions = LogOptions { follow: true, ..ALL };

#[test]
fn a_log_is_read_with_its_backups_or_its_last_lines() {
    let (bench, log, _folder) = with_log(Some("three\nfour"));
    fs::write(format!("{}.1", log.display()), "one\n").unwrap();
    fs::write(format!("{}.0", log.display()), "two\n").unwrap();
    for (tail, text) in
        [(None, "one\ntwo\nthree\nfour"), (Some(3), "two\nthree\nfour"), (Some(1), "four"), (Some(0), "")]
    {
        let read = read(&bench, LogOptions { tail, ..ALL }, &|_| true).unwrap();
        assert_eq!(read, (LogEnd::Done, text.to_owned()), "{tail:?}");
    }
}

#[test]
fn a_log_is_followed_over_rotation_and_until_the_vm_is_deleted() {
    let (bench, log, _folder) = with_log(Some("one\n"));
    let host = bench.host.clone();
    let act = |idle: usize| {
        match idle {
            1 => append(&log, "two\n"),
            2 => {
                append(&log, "three\n");
                fs::rename(&log, format!("{}.0", log.display())).unwrap();
                append(&log, "four\n");
            }
            3 => fs::remove_file(&log).unwrap(),
            4 => append(&log, "five\n"),
            5 => fs::remove_file(&log).unwrap(),
            6 => {
                let uuid = host.uuid_of("web").unwrap();
                host.force_off(uuid).unwrap();
                host.undefine(uuid).unwrap();
            }
            _ => assert!(idle < 100, "it does not end"),
        }
        true
    };
    let (end, text) = read(&bench, FOLLOW, &act).unwrap();
    assert_eq!((end, text.as_str()), (LogEnd::VmDeleted("web".into()), "one\ntwo\nthree\nfour\nfive\n"));
}

#[test]
fn a_followed_log_may_come_later_and_nobody_may_want_more() {
    let (bench, log, _folder) = with_log(None);
    let error = read(&bench, ALL, &|_| true).unwrap_err();
    assert_eq!(error.code(), Code::LogUnreadable);
    assert!(whole(&error).contains("foundry start web starts the VM"), "{}", whole(&error));
    let act = |idle: usize| {
        if idle == 3 {
            append(&log, "one\n");
        }
        idle < 5
    };
    assert_eq!(read(&bench, FOLLOW, &act).unwrap(), (LogEnd::Done, "one\n".to_owned()));
}

#[test]
fn a_signal_ends_the_following() {
    let (bench, _, _folder) = with_log(Some("one\n"));
    let context = bench.context();
    let cancel = context.cancel.clone();
    let act = move |_| {
        cancel.request();
        true
    };
    let mut sink = Read { text: String::new(), idle: 0, act: &act };
    let error = read_log(&context, "web", FOLLOW, &mut sink).unwrap_err();
    assert_eq!((error.kind(), sink.text.as_str()), (foundry::Kind::Interrupted, "one\n"));
}

/// The record can name any file.
#[test]
fn what_may_not_be_read_is_said() {
    let (bench, log, folder) = with_log(Some("secret"));
    let shared: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&log, shared).unwrap();
    let error = read(&bench, ALL, &|_| true).unwrap_err();
    assert_eq!(error.code(), Code::LogUnreadable);
    assert!(whole(&error).contains("is not where foundry puts it"), "{}", whole(&error));
    bench.edit_record("web", |record| record["consoleLog"] = folder.path().to_str().unwrap().into());
    assert_eq!(read(&bench, ALL, &|_| true).unwrap_err().code(), Code::LogUnreadable);

    // Another machine's.
    let bench = Bench::with_web();
    let error = read(&bench, ALL, &|_| true).unwrap_err();
    assert_eq!(error.code(), Code::LogUnreadable);
    assert!(whole(&error).contains("another machine"), "{}", whole(&error));
}
