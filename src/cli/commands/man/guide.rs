//! foundry-guide(7): the guide, made from `guide.md`, which is readable as it is, too.

use roff::{Roff, bold, roman};

use super::{ManPage, markdown};

const GUIDE: &str = include_str!("../../guide.md");

pub(super) fn guide_page() -> ManPage {
    let mut page = Roff::new();
    page.control("SH", ["NAME"]);
    page.text([roman(
        "foundry-guide - images, pools, disks, cleaning up, configuration and output of foundry",
    )]);
    page.control("SH", ["DESCRIPTION"]);
    markdown::add_markdown(&mut page, GUIDE);
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("foundry"),
        roman("(1), "),
        bold("foundry"),
        roman("(5), "),
        bold("virsh"),
        roman("(1)"),
    ]);
    ManPage { name: "foundry-guide".into(), section: 7, body: page.render() }
}
