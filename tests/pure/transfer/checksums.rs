//! Digests and the files that list them.

use std::path::Path;
use std::process::Command;

use crate::support::deadline::CommandInTime as _;
use crate::support::shown::Shown;
use foundry::transfer::checksum_file::ChecksumFile;
use foundry::transfer::{Algorithm, Digest, Expected, Hasher, Location, Reason, expected_digest};
use proptest::prelude::*;

use super::support::{Bench, noise, sha256};
use crate::support::http::{Reply, Server};

fn sha512(bytes: &[u8]) -> Digest {
    Digest::of_bytes(Algorithm::Sha512, bytes)
}

fn listed(text: &str, name: &str) -> Result<Digest, String> {
    ChecksumFile::parse(text, "SUMS").digest_of(name).map_err(|e| e.to_string())
}

fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let done = Command::new(program).args(args).current_dir(dir).output_in_time().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

const NAMES: [&str; 9] =
    ["disk.qcow2", "with blank", "*star", " lead", "back\\slash", "new\nline", "x) = y", "tab\tbed", "ünï"];

#[test]
fn what_sha256sum_and_sha512sum_write_is_read_whatever_the_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let all: Vec<String> = NAMES.iter().map(|name| format!("./{name}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for options in [&[] as &[&str], &["--binary"], &["--tag"]] {
        let text = run("sha256sum", &[options, &["--"], &all].concat(), dir.path());
        let strong = run("sha512sum", &[options, &["--"], &all].concat(), dir.path());
        for name in NAMES.iter().filter(|name| !options.contains(&"--tag") || **name != "new\nline") {
            assert_eq!(listed(&text, name), Ok(sha256(name.as_bytes())), "{options:?} {name:?}\n{text}");
            let both = format!("{text}{strong}");
            assert_eq!(listed(&both, name), Ok(sha512(name.as_bytes())), "the stronger one");
        }
    }
}

#[test]
fn the_forms_of_the_distributions_are_read() {
    let (digest, other) = (sha256(b"x"), sha256(b"y"));
    let (hex, other) = (digest.hex(), other.hex());
    let fedora = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.qcow2: 12 bytes\nSHA256 (disk.qcow2) = {hex}\n\
         - -dashed\n-----BEGIN PGP SIGNATURE-----\n\n{other}  disk.qcow2\n-----END PGP SIGNATURE-----\n"
    );
    let capitals = format!("{}  disk.qcow2\r\n", hex.to_uppercase());
    for text in [
        fedora,
        capitals,
        format!("{hex} *disk.qcow2\n{other} *disk.qcow2.zsync\n"),
        format!("SHA256(disk.qcow2)= {hex}\n"),
        format!("SHA2-256(disk.qcow2)= {hex}\n"),
        format!("{hex}  images/x86_64/disk.qcow2\n"),
        format!("{other}  old/disk.qcow2\n{hex}  disk.qcow2\n"),
        format!("d41d8cd98f00b204e9800998ecf8427e  disk.qcow2\n{hex}\tdisk.qcow2\n"),
        format!("{hex}\n"),
        format!("{hex}  -\n"),
        hex.to_owned(),
    ] {
        assert_eq!(listed(&text, "disk.qcow2").as_ref(), Ok(&digest), "{text}");
    }
}

