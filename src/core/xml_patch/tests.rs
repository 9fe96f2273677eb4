use super::*;

const WEB: &str = "<domain type='kvm'><name>web</name><uuid>u</uuid><title>a &amp; b</title>
  <metadata><f:vm xmlns:f='x'>record</f:vm></metadata><memory unit='KiB'>1048576</memory><vcpu>2</vcpu>
  <os firmware='efi'><type arch='x86_64'>hvm</type></os><features><acpi/></features><cpu mode='host-model'/>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a'/><backingStore/>
  <target dev='vda'/><serial>vda</serial></disk>
  <disk type='file' device='disk'><source file='/b'/><target dev='vdb'/><serial>vdb</serial></disk>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
  <memballoon model='virtio'/></devices></domain>";

fn parts() -> ProtectedParts {
    ProtectedParts { disks: vec!["vda".into(), "vdb".into()], interfaces: vec!["52:54:00:00:00:01".into()] }
}

fn entry(xpath: &str, operation: PatchOperation) -> PatchEntry {
    PatchEntry { selector: PatchSelector::parse(xpath).unwrap_or_else(|e| panic!("{xpath} {e}")), operation }
}

fn add(text: &str) -> PatchOperation {
    PatchOperation::Add(text.to_owned())
}

fn replace(text: &str) -> PatchOperation {
    PatchOperation::Replace(text.to_owned())
}

/// Checks and applies one entry, as a plan and a rendering do.
fn patch(xpath: &str, operation: PatchOperation) -> Result<String, String> {
    let entry = entry(xpath, operation);
    entry.operation.check(&entry.selector)?;
    apply_patch(WEB, &[entry], 0, &parts()).map_err(|error| format!("{}: {}", error.path(), error.message))
}

#[test]
fn each_operation_changes_its_place_only() {
    let cases = [
        (
            "/domain/devices",
            add("<watchdog model='x'/>"),
            "<memballoon model='virtio'/></devices>",
            "<memballoon model='virtio'/>\n  <watchdog model='x'/></devices>",
        ),
        (
            "/domain/features/acpi",
            add("<a/><!-- c --><b><![CDATA[<]]></b>"),
            "<acpi/>",
            "<acpi><a/><!-- c --><b><![CDATA[<]]></b></acpi>",
        ),
        ("/domain/vcpu/@cpuset", add("0-1 & '2'"), "<vcpu>", "<vcpu cpuset='0-1 &amp; &apos;2&apos;'>"),
        (
            "/domain/devices/memballoon",
            replace(" <memballoon model='none'/>\n"),
            "<memballoon model='virtio'/>",
            "<memballoon model='none'/>",
        ),
        ("/domain/devices/*[4]/@model", replace("no\"ne"), "'virtio'", "'no&quot;ne'"),
        ("/domain/title/text()", replace("<x>"), "a &amp; b", "&lt;x&gt;"),
        ("/domain/title/text()", PatchOperation::Remove, "a &amp; b", ""),
        ("/domain/devices/memballoon", PatchOperation::Remove, "\n  <memballoon model='virtio'/>", ""),
        ("/domain/cpu/@mode", PatchOperation::Remove, " mode='host-model'", ""),
        ("/domain/cpu/@mode", replace("custom"), "host-model", "custom"),
        ("/domain/devices/disk[target/@dev='vda']/serial/text()", replace("x"), ">vda<", ">x<"),
        (
            "/domain/devices/disk[1]",
            add("<iotune/>"),
            "<serial>vda</serial>",
            "<serial>vda</serial><iotune/>",
        ),
    ];
    for (xpath, operation, before, after) in cases {
        let label = format!("{xpath} {operation:?}");
        assert_eq!(WEB.matches(before).count(), 1, "{label}");
        let patched = patch(xpath, operation).unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_eq!(patched, WEB.replace(before, after), "{label}");
    }
}

