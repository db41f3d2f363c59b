//! Entry bundles, tile paths and frontiers: what is accepted is written again as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::tile::{Tile, decode_bundle, encode_bundle};
use tlog::tree::{Tree, leaf_hash};

fuzz_target!(|bytes: &[u8]| {
    // The first byte is the width, so that the fuzzer finds the right one.
    if let Some((width, bundle)) = bytes.split_first()
        && let Ok(entries) = decode_bundle(bundle, u16::from(*width))
    {
        assert_eq!(entries.len(), usize::from(*width));
        assert_eq!(encode_bundle(entries).as_deref(), Ok(bundle));
    }
    if let Ok(mut tree) = Tree::from_bytes(bytes) {
        assert_eq!(tree.to_bytes(), bytes);
        let before = tree.root();
        tree.push(leaf_hash(bytes));
        assert_ne!(tree.root(), before);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(tile) = text.parse::<Tile>()
    {
        assert_eq!(tile.to_string(), text);
    }
});