#[test]
fn what_is_not_listed_or_twice_is_an_error_that_helps() {
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let text =
        format!("{}  disk-amd64.qcow2\n{}  disk-arm64.qcow2\n{}  other.iso\n", a.hex(), b.hex(), b.hex());
    let file = ChecksumFile::parse(&text, "https://x/SUMS");
    let error = file.digest_of("disk-amd65.qcow2").unwrap_err();
    assert_eq!(error.to_string(), "https://x/SUMS does not list \"disk-amd65.qcow2\"");
    assert!(error.hint_text().unwrap().starts_with("it lists \"disk-amd64.qcow2\", "), "{error:?}");
    let twice = format!("{}  a/x\n{}  b/x\n", a.hex(), b.hex());
    assert!(listed(&twice, "x").unwrap_err().contains("twice"));
    assert_eq!(
        listed(&format!("{twice}{twice}"), "a/x"),
        Ok(a.clone()),
        "the same again is no contradiction"
    );
    assert!(listed(&format!("{}\n{}\n", a.hex(), b.hex()), "x").is_err(), "two bare ones");
    assert!(listed(&format!("\\{}  a\\x\n", a.hex()), "x").is_err(), "an escape that nobody writes");
    let hostile = format!("{}  dis\u{1b}[2Jk\n", a.hex());
    assert_eq!(
        ChecksumFile::parse(&hostile, "S").digest_of("disk").unwrap_err().hint_text().as_deref(),
        Some(r#"it lists "dis\u{1b}[2Jk""#)
    );
}

/// BLAKE2b has as many digits as SHA-512, SHA3-256 as many as SHA-256.
#[test]
fn digits_do_not_tell_the_function_where_a_heading_does() {
    let (right, short) = (sha512(b"x"), sha256(b"x"));
    let (other, small) = (sha512(b"other"), sha256(b"other"));
    let list = |first: &str, a: &str, second: &str, b: &str| {
        format!("{first}\n{a}  disk.qcow2\n{second}\n{b}  disk.qcow2\n")
    };
    for (text, digest) in [
        (list("# BLAKE2B HASH", other.hex(), "# SHA512 HASH", right.hex()), &right),
        (list("# SHA512 HASH", right.hex(), "# BLAKE2B HASH", other.hex()), &right),
        (list("WHIRLPOOL:", other.hex(), "SHA-512:", right.hex()), &right),
        (list("[SHA3-512]", other.hex(), "[SHA2-512]", right.hex()), &right),
        (list("# SHA3-256", small.hex(), "# SHA2-256", short.hex()), &short),
        (list("SHA512/256 digests", small.hex(), "sha256", short.hex()), &short),
        (list("b3sum", small.hex(), "sha256sum", short.hex()), &short),
        // What cannot be meant of the lines below is not.
        (list("# MD5", short.hex(), "# SHA1", short.hex()), &short),
        (
            list("# SHA512", short.hex(), "# they were BLAKE2 until 2019, and are not any more", short.hex()),
            &short,
        ),
        (
            format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}  disk.qcow2\n", short.hex()),
            &short,
        ),
    ] {
        assert_eq!(listed(&text, "disk.qcow2").as_ref(), Ok(digest), "{text}");
    }
}

#[test]
fn a_list_is_of_the_function_that_it_is_named_after() {
    let text = format!("{}  disk.qcow2\n", sha512(b"blake").hex());
    for name in
        ["https://x/b2sums.txt?…", "disk.qcow2.b2", "/a/disk.qcow2.blake2b", "SHA3-512SUMS", "disk.sha3"]
    {
        let error = ChecksumFile::read(text.as_bytes(), name).unwrap_err().to_string();
        assert!(error.contains("which foundry does not support"), "{error}");
    }
    let signed = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}");
    assert!(ChecksumFile::read(signed.as_bytes(), "b2sums").is_err(), "that is how it is signed");
    for name in ["SHA512SUMS", "CHECKSUM", "disk-b2.qcow2.sha512", "md5sums", "SHA256SUMS"] {
        assert_eq!(
            ChecksumFile::read(text.as_bytes(), name).unwrap().digest_of("disk.qcow2"),
            Ok(sha512(b"blake"))
        );
    }
    let both = format!("# SHA512 HASH\n{text}");
    assert!(ChecksumFile::read(both.as_bytes(), "b2sums").is_ok(), "a heading is nearer");
}

#[test]
fn lists_by_other_tools_are_read() {
    let (digest, other) = (sha256(b"x"), sha256(b"y"));
    let (hex, no) = (digest.hex(), other.hex());
    let (big, bytes) = (hex.to_uppercase(), hex.as_bytes().chunks(2));
    let spaced: Vec<&str> = bytes.map(|pair| std::str::from_utf8(pair).unwrap()).collect();
    for text in [
        format!("\u{feff}{hex}  disk.qcow2\r\n{no}  other\r\n"),
        format!("{no}  other\n\u{feff}{hex}  disk.qcow2\n"),
        format!("  {hex}  disk.qcow2\n{no}  other\n"),
        format!("\t{hex} *disk.qcow2\n"),
        format!(" {hex}\n"),
        format!("{hex}  images\\disk.qcow2\n{no}  other\n"),
        format!("{hex} *.\\disk.qcow2\n{no}  other\n"),
        format!("{hex}  disk.qcow2   \n{no}  other\n"),
        format!(
            "\r\nAlgorithm       Hash                  Path\r\n---------       ----                  ----\r\nSHA256          {big}       C:\\images\\disk.qcow2   \r\nMD5    D41D8CD98F00B204E9800998ECF8427E  C:\\images\\disk.qcow2\r\nSHA256  {no}  C:\\other\r\n"
        ),
        format!(
            "Algorithm : SHA256\nHash      : {big}\nPath      : C:\\images\\disk.qcow2\n\nAlgorithm : SHA256\nHash      : {no}\nPath      : C:\\images\\other\n"
        ),
        format!(
            "SHA256 hash of disk.qcow2:\n{hex}\nCertUtil: -hashfile command completed successfully.\nSHA256 hash of other:\n{no}\n"
        ),
        format!(
            "SHA256 hash of file disk.qcow2:\n{}\nCertUtil: -hashfile command completed successfully.\n",
            spaced.join(" ")
        ),
        format!("sha256:{hex}  disk.qcow2\nsha256:{no}  other\n"),
        format!("SHA256 {hex} disk.qcow2\nSHA256 {no} other\n"),
        format!("SHA-256 (disk.qcow2) = {hex}\nSHA-256 (other) = {no}\n"),
        format!("disk.qcow2: {hex}\nother: {no}\n"),
        format!("disk.qcow2 = sha256:{hex}\nother = sha256:{no}\n"),
        format!("{{\n \"disk.qcow2\": \"{hex}\",\n \"other\": \"sha256:{no}\"\n}}\n"),
        format!("SHA3-256 (disk.qcow2) = {no}\nSHA256 (disk.qcow2) = {hex}\n"),
        format!("sha256: {hex}\n"),
        format!("# disk of 2019: {no}\n{hex}  disk.qcow2\n"),
    ] {
        assert_eq!(listed(&text, "disk.qcow2").as_ref(), Ok(&digest), "{text}");
        let wide = |little: bool| -> Vec<u8> {
            let mark = (!text.starts_with('\u{feff}')).then_some(0xfeff);
            let units = mark.into_iter().chain(text.encode_utf16());
            units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
        };
        for bytes in [text.clone().into_bytes(), wide(true), wide(false)] {
            assert_eq!(
                ChecksumFile::read(&*bytes, "S").unwrap().digest_of("disk.qcow2").as_ref(),
                Ok(&digest),
                "{text}"
            );
        }
    }
    assert!(listed(&format!("{no}  a\n"), "back\\slash").is_err());
}

