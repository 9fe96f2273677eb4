//! Where the words go: stdout, stderr, pipes that close, colours that are not there.

use std::process::{Command, Stdio};

use crate::support::command::{Ran, TEST_DRIVER, foundry, on_test, run, run_with, skip_without};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests::SMALL;

#[test]
fn nothing_is_coloured_or_animated_in_a_pipe() {
    for args in [&["list"][..], &["destroy", "test", "--force"], &["get", "nosuch"], &["create"], &["--help"]]
    {
        let mut command = foundry(&[&["-c", TEST_DRIVER], args].concat());
        let ran = Ran::from(command.env("TERM", "xterm-256color").output_in_time().unwrap());
        let both = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!both.contains('\u{1b}') && !both.contains('\r'), "{args:?}: {both:?}");
    }
}

/// On a terminal: colours, unless NO_COLOR says no. script(1) makes one.
#[test]
fn colours_are_for_terminals_without_no_color() {
    let on_terminal = |no_color: Option<&str>| {
        let binary = env!("CARGO_BIN_EXE_foundry");
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{binary} -c {TEST_DRIVER} get nosuch"), "/dev/null"]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").stdin(Stdio::null());
        no_color.map(|value| command.env("NO_COLOR", value));
        command
            .output_in_time()
            .ok()
            .map(|out| (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned()))
    };
    let Some((code, coloured)) = on_terminal(None) else {
        skip_without("script", "bsdutils");
        return;
    };
    assert_eq!(code, Some(4), "{coloured}");
    assert!(coloured.contains("\u{1b}[31merror[FND-4002]:\u{1b}[0m there is no VM 'nosuch'"), "{coloured:?}");
    let (_, plain) = on_terminal(Some("1")).unwrap();
    assert!(
        plain.contains("error[FND-4002]: there is no VM 'nosuch'") && !plain.contains("\u{1b}[31m"),
        "{plain:?}"
    );
    let (_, empty) = on_terminal(Some("")).unwrap();
    assert!(empty.contains("\u{1b}[31m"), "no-color.org: an empty value says nothing: {empty:?}");
}

/// Who is told what to do is not told where to read on; a file has no reader yet.
#[test]
fn a_terminal_is_told_of_explain_where_there_is_no_hint() {
    let on_terminal = |args: &str| {
        let binary = env!("CARGO_BIN_EXE_foundry");
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{binary} -c {TEST_DRIVER} {args}"), "/dev/null"]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").stdin(Stdio::null());
        command.output_in_time().ok().map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let Some(said) = on_terminal("render nosuch.yaml") else {
        skip_without("script", "bsdutils");
        return;
    };
    assert!(said.contains("no such file\r\n  foundry explain FND-1001 says more\r\n"), "{said:?}");
    let hinted = on_terminal("get nosuch").unwrap();
    assert!(hinted.contains("hint: ") && !hinted.contains("says more"), "{hinted:?}");
    assert!(!run(&["render", "nosuch.yaml"]).said.contains("says more"));
}

/// On a terminal it asks, naming what would go; no answer is no.
#[test]
fn a_terminal_is_asked_before_anything_is_destroyed() {
    let answer = |keys: &str| {
        let binary = env!("CARGO_BIN_EXE_foundry");
        let typed = format!(
            "printf '{keys}' | script -qec '{binary} -c {TEST_DRIVER} destroy test --force' /dev/null"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &typed]).env_clear().env("PATH", "/usr/bin:/bin");
        String::from_utf8_lossy(&command.output_in_time().unwrap().stdout).into_owned()
    };
    if Command::new("script").arg("--version").output_in_time().is_err() {
        skip_without("script", "bsdutils");
        return;
    }
    for (keys, destroyed) in
        [("y\\n", true), ("YES\\n", true), ("n\\n", false), ("\\n", false), ("yeah\\n", false)]
    {
        let said = answer(keys);
        assert!(said.contains("Destroy VM 'test' (running)") && said.contains("Continue? [y/N]"), "{said}");
        assert_eq!(said.contains("Successfully destroyed VM 'test'"), destroyed, "{keys}: {said}");
        assert_eq!(said.contains("nothing was destroyed"), !destroyed, "{keys}: {said}");
    }
}

