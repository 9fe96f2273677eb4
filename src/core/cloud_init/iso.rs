//! Writes and reads the seed, an ISO 9660 image.
//!
//! It has Rock Ridge, which Linux prefers, and Joliet, which Windows reads; both keep file names with `-` and lower
//! case. The writer does not use the clock, so the same files give the same bytes.

use hadris_fs::sync::FileSystem;
use hadris_fs::{Content, DateTime, DirCursor, MountOptions, Node, NodeId, Permissions, SetAttr, Tree};
use hadris_iso::sync::IsoFs;
use hadris_iso::{IsoId, IsoOptions};
use hadris_storage::{BlockSize, MemDevice};

use super::SeedFiles;
use super::check::SeedError;

/// Volume id by which cloud-init finds a seed (its NoCloud page; `CIDATA` works, too).
pub const VOLUME_ID: &str = "cidata";

const USER_DATA: &str = "user-data";
const META_DATA: &str = "meta-data";
const NETWORK_CONFIG: &str = "network-config";
const VENDOR_DATA: &str = "vendor-data";

/// Size of an ISO 9660 sector; an image is a whole number of sectors.
const SECTOR: u32 = 2048;
const SECTOR_BYTES: usize = SECTOR as usize;
/// Sector of the first volume descriptor, and type of the descriptor that ends their list (ECMA-119, 8.1).
const FIRST_DESCRIPTOR: usize = 16;
const LAST_DESCRIPTOR: u8 = 255;
/// Block size for reading. Images of other tools may end inside a sector.
const READ_BLOCK: u32 = 512;
/// Maximum number of root entries that are read. A seed has three or four, or a few more.
const MAX_ENTRIES: usize = 64;

/// Writes the image of a seed.
///
/// # Errors
/// Files that are larger than ISO 9660 allows (4 GiB).
pub fn write_iso(documents: &SeedFiles) -> Result<Vec<u8>, SeedError> {
    let tree = file_tree(documents).map_err(|e| seed_error("cannot lay out the seed", &e))?;
    let options = IsoOptions::new()
        .with_id(IsoId::Volume, VOLUME_ID)
        .with_id(IsoId::Application, "FOUNDRY")
        .with_joliet()
        .with_rock_ridge()
        .with_time(DateTime::UNIX_EPOCH);
    let plan = hadris_iso::plan(&tree, &options).map_err(|e| seed_error("cannot lay out the seed", &e))?;
    let size = usize::try_from(plan.size()).map_err(|e| seed_error("the seed is too large", &e))?;
    let mut device = MemDevice::new(vec![0; size], block_size(SECTOR)?);
    hadris_iso::sync::write(&mut device, &tree, &options)
        .map_err(|e| seed_error("cannot write the seed", &e))?;
    Ok(remove_padding(device.into_inner()))
}

/// Removes the 150 empty sectors (300 KiB) that the writer, like mkisofs, appends for optical drives that read ahead,
/// and corrects the volume size in the descriptors.
fn remove_padding(mut image: Vec<u8>) -> Vec<u8> {
    const PADDING: usize = 150;
    const EMPTY: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];
    let sectors = (image.len() / SECTOR_BYTES).saturating_sub(PADDING);
    let end = sectors * SECTOR_BYTES;
    let Ok(count) = u32::try_from(sectors) else { return image };
    // If the writer changes, there may be data at the end. Then leave the image as it is.
    if image[end..].chunks(SECTOR_BYTES).any(|sector| *sector != EMPTY[..sector.len()]) {
        return image;
    }
    image.truncate(end);
    let descriptors = image.chunks_exact_mut(SECTOR_BYTES).skip(FIRST_DESCRIPTOR);
    for descriptor in descriptors.take_while(|d| d[0] != LAST_DESCRIPTOR) {
        // ECMA-119, 8.4.8 and 8.5.5: the volume space size, in both byte orders.
        descriptor[80..84].copy_from_slice(&count.to_le_bytes());
        descriptor[84..88].copy_from_slice(&count.to_be_bytes());
    }
    image
}

