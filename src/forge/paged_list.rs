//! Lists of runners that come in pages.

use std::collections::BTreeMap;

use foundry_runner::{ForgeError, Registration};
use serde_json::Value;

use crate::listed::ListedRunner;
use crate::unreachable_error;

/// Pages that are read: more runners than GitHub lets a group have.
const MAX_PAGES: usize = 200;
/// How often a list is read if it changes meanwhile.
const TRIES: usize = 3;

/// A page of a list.
pub(crate) struct ListPage {
    pub(crate) runners: Vec<ListedRunner>,
    /// How many runners there are on all pages, if the forge says so.
    pub(crate) total: Option<usize>,
}

impl ListPage {
    /// Reads a page from JSON. Null is an empty list, as Go writes one.
    ///
    /// # Errors
    /// Nothing, if it is no list of runners.
    pub(crate) fn from_json(list: &Value, total: Option<usize>) -> Option<Self> {
        let runners =
            if list.is_null() { Some(Vec::new()) } else { serde_json::from_value(list.clone()).ok() };
        Some(Self { runners: runners?, total })
    }
}

/// Reads all pages; the first one is 1.
///
/// If a runner goes while the pages are read, another one moves to a page that was read before. The total shows that, and
/// the list is read again. If it changes each time, all that was seen counts: a runner too many is harmless, but for one
/// that is missing, its VM could be deleted.
///
/// # Errors
/// Those of a page, and a list without end.
pub(crate) fn read_all_pages(
    read_page: impl Fn(usize) -> Result<ListPage, ForgeError>,
) -> Result<Vec<Registration>, ForgeError> {
    let mut seen = BTreeMap::new();
    for _ in 0..TRIES {
        if read_once(&read_page, &mut seen)? {
            break;
        }
    }
    Ok(seen.into_values().collect())
}

/// Reads all pages once; false if the list changed meanwhile.
fn read_once(
    read_page: impl Fn(usize) -> Result<ListPage, ForgeError>,
    seen: &mut BTreeMap<String, Registration>,
) -> Result<bool, ForgeError> {
    let mut first_total = None;
    let mut count = 0;
    for page in 1..=MAX_PAGES {
        let ListPage { runners, total } = read_page(page)?;
        let has_changed = page > 1 && total != first_total;
        first_total = total;
        count += runners.len();
        let is_empty = runners.is_empty();
        let before = seen.len();
        let registrations = runners.into_iter().filter_map(ListedRunner::into_registration);
        seen.extend(registrations.map(|one| (one.id.clone(), one)));
        if has_changed {
            return Ok(false);
        }
        match total {
            Some(total) if count >= total => return Ok(true),
            Some(_) if is_empty => return Ok(false),
            // Without a total, a server that knows no pages would give the same one for ever.
            None if is_empty || seen.len() == before => return Ok(true),
            _ => {}
        }
    }
    Err(unreachable_error("the list of runners has no end"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::cell::Cell;

    fn page(ids: std::ops::Range<u64>, total: Option<usize>) -> Result<ListPage, ForgeError> {
        let list: Vec<Value> = ids.map(|id| json!({"id": id, "name": "x"})).collect();
        Ok(ListPage::from_json(&list.into(), total).unwrap())
    }

    #[test]
    fn a_list_that_changes_is_read_again() {
        let calls = Cell::new(0);
        let list = read_all_pages(|number| {
            calls.set(calls.get() + 1);
            match (calls.get(), number) {
                (1, 1) => page(0..2, Some(4)),
                // Runner 0 went, so that 2 moved to the first page.
                (2, 2) => page(3..4, Some(3)),
                (_, 1) => page(1..3, Some(3)),
                (_, _) => page(3..4, Some(3)),
            }
        });
        let ids: Vec<String> = list.unwrap().into_iter().map(|one| one.id).collect();
        assert_eq!((ids, calls.get()), (["0", "1", "2", "3"].map(String::from).to_vec(), 4));
    }

    #[test]
    fn a_list_ends_without_a_total_too() {
        let list = read_all_pages(|number| if number < 3 { page(0..2, None) } else { page(0..0, None) });
        assert_eq!(list.unwrap().len(), 2, "a server without pages");
        let number_of = |number: usize| u64::try_from(number).unwrap();
        let list =
            read_all_pages(
                |n| if n < 4 { page(number_of(n)..number_of(n) + 1, None) } else { page(0..0, None) },
            );
        assert_eq!(list.unwrap().len(), 3);
        let endless = read_all_pages(|n| page(number_of(n)..number_of(n) + 1, Some(10_000)));
        assert!(endless.is_err());
        assert_eq!(read_all_pages(|_| page(0..0, Some(7))).unwrap(), [], "a total that is wrong");
    }
}
