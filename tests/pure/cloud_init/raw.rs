//! User-data that goes to cloud-init as it is.

use foundry::cloud_init::check_raw_user_data;

#[test]
fn what_cloud_init_knows_by_its_beginning_is_accepted() {
    for text in [
        "#cloud-config\npackages: [a]\n",
        "#cloud-config\n{}\n",
        "\n#Cloud-Config\r\na: 1\r\n",
        "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    a: 1\n",
        "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/runcmd\", \"value\": []}]\n",
        "#cloud-boothook\n#!/bin/sh\necho hi\n",
        "#include\nhttps://example.com/user-data\n",
        "#include-once https://example.com/user-data\n",
        "#part-handler\ndef list_types(): return []\n",
        "#!/bin/sh\nset -e\n",
        "#!/usr/bin/env python3\nprint('a: b: c')\n",
        "## template: jinja\n#cloud-config\nfqdn: {{ v1.local_hostname }}\n",
        "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\n\n--x--\n",
        "mime-version: 1.0\nContent-Type: text/cloud-config\n\na: 1\n",
    ] {
        assert_eq!(check_raw_user_data(text), Ok(()), "{text:?}");
    }
}

#[test]
fn what_cloud_init_would_ignore_or_not_read_is_refused() {
    for (text, message) in [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("packages: [a]\n", "begins with a key and a colon, so cloud-init does not recognize its type"),
        ("# cloud-config\na: 1\n", "begins with a comment, so cloud-init"),
        ("\u{feff}#cloud-config\na: 1\n", "begins with a byte order mark, so cloud-init"),
        ("##template: jinja\n", "begins with a comment, so cloud-init"),
        ("#upstart-job\n", "begins with a comment, so cloud-init"),
        ("hunter2\n", "begins with text, so cloud-init does not recognize its type"),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x--\n", "without the line `MIME-Version:`"),
        ("#cloud-config\n", "contains no YAML"),
        ("#cloud-config\n- a\n", "is a list, not a mapping"),
        ("#cloud-config\na: [b\n", "at line 2 column"),
        ("#cloud-config\na: 1\na: 2\n", "duplicate key `a` at line 3 column 1"),
        ("#cloud-config\na: b\tc\n", "text with a tab in it must be quoted at line 2 column 4"),
        ("#cloud-config\na: x\u{2028}b: y\n", "U+2028 must be written as an escape"),
        ("#cloud-config-archive\na: 1\n", "is a mapping; a cloud-config archive is a list"),
    ] {
        let told = check_raw_user_data(text).expect_err(text);
        assert!(told.contains(message), "{text:?}: {told}");
    }
}

#[test]
fn a_mime_version_beyond_the_first_4096_bytes_does_not_make_a_message() {
    let filler = "x".repeat(4090);
    assert!(check_raw_user_data(&format!("{filler}\nMIME-Version: 1.0\n")).is_err());
    assert!(check_raw_user_data(&format!("{}\nMIME-Version: 1.0\n", &filler[..4000])).is_ok());
}

#[test]
fn what_is_refused_for_its_beginning_is_not_repeated() {
    for text in
        ["hunter2\n", "password: hunter2\n", "# hunter2\n", "\u{feff}hunter2\n", "Content-Type: hunter2\n"]
    {
        let told = check_raw_user_data(text).expect_err(text);
        assert!(!told.contains("hunter2"), "{told}");
    }
}
