//! Paths, bundles and the export, at the sizes where tiles begin and end.

use std::collections::BTreeMap;

use super::*;
use crate::tree::Hashes;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// All files of a log, and its hashes.
fn exported(size: u64) -> (BTreeMap<String, Vec<u8>>, Hashes) {
    let (mut export, mut hashes, mut files) = (Export::new(), Hashes::new(), Vec::new());
    for index in 0..size {
        files.extend(export.push(&entry(index)).unwrap());
        hashes.push(leaf_hash(&entry(index)));
    }
    assert_eq!(export.tree(), hashes.tree());
    files.extend(export.finish());
    let count = files.len();
    let files: BTreeMap<_, _> = files
        .into_iter()
        .map(|file| (file.tile.to_string(), file.bytes))
        .collect();
    assert_eq!(files.len(), count, "a file was made twice");
    (files, hashes)
}

#[test]
fn paths_are_those_of_the_specification() {
    let tile = |layer, index, width| Tile::new(layer, index, width).unwrap().to_string();
    assert_eq!(
        tile(Layer::Hashes(0), 1_234_067, 256),
        "tile/0/x001/x234/067"
    );
    assert_eq!(tile(Layer::Hashes(2), 0, 1), "tile/2/000.p/1");
    assert_eq!(tile(Layer::Entries, 999, 256), "tile/entries/999");
    assert_eq!(
        tile(Layer::Entries, 1_000, 255),
        "tile/entries/x001/000.p/255"
    );
    assert_eq!(
        tile(Layer::Hashes(63), 12_345_678, 7),
        "tile/63/x012/x345/678.p/7"
    );
}

#[test]
fn path_has_one_spelling() {
    for (layer, index, width) in [
        (Layer::Hashes(0), 0, 256),
        (Layer::Entries, 1_000_000, 3),
        (Layer::Hashes(63), 999_999, 255),
    ] {
        let tile = Tile::new(layer, index, width).unwrap();
        assert_eq!(tile.to_string().parse(), Ok(tile));
    }
    let wrong = [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/000/",
        "tile/0/x000/000",
        "tile/0/x001000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/Entries/000",
        "tile/entries/../000",
        "/tile/0/000",
        "tile/0/999999999999999999999",
        "tile/0/x018/x446/x744/x073/x709/x551/615",
    ];
    for path in wrong {
        assert!(path.parse::<Tile>().is_err(), "{path}");
    }
    assert_eq!(Tile::new(Layer::Entries, 0, 0), None);
    assert_eq!(Tile::new(Layer::Entries, 0, 257), None);
    assert_eq!(Tile::new(Layer::Entries, u64::MAX, 1), None);
}

// A14: the specification's example, and the borders.
#[test]
fn tile_counts_are_those_of_the_specification() {
    let count = |size, layer, full: bool| {
        let of_kind = |tile: &Tile| tile.layer() == layer && (tile.width() == 256) == full;
        tiles(size)
            .filter(of_kind)
            .map(|tile| tile.width())
            .collect::<Vec<_>>()
    };
    assert_eq!(count(70_000, Layer::Hashes(0), true).len(), 273);
    assert_eq!(count(70_000, Layer::Hashes(0), false), [112]);
    assert_eq!(count(70_000, Layer::Hashes(1), true).len(), 1);
    assert_eq!(count(70_000, Layer::Hashes(1), false), [17]);
    assert_eq!(count(70_000, Layer::Hashes(2), false), [1]);
    assert_eq!(count(70_000, Layer::Entries, true).len(), 273);
    assert_eq!(count(70_000, Layer::Entries, false), [112]);
    assert_eq!(tiles(70_000).count(), 274 * 2 + 2 + 1);
    let paths = |size| tiles(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
    assert!(paths(0).is_empty());
    assert_eq!(paths(1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
    assert_eq!(
        paths(256),
        ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    );
    assert_eq!(paths(65_536).last().unwrap(), "tile/2/000.p/1");
}

// A14
#[test]
fn export_makes_exactly_the_files_of_that_size() {
    for size in [
        0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000,
    ] {
        let (files, hashes) = exported(size);
        let mut expected: Vec<String> = tiles(size).map(|tile| tile.to_string()).collect();
        expected.sort();
        assert_eq!(
            files.keys().cloned().collect::<Vec<_>>(),
            expected,
            "size {size}"
        );
        for tile in tiles(size) {
            let bytes = &files[&tile.to_string()];
            match tile.layer() {
                Layer::Hashes(_) => assert_eq!(tile.bytes(&hashes).as_ref(), Some(bytes), "{tile}"),
                Layer::Entries => {
                    let entries = decode_bundle(bytes, tile.width()).unwrap();
                    for (index, stored) in (tile.index() * 256..).zip(entries) {
                        assert_eq!(stored, entry(index));
                    }
                }
            }
        }
    }
}

#[test]
fn tile_beyond_the_stored_hashes_is_not_made() {
    let (_, hashes) = exported(300);
    let tile = |width| Tile::new(Layer::Hashes(0), 1, width).unwrap();
    assert!(tile(44).bytes(&hashes).is_some());
    assert_eq!(tile(45).bytes(&hashes), None);
    assert_eq!(
        Tile::new(Layer::Hashes(63), 0, 1).unwrap().bytes(&hashes),
        None
    );
    assert_eq!(
        Tile::new(Layer::Entries, 0, 1).unwrap().bytes(&hashes),
        None
    );
}

// A13
#[test]
fn entry_of_65535_bytes_fits_and_65536_does_not() {
    let largest = vec![b'x'; 65_535];
    let bundle = encode_bundle([largest.as_slice(), b""]).unwrap();
    assert_eq!(
        decode_bundle(&bundle, 2).unwrap(),
        [largest.as_slice(), b""]
    );
    let larger = vec![b'x'; 65_536];
    let refused = Error::TooLong {
        what: "entry",
        bytes: 65_536,
        limit: 65_535,
    };
    assert_eq!(encode_bundle([larger.as_slice()]), Err(refused.clone()));
    let mut export = Export::new();
    assert_eq!(export.push(&larger), Err(refused));
    assert_eq!(export.tree().size(), 0);
    assert!(export.finish().is_empty());
}

// A13
#[test]
fn any_bytes_are_an_entry() {
    let odd: [&[u8]; 7] = [
        b"",
        b"\n",
        b"\0",
        b"\r\n",
        b"\xff\xfe",
        "\u{2028}".as_bytes(),
        b"\x00\x01",
    ];
    let bundle = encode_bundle(odd).unwrap();
    assert_eq!(decode_bundle(&bundle, 7).unwrap(), odd);
}

#[test]
fn bundle_of_another_width_or_length_is_refused() {
    let bundle = encode_bundle([b"one".as_slice(), b"two"]).unwrap();
    assert!(decode_bundle(&bundle, 1).is_err());
    assert!(decode_bundle(&bundle, 3).is_err());
    for end in 0..bundle.len() {
        assert!(decode_bundle(&bundle[..end], 2).is_err(), "cut at {end}");
    }
    let longer = [bundle.as_slice(), b"\0"].concat();
    assert_eq!(
        decode_bundle(&longer, 2),
        Err(bundle_error(bundle.len(), "bytes after the last entry"))
    );
    assert!(encode_bundle(std::iter::repeat_n(b"".as_slice(), 257)).is_err());
    assert!(encode_bundle(std::iter::repeat_n(b"".as_slice(), 256)).is_ok());
}
