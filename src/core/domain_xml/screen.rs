//! The screen of a domain: its VNC server and its video device.

use super::elements::{GraphicsElement, ListenElement, Model, VideoElement};
use crate::plan::VncListen;

/// libvirt chooses the path of a socket, and the port, when the domain starts.
pub(super) fn graphics_element(listen: VncListen) -> GraphicsElement {
    let (autoport, listen) = match listen {
        VncListen::Socket => (None, ListenElement { kind: "socket", address: None }),
        VncListen::Loopback => {
            (Some("yes"), ListenElement { kind: "address", address: Some(listen.as_str()) })
        }
    };
    GraphicsElement { kind: "vnc", autoport, listen }
}

/// Without a model, libvirt would choose `cirrus`, which current guests have no good driver for.
pub(super) fn video_element() -> VideoElement {
    VideoElement { model: Model { kind: "virtio" } }
}

/// Renders the XML of a VNC server and of a video device, as elements of a domain.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_screen(listen: VncListen) -> Result<[String; 2], quick_xml::SeError> {
    let graphics = quick_xml::se::to_string_with_root("graphics", &graphics_element(listen))?;
    Ok([graphics, quick_xml::se::to_string_with_root("video", &video_element())?])
}