/// Ubuntu's list names ./netboot/mini.iso and ./netboot/gtk/mini.iso.
#[test]
fn the_image_that_is_meant_is_told_by_its_path() {
    let hex = |bytes: &[u8]| sha256(bytes).hex().to_owned();
    let list = format!(
        "{}  ./netboot/q\n{}  ./netboot/gtk/q\n{}  other/r\n{}  a b/q\n",
        hex(b"text"),
        hex(b"gtk"),
        hex(b"r"),
        hex(b"blank"),
    );
    let windows = list.replace("./", "").replace('/', "\\");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(at("images")).unwrap();
    std::fs::write(at("images/SUMS"), &list).unwrap();
    let server = Server::start(move |request| match request.path.as_str() {
        "/images/SUMS" => Reply::new(200, list.clone()),
        "/images/windows" => Reply::new(200, windows.clone()),
        _ => Reply::new(404, ""),
    });
    let bench = Bench::new();
    let look = |list: String, image: String| {
        expected_digest(&list.parse().unwrap(), &image.parse::<Location>().unwrap(), bench.options())
    };
    for (image, digest) in [
        ("netboot/q", "text"),
        ("netboot/gtk/q", "gtk"),
        ("r", "r"),
        ("netboot/r", "r"),
        ("a%20b/q", "blank"),
    ] {
        let digest = sha256(digest.as_bytes());
        let path = format!("/images/{image}");
        for list in ["/images/SUMS", "/images/windows"] {
            assert_eq!(look(server.url(list), server.url(&path)).as_ref(), Ok(&digest), "{image}");
            let mirror = format!("https://mirror.example.org/pub{path}");
            assert_eq!(look(server.url(list), mirror).as_ref(), Ok(&digest), "{image}: the longest tail");
        }
        let file = at(&path.replace("%20", " ")[1..]);
        assert_eq!(look(at("images/SUMS"), file).as_ref(), Ok(&digest), "{image}");
    }
    let told = look(server.url("/images/SUMS"), "/tmp/q".into()).unwrap_err();
    assert!(told.to_string().contains("twice"), "{told}");
}

#[test]
fn digests_of_other_functions_are_said_to_be_such() {
    let digits = "0123456789abcdef".repeat(8);
    for (count, name) in
        [(32, "MD5"), (40, "SHA-1"), (56, "SHA-224"), (96, "SHA-384"), (63, "63 digits"), (127, "127 digits")]
    {
        let error = digits[..count].parse::<Expected>().unwrap_err();
        assert_eq!(error.reason(), Reason::Input);
        assert!(error.to_string().contains(name), "{error}");
    }
    let digest = sha256(b"x");
    for text in [
        format!("sha256:{} ", digest.hex()),
        format!(" {}\n", digest.hex()),
        format!("SHA-256: {}", digest.hex()),
    ] {
        assert_eq!(text.parse::<Expected>(), Ok(Expected::Digest(digest.clone())), "{text:?}");
    }
    for name in ["abcdef", "./d007256eeaa02936f4b9d096e631eaf2", "sums/d007256eeaa02936f4b9d096e631eaf2"] {
        assert!(matches!(name.parse(), Ok(Expected::ListedIn(_))), "{name} is a file");
    }
}