fn file_tree(documents: &SeedFiles) -> Result<Tree, hadris_fs::PathError> {
    let mut tree = Tree::new();
    tree.insert(META_DATA, file_node(&documents.meta_data))?;
    tree.insert(NETWORK_CONFIG, file_node(&documents.network_config))?;
    tree.insert(USER_DATA, file_node(&documents.user_data))?;
    if let Some(vendor_data) = &documents.vendor_data {
        tree.insert(VENDOR_DATA, file_node(vendor_data))?;
    }
    Ok(tree)
}

/// Makes a file that only root can read, if the guest respects Rock Ridge's modes.
fn file_node(text: &str) -> Node {
    let attrs = SetAttr::new().with_permissions(Permissions::new(0o400));
    Node::file(Content::bytes(text.as_bytes())).with_attrs(attrs)
}

/// Reads a seed, including those of other tools: names are taken from Rock Ridge, Joliet or plain ISO 9660. `meta-data`
/// and `network-config` may be missing; they are then empty. An empty `vendor-data` is treated as missing.
///
/// # Errors
/// Data that is not an ISO 9660 image, an image without user-data, and text that is not UTF-8.
pub fn read_iso(bytes: &[u8]) -> Result<SeedFiles, SeedError> {
    let device = MemDevice::new(bytes, block_size(READ_BLOCK)?);
    let image =
        IsoFs::mount(device, MountOptions::new()).map_err(|e| seed_error("not an ISO 9660 image", &e))?;
    let mut seed = SeedImage { image, limit: bytes.len() };
    let files = seed.list_files()?;
    let mut text = |name: &str| match files.iter().find(|(known, ..)| known == name) {
        Some((_, node, length)) => seed.read_text(name, *node, *length).map(Some),
        None => Ok(None),
    };
    Ok(SeedFiles {
        user_data: text(USER_DATA)?.ok_or_else(|| SeedError("the image contains no user-data".into()))?,
        meta_data: text(META_DATA)?.unwrap_or_default(),
        network_config: text(NETWORK_CONFIG)?.unwrap_or_default(),
        vendor_data: text(VENDOR_DATA)?.filter(|text| !text.is_empty()),
    })
}

struct SeedImage<'b> {
    image: IsoFs<MemDevice<&'b [u8]>>,
    /// Maximum length of a file. It cannot be longer than the image, whatever its record says.
    limit: usize,
}

impl SeedImage<'_> {
    /// Lists the root's entries: name, node, length.
    fn list_files(&mut self) -> Result<Vec<(String, NodeId, u64)>, SeedError> {
        let root = self.image.root();
        let mut files = Vec::new();
        let mut cursor = DirCursor::START;
        while files.len() < MAX_ENTRIES {
            let entry =
                self.image.readdir(root, cursor).map_err(|e| seed_error("cannot list the image", &e))?;
            let Some(entry) = entry else { break };
            cursor = entry.next_cursor();
            files.push((plain_name(entry.name().as_bytes()), entry.node(), entry.metadata().len()));
        }
        Ok(files)
    }

    fn read_text(&mut self, name: &str, node: NodeId, length: u64) -> Result<String, SeedError> {
        let length = usize::try_from(length).ok().filter(|l| *l <= self.limit);
        let length = length.ok_or_else(|| SeedError(format!("{name} is longer than the image")))?;
        let mut content = vec![0; length];
        let mut done = 0;
        while done < length {
            let read = self.image.read(node, done as u64, &mut content[done..]);
            match read.map_err(|e| seed_error(&format!("cannot read {name}"), &e))? {
                0 => return Err(SeedError(format!("{name} is truncated"))),
                n => done += n,
            }
        }
        String::from_utf8(content).map_err(|e| seed_error(&format!("{name} is not text"), &e))
    }
}

/// Returns a name in the form that cloud-init uses. Plain ISO 9660 has capitals, a version and a final dot
/// (`USER-DATA.;1`).
fn plain_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let name = name.split(';').next().unwrap_or_default();
    name.trim_end_matches('.').to_owned()
}

fn block_size(bytes: u32) -> Result<BlockSize, SeedError> {
    BlockSize::new(bytes).ok_or_else(|| SeedError(format!("{bytes} is not a block size")))
}

fn seed_error(what: &str, cause: &dyn std::fmt::Display) -> SeedError {
    SeedError(format!("{what}: {cause}"))
}