/// Who sits at the keyboard is asked wherever stderr goes; where nobody can be shown the question, it is refused.
#[test]
fn a_redirected_stderr_does_not_answer_the_question() {
    let at_terminal = |command: &str| {
        let command = command.replace("FOUNDRY", env!("CARGO_BIN_EXE_foundry"));
        let typed = format!("printf 'n\\n' | script -qec '{command}' /dev/null");
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).env_clear().env("PATH", "/usr/bin:/bin");
        String::from_utf8_lossy(&shell.output_in_time().unwrap().stdout).into_owned()
    };
    if Command::new("script").arg("--version").output_in_time().is_err() {
        skip_without("script", "bsdutils");
        return;
    }
    let destroy = format!("FOUNDRY -c {TEST_DRIVER} destroy test --force");
    for redirected in [format!("{destroy} 2>/dev/null"), format!("{destroy} 2>&1 | cat")] {
        let said = at_terminal(&redirected);
        assert!(said.contains("Continue? [y/N]"), "{redirected}: {said}");
        assert!(!said.contains("Successfully destroyed"), "{redirected}: {said}");
    }
    // A terminal at stdin that is not this session's own: there is no /dev/tty.
    let said = at_terminal(&format!("setsid -w {destroy}"));
    assert!(said.contains("use --yes") && said.contains("nothing was destroyed"), "{said}");
    let said = at_terminal(&format!("setsid -w {destroy} --yes"));
    assert!(said.contains("Successfully destroyed"), "{said}");
    // The names that were not found are told all the same.
    let said = at_terminal(&format!("{destroy} nosuch"));
    assert!(said.contains("there is no VM ") && said.contains("nothing was destroyed"), "{said}");
}

/// What others named may hold sequences that a terminal obeys.
#[test]
fn words_of_others_reach_no_terminal_raw() {
    let ran = on_test(&["get", "a\u{1b}[2J\u{1b}]0;x\u{7}b"]);
    let shown = r"error: there is no VM 'a\u{1b}[2J\u{1b}]0;x\u{7}b'";
    assert!(ran.stderr.starts_with(shown), "{:?}", ran.stderr);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
    let ran = on_test(&["-vv", "get", "a\u{1b}[2Jb"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}

#[test]
fn quiet_keeps_results_and_errors() {
    let ran = on_test(&["-q", "destroy", "test", "nosuch", "--force"]);
    assert_eq!(ran.stdout, "Successfully destroyed VM 'test'\n");
    assert!(ran.stderr.starts_with("error: there is no VM 'nosuch'"), "{}", ran.stderr);
    assert_eq!(on_test(&["list", "-q", "-l", "x"]).stderr, "");
}

#[test]
fn verbose_shows_libvirts_words_and_twice_its_calls() {
    let ran = on_test(&["list", "-vv", "-o", "name"]);
    assert_eq!(ran.stdout, "test\n");
    let calls: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        calls.iter().all(|line| line.starts_with("[libvirt] ") && line.contains(" ms  vir")),
        "{}",
        ran.stderr
    );
    assert!(calls.iter().any(|line| line.contains("virConnectGetAllDomainStats")), "{}", ran.stderr);
    assert_eq!(on_test(&["list", "-v"]).stderr, "", "once is for failures");
}

/// libvirt prints its errors to stderr by itself, unless it is told not to.
#[test]
fn libvirt_prints_nothing_by_itself() {
    let ran = run(&["-c", "qemu+unix:///system?socket=/nonexistent", "list"]);
    assert_eq!(ran.code, 3);
    assert!(!ran.stderr.contains("libvirt: "), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().next().unwrap().matches("error").count(), 1, "{}", ran.stderr);
}

/// The reader of a pipe may go before everything is written: `foundry list | head -0`.
#[test]
fn a_reader_that_goes_is_no_failure() {
    for args in [&["list"][..], &["list", "-o", "json"], &["--help"], &["destroy", "test", "--force"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = foundry(&[&["-c", TEST_DRIVER], args].concat());
        let done = command.stdout(writer).stderr(Stdio::piped()).output_in_time().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(0), "{args:?}: {told}");
        assert!(!told.contains("panicked") && !told.contains("error"), "{args:?}: {told}");
    }
}

#[test]
fn a_stderr_that_is_gone_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = foundry(&["-c", TEST_DRIVER, "get", "nosuch"]).stderr(writer).output_in_time().unwrap();
    assert_eq!(done.status.code(), Some(4));
}

/// A result that cannot be written is a failure where nobody went: a full disk.
#[test]
fn a_full_disk_under_stdout_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let done =
        foundry(&["-c", TEST_DRIVER, "list"]).stdout(full).stderr(Stdio::piped()).output_in_time().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("cannot write to stdout"));
}

/// What was done before is said where it still can be.
#[test]
fn a_full_disk_under_stdout_hides_no_deed() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = foundry(&["-c", TEST_DRIVER, "destroy", "test", "--force"]);
    let done = command.stdout(full).stderr(Stdio::piped()).output_in_time().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("VM 'test' was destroyed"));
}

/// Started by cron or a daemon: stdin, stdout or stderr may be closed from the beginning.
#[test]
fn closed_files_are_survived() {
    for (redirection, args, code) in [
        ("<&-", "create -", 1),
        ("<&-", "list", 0),
        ("<&-", "destroy test --force", 0),
        (">&-", "list", 0),
        ("2>&-", "get nosuch", 4),
        ("<&- >&- 2>&-", "destroy test --force", 0),
    ] {
        let line = format!("{} -c {TEST_DRIVER} {args} {redirection}", env!("CARGO_BIN_EXE_foundry"));
        let done = Command::new("/bin/sh").args(["-c", &line]).env_clear().output_in_time().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{args} {redirection}: {told}");
        assert!(!told.contains("panicked"), "{args} {redirection}: {told}");
    }
}