#[test]
fn libvirts_own_prefix_is_declared_at_the_root() {
    let declared = format!("<domain xmlns:qemu='{QEMU_NAMESPACE}' type='kvm'>");
    let arguments = "<qemu:commandline><qemu:arg value='-x'/></qemu:commandline>";
    let patched = patch("/domain", add(arguments)).unwrap();
    assert_eq!(
        patched,
        WEB.replace("<domain type='kvm'>", &declared)
            .replace("</domain>", &format!("\n  {arguments}</domain>"))
    );
    // Declared once, whichever entry needs it; and found again by its prefix.
    let entries = [
        entry("/domain", add(arguments)),
        entry("/domain/qemu:commandline", add("<qemu:arg value='-y'/>")),
        entry("/domain/qemu:commandline/qemu:arg[1]/@value", replace("-z")),
    ];
    let patched = apply_patch(WEB, &entries, 0, &parts()).unwrap();
    assert_eq!(patched.matches("xmlns:qemu").count(), 1, "{patched}");
    assert!(patched.contains("<qemu:arg value='-z'/><qemu:arg value='-y'/>"), "{patched}");
    // A prefix of the fragment's own.
    let own = format!("<q:commandline xmlns:q='{QEMU_NAMESPACE}'><q:arg value='-x'/></q:commandline>");
    assert!(patch("/domain", add(&own)).unwrap().contains(&own));
    assert!(patch("/domain", add("<q:commandline/>")).unwrap_err().contains("not well-formed"));
}

#[test]
fn places_that_are_not_one_are_refused() {
    let cases = [
        ("/domain/devices/tpm", "spec.xmlPatch[0].xpath: matches nothing in the domain's XML"),
        ("/domain/devices/disk", "matches 2 elements; it must match one, as with [1]"),
        ("/domain/cpu/@check", "matches nothing: <cpu> has no such attribute"),
        ("/domain/cpu/text()", "matches nothing: <cpu> has no text"),
        ("/domain/devices/text()", "matches no single text: <devices> has elements"),
        ("/domain", "is the whole domain"),
    ];
    for (xpath, wanted) in cases {
        let said = patch(xpath, PatchOperation::Remove).unwrap_err();
        assert!(said.contains(wanted), "{xpath}: {said}");
    }
    assert!(patch("/domain", replace("<domain/>")).unwrap_err().contains("is the whole domain"));
    assert!(patch("/domain/@type", add("x")).unwrap_err().contains("has this attribute; replace it"));
    let second = [entry("/domain/devices", add("<a/>")), entry("/domain/x", PatchOperation::Remove)];
    let error = apply_patch(WEB, &second, 3, &parts()).unwrap_err();
    assert_eq!(error.path(), "spec.xmlPatch[4].xpath");
}

#[test]
fn hostile_fragments_are_refused() {
    let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'>]><d>&a;</d>";
    let deep = format!("{}{}", "<a>".repeat(9_000), "</a>".repeat(9_000));
    let long = format!("<a>{}</a>", "x".repeat(MAX_FRAGMENT));
    let cases = [
        ("<a>", "not well-formed"),
        ("<a/", "not well-formed"),
        ("</fragment><fragment>", "not well-formed"),
        ("<a/></devices><devices>", "not well-formed"),
        ("<a>&lol;</a>", "not well-formed"),
        ("<a>\u{1}</a>", "not well-formed"),
        ("<!-- <a/>", "not well-formed"),
        ("<![CDATA[<a/>", "not well-formed"),
        (bomb, "not well-formed"),
        ("", "has no element"),
        ("<!-- only -->", "has no element"),
        ("text", "has text beside its elements"),
        ("<a/>text", "has text beside its elements"),
        ("<![CDATA[text]]><a/>", "has text beside its elements"),
        (&deep, "more than 64 elements deep"),
        (&long, "the maximum is 65536"),
        ("<graphics type='vnc' passwd='secret'/>", "has a password"),
        ("<disk><source><cookies><cookie>x</cookie></cookies></source></disk>", "has a password"),
    ];
    for (fragment, wanted) in cases {
        let said = patch("/domain/devices", add(fragment)).unwrap_err();
        assert!(said.contains(wanted), "{}: {said}", &fragment[..fragment.len().min(60)]);
        assert!(!said.contains("secret") && said.len() < 300, "{said}");
    }
    for (xpath, operation, wanted) in [
        (
            "/domain/devices/memballoon",
            replace("<a/><b/>"),
            "must be one element, in the place of one; it has 2",
        ),
        ("/domain/title/text()", add("x"), "cannot be added to text()"),
        ("/domain/title/text()", replace("\u{1}"), "XML cannot carry"),
        ("/domain/cpu/@mode", replace("a\nb"), "has one line"),
        ("/domain/devices/graphics/@passwd", add("secret"), "has a password"),
        ("/domain/cpu/@x:mode", add("a"), "unknown namespace"),
    ] {
        let said = patch(xpath, operation).unwrap_err();
        assert!(said.contains(wanted), "{xpath}: {said}");
    }
}

