//! Changes the screen of a definition.

use super::edit::parse;
use super::edit_boot::add_device;
use super::{child_element, child_elements, unreadable_xml};
use crate::Result;
use foundry_core::domain_xml::render_screen;
use foundry_core::plan::VncListen;
use foundry_core::xml::replace_ranges;

/// Replaces the server that offers the screen, and adds a video device if the domain has none. `None` removes both.
///
/// # Errors
/// If the text is not a `<domain>` with devices.
pub fn set_screen(xml: &str, listen: Option<VncListen>) -> Result<String> {
    let document = parse(xml)?;
    let devices = child_element(document.root_element(), "devices");
    let ranges = |name| devices.into_iter().flat_map(move |d| child_elements(d, name)).map(|n| n.range());
    let mut removed: Vec<_> = ranges("graphics").collect();
    let mut video: Vec<_> = ranges("video").collect();
    let has_video = !video.is_empty();
    if listen.is_none() {
        removed.append(&mut video);
    }
    let changed = replace_ranges(xml, removed.into_iter().map(|range| (range, String::new())).collect());
    let Some(listen) = listen else { return Ok(changed) };
    let screen = render_screen(listen).map_err(|e| unreadable_xml("the screen", e.to_string()));
    let [graphics, video] = screen?;
    let changed = add_device(&changed, &graphics)?;
    if has_video { Ok(changed) } else { add_device(&changed, &video) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::libvirt_xml::DomainDescription;

    const BARE: &str = "<domain type='kvm'><name>web</name><devices><rng model='virtio'/></devices></domain>";

    #[test]
    fn a_screen_is_added_moved_and_removed() {
        let screen = |xml: &str, listen| set_screen(xml, listen).unwrap();
        let shown = |xml: &str| {
            let read = DomainDescription::read(xml).unwrap();
            (read.graphics.map(|graphics| graphics.to_string()), read.has_video)
        };
        let on_socket = screen(BARE, Some(VncListen::Socket));
        assert_eq!(shown(&on_socket), (Some("vnc on socket".to_owned()), true));
        let addressed = on_socket.replace("<video>", "<video><address type='pci' bus='0x00'/>");
        let moved = screen(&addressed, Some(VncListen::Loopback));
        assert_eq!(shown(&moved), (Some("vnc on 127.0.0.1".to_owned()), true));
        assert!(moved.contains("bus='0x00'"), "{moved}");
        assert_eq!(moved.matches("<video>").count(), 1, "{moved}");
        assert_eq!(screen(&moved, None), BARE);
    }
}