#[test]
fn the_environment_sets_what_flags_do() {
    let kvm = run_with(&["render", "-"], SMALL).stdout;
    let mut command = foundry(&["render", "-", "--virt-type", "qemu"]);
    assert!(kvm.contains("<domain type=\"kvm\">"), "{kvm}");
    let by = |command: &mut Command| {
        use std::io::Write;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(SMALL.as_bytes()).unwrap();
        Ran::from(child.wait_with_output_in_time().unwrap()).stdout
    };
    let qemu = by(&mut command);
    assert!(qemu.contains("<domain type=\"qemu\">"), "{qemu}");
    assert_eq!(by(foundry(&["render", "-"]).env("FOUNDRY_VIRT_TYPE", "qemu")), qemu);
    let ssd = by(foundry(&["render", "-"]).env("FOUNDRY_VM_POOL", "ssd"));
    assert!(ssd.contains("pool=\"ssd\""), "{ssd}");
    assert_eq!(by(foundry(&["render", "-", "--pool", "ssd"]).env("FOUNDRY_VM_POOL", "hdd")), ssd);
}

/// What foundry shows on a terminal of so many columns, without its last, empty line.
fn on_terminal_of(columns: u16, args: &str) -> Option<Vec<String>> {
    let binary = env!("CARGO_BIN_EXE_foundry");
    let typed = format!("stty cols {columns} rows 24; {binary} -c {TEST_DRIVER} {args}");
    let mut command = Command::new("script");
    command.args(["-qec", &typed, "/dev/null"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TERM", "xterm").stdin(Stdio::null());
    let out = command.output_in_time().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).replace("\r\n", "\n");
    assert!(out.status.success(), "{text}");
    Some(text.trim_end().lines().map(str::to_owned).collect())
}

/// A terminal breaks a long line anywhere, and a table with it; a program reads each row as one line.
#[test]
fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let odd = "custom-columns=NAME:.metadata.name,UUID:.metadata.uid,AGAIN:.metadata.uid,MORE:.metadata.uid";
    for (args, columns) in [
        ("list --all".to_owned(), 80),
        ("list --all -o wide".into(), 130),
        (format!("list --all -o {odd}"), 80),
        ("pool list -o wide".into(), 97),
        ("pool list".into(), 64),
        ("storage status".into(), 110),
        ("pool info default-pool".into(), 80),
        ("get test".into(), 80),
    ] {
        let Some(shown) = on_terminal_of(columns, &args) else {
            skip_without("script", "bsdutils");
            return;
        };
        let fits = |line: &str| line.chars().count() <= usize::from(columns);
        assert!(shown.iter().all(|line| fits(line)), "{args}: {shown:#?}");
        let piped = on_test(&args.split(' ').collect::<Vec<_>>()).stdout;
        let letters = |text: &str| {
            let mut letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
            letters.sort_unstable();
            letters
        };
        assert_eq!(letters(&shown.join("")), letters(&piped), "{args}: nothing is left out");
        if piped.lines().all(fits) {
            assert_eq!(shown, piped.trim_end().lines().collect::<Vec<_>>(), "{args}");
        }
        assert!(!args.contains("list") || piped.lines().count() == 2, "{args}: {piped}");
    }
    // One thing's lines go on beside their labels.
    let narrow = on_terminal_of(40, "get test").unwrap();
    assert!(narrow.iter().all(|line| line.chars().count() <= 40), "{narrow:#?}");
    assert!(narrow.iter().any(|line| line.starts_with("             ")), "{narrow:#?}");
}

/// Several programs may write to one terminal or log. A datagram is what one call wrote.
#[test]
fn a_line_is_written_whole() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;
    for args in [
        &["destroy", "test", "--force"][..],
        &["destroy", "test", "--force", "--progress=json"],
        &["list", "-vv"],
        &["list", "-vv", "--progress=json"],
        &["get", "nosuch"],
    ] {
        let (reader, writer) = UnixDatagram::pair().unwrap();
        let mut command = foundry(&[&["-c", TEST_DRIVER], args].concat());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(writer)))
            .spawn()
            .unwrap();
        drop(command);
        child.wait_in_time().unwrap();
        reader.set_nonblocking(true).unwrap();
        let mut piece = [0; 65536];
        let mut pieces = Vec::new();
        while let Ok(length @ 1..) = reader.recv(&mut piece) {
            pieces.push(String::from_utf8_lossy(&piece[..length]).into_owned());
        }
        assert!(
            !pieces.is_empty() && pieces.iter().all(|piece| piece.ends_with('\n')),
            "{args:?}: {pieces:#?}"
        );
    }
}

/// libvirt's test driver reads its file in this process, and libxml2 tells of one that is missing by itself.
#[test]
fn nobody_else_writes_to_stderr() {
    for path in ["/nonexistent/host.xml", "/etc"] {
        let ran = run(&["-c", &format!("test://{path}"), "list"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: cannot connect to"), "{}", ran.stderr);
        assert!(ran.stderr.contains(path), "{}", ran.stderr);
    }
}