#[test]
fn what_is_no_checksum_file_is_said_to_be_none() {
    let told = |bytes: &[u8]| ChecksumFile::read(bytes, "SUMS").unwrap_err().to_string();
    assert!(told(b"<html>404</html>").contains("no SHA-256 or SHA-512 digest"));
    assert!(told(b"d41d8cd98f00b204e9800998ecf8427e  x").contains("no SHA-256"), "MD5 proves nothing");
    let endless = std::io::repeat(b'a');
    let told = ChecksumFile::read(endless, "SUMS").unwrap_err().to_string();
    assert!(told.contains("larger than 1 MiB"), "{told}");
}

#[test]
fn a_checksum_is_a_digest_or_where_to_find_it() {
    let hex = sha256(b"x").hex().to_owned();
    for text in [hex.clone(), format!("sha256:{hex}"), format!("SHA256:{}", hex.to_uppercase())] {
        assert_eq!(text.parse::<Expected>().unwrap(), Expected::Digest(sha256(b"x")), "{text}");
    }
    for text in ["https://x.org/SHA256SUMS", "sums/SHA256SUMS", "SHA256SUMS", "-"] {
        assert!(matches!(text.parse::<Expected>().unwrap(), Expected::ListedIn(_)), "{text}");
    }
    for text in
        [format!("md5:{}", &hex[..32]), format!("sha512:{hex}"), "sha256:xyz".into(), format!("sha1:{hex}")]
    {
        assert_eq!(text.parse::<Expected>().unwrap_err().reason(), Reason::Input, "{text}");
    }
}

#[test]
fn a_digest_is_looked_up_for_the_image_that_is_meant() {
    let hex = |bytes: &[u8]| sha256(bytes).hex().to_owned();
    let sums = format!("{}  disk.qcow2\n{}  disk.raw\n", hex(b"q"), hex(b"r"));
    let beside = format!("{}  disk-Build16.30.qcow2\n", hex(b"build"));
    let server = Server::start(move |request| match request.path.as_str() {
        "/SHA256SUMS" => Reply::new(200, sums.clone()),
        "/disk.qcow2.sha256" => Reply::new(200, beside.clone()),
        _ => Reply::new(404, ""),
    });
    let bench = Bench::new();
    let look = |list: &str, image: &str| {
        let (expected, image) = (server.url(list).parse().unwrap(), image.parse::<Location>().unwrap());
        expected_digest(&expected, &image, bench.options())
    };
    assert_eq!(look("/SHA256SUMS", "https://mirror.org/a/disk.qcow2?x=1"), Ok(sha256(b"q")));
    assert_eq!(look("/SHA256SUMS", "/tmp/disk.raw"), Ok(sha256(b"r")));
    assert_eq!(look("/disk.qcow2.sha256", "/tmp/disk.qcow2"), Ok(sha256(b"build")));
    assert_eq!(
        look("/disk.qcow2.sha256", "/tmp/disk").unwrap_err().reason(),
        Reason::Checksum,
        "of another file"
    );
    assert_eq!(look("/SHA256SUMS", "-").unwrap_err().reason(), Reason::Input);
    assert_eq!(look("/none", "/tmp/disk.raw").unwrap_err().reason(), Reason::Refused);
}

proptest! {
    #[test]
    fn any_name_that_is_written_as_coreutils_does_is_found(
        names in prop::collection::btree_set("[^/\0-][^/\0]{0,12}", 1..6),
    ) {
        let escaped = |name: &str| name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let line = |name: &String| {
            let mark = if name.contains(['\\', '\n', '\r']) { "\\" } else { "" };
            format!("{mark}{}  {}\n", sha256(name.as_bytes()).hex(), escaped(name))
        };
        let text: String = names.iter().map(line).collect();
        for name in &names {
            prop_assert_eq!(listed(&text, name), Ok(sha256(name.as_bytes())), "{:?}", text);
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "(\\PC|[\n\r\t\\\\ ()=*]){0,200}", name in "\\PC{0,10}") {
        let _ = ChecksumFile::parse(&text, "SUMS").digest_of(&name);
    }

    #[test]
    fn a_digest_reads_back_as_it_is_written(bytes: Vec<u8>) {
        for digest in [sha256(&bytes), sha512(&bytes)] {
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest.clone());
            prop_assert_eq!(digest.hex().to_uppercase().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn zeros_count_as_zeros(before in 0usize..100, zeros in 0usize..300_000) {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(&noise(before));
        hasher.update_zeros(zeros as u64);
        prop_assert_eq!(hasher.finish(), sha512(&[noise(before), vec![0; zeros]].concat()));
    }
}