#[test]
fn what_the_manifest_or_foundry_sets_is_refused() {
    let cases = [
        ("/domain/name/text()", replace("other"), "metadata.name"),
        ("/domain/name", PatchOperation::Remove, "metadata.name"),
        ("/domain/uuid/text()", replace("v"), "UUID"),
        ("/domain", add("<uuid>v</uuid>"), "UUID"),
        ("/domain/metadata", PatchOperation::Remove, "the metadata"),
        ("/domain/metadata", add("<x/>"), "the metadata"),
        ("/domain", add("<metadata/>"), "the metadata"),
        ("/domain/metadata/*[1]/text()", replace("{}"), "the metadata"),
        ("/domain/@type", replace("xen"), "<domain>"),
        ("/domain/memory/text()", replace("1"), "spec.memoryGiB"),
        ("/domain/memory/@unit", replace("GiB"), "spec.memoryGiB"),
        ("/domain", add("<currentMemory>1</currentMemory>"), "spec.memoryGiB"),
        ("/domain/vcpu/text()", replace("64"), "spec.vcpus"),
        ("/domain/vcpu/@current", add("1"), "spec.vcpus"),
        ("/domain/os/@firmware", PatchOperation::Remove, "spec.firmware"),
        ("/domain/os", add("<nvram>/etc/passwd</nvram>"), "EFI variables"),
        ("/domain/os/type/@arch", replace("aarch64"), "spec.arch"),
        ("/domain/devices", replace("<devices/>"), "the disk vda"),
        ("/domain/devices/disk[1]", PatchOperation::Remove, "the disk vda"),
        ("/domain/devices/disk[1]/source/@file", replace("/other"), "the disk vda"),
        ("/domain/devices/disk[1]/@device", replace("cdrom"), "the disk vda"),
        ("/domain/devices/disk[1]/driver/@type", replace("raw"), "the disk vda"),
        ("/domain/devices/disk[1]/backingStore", add("<source file='/x'/>"), "the disk vda"),
        ("/domain/devices/disk[1]/target/@dev", replace("vdz"), "the disk vda"),
        ("/domain/devices", add("<disk type='file'><target dev='vdb'/></disk>"), "the disk vdb"),
        ("/domain/devices/interface/source/@bridge", replace("br1"), "spec.networkInterfaces[0]"),
        ("/domain/devices/interface/mac/@address", replace("52:54:00:00:00:02"), "spec.networkInterfaces[0]"),
        ("/domain/devices/interface", add("<mtu size='9000'/>"), "spec.networkInterfaces[0]"),
    ];
    for (xpath, operation, wanted) in cases {
        let said = patch(xpath, operation).unwrap_err();
        assert!(said.contains("may not change") && said.contains(wanted), "{xpath}: {said}");
    }
    // What has no field may be beside what has one.
    patch("/domain/memory/@dumpCore", add("on")).unwrap();
    patch("/domain/vcpu/@placement", add("auto")).unwrap();
    patch("/domain/devices", add("<disk type='file'><source file='/x'/><target dev='vdz'/></disk>")).unwrap();
    patch("/domain/devices/interface", add("<bandwidth/>")).unwrap();
}

#[test]
fn what_waits_for_a_restart_is_seen_through_what_libvirt_adds() {
    let entries = [
        entry("/domain/devices", add("<watchdog model='i6300esb' action='reset'/>")),
        entry("/domain/devices/memballoon", replace("<memballoon model='none'/>")),
        entry("/domain/cpu/@mode", replace("custom")),
        entry("/domain/title/text()", replace("new")),
        entry("/domain/devices/disk[@n='1']", PatchOperation::Remove),
    ];
    let next = apply_patch(WEB, &entries[..4], 0, &parts()).unwrap();
    let normalized = next
        .replace(
            "<watchdog model='i6300esb' action='reset'/>",
            "<watchdog action='reset' model='i6300esb'><address bus='1'/></watchdog>",
        )
        .replace("<memballoon model='none'/>", "<memballoon model='none'><alias/></memballoon>");
    assert_eq!(pending_entries(&entries, &normalized, WEB), [0, 1, 3]);
    assert_eq!(pending_entries(&entries, &normalized, &normalized), [0; 0]);
    assert_eq!(pending_entries(&entries, WEB, WEB), [0; 0], "another program took it away");
    assert_eq!(entries[0].count_added_devices("watchdog"), 1);
    assert_eq!(entries[0].summary(), "add /domain/devices: <watchdog model='i6300esb' action='reset'/>");
    assert_eq!(entries[4].summary(), "remove /domain/devices/disk[@n='1']");
}
