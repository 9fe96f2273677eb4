//! Reads the XML of a domain once. libvirt keeps domains parsed; to parse the same text at each call would take a third
//! of the tests' time.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::Result;
use crate::libvirt_xml::DomainDescription;

/// The number of texts to keep. A host of the tests has few domains, and each change of one is a new text.
const KEPT: usize = 64;

thread_local! {
    static KNOWN: RefCell<HashMap<String, DomainDescription>> = RefCell::default();
}

/// The same as [`DomainDescription::read`].
pub(super) fn read_description(xml: &str) -> Result<DomainDescription> {
    if let Some(known) = KNOWN.with_borrow(|known| known.get(xml).cloned()) {
        return Ok(known);
    }
    let described = DomainDescription::read(xml)?;
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(xml.to_owned(), described.clone());
    });
    Ok(described)
}
