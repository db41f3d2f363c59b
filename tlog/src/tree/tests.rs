//! The tree against its definition in RFC 6962, and against the certificate transparency vectors.

use super::*;

/// Leaves and roots of the certificate transparency project's reference tree.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// MTH of RFC 6962 section 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => Hash::EMPTY,
        1 => leaves[0],
        n => {
            let k = n.next_power_of_two() / 2;
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1, word for word.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    let n = leaves.len();
    if n == 1 {
        return vec![];
    }
    let k = n.next_power_of_two() / 2;
    let (mut proof, sibling) = if m < k {
        (path(m, &leaves[..k]), mth(&leaves[k..]))
    } else {
        (path(m - k, &leaves[k..]), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

/// SUBPROOF of RFC 6962 section 2.1.2, word for word.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    let n = leaves.len();
    if m == n {
        return if whole { vec![] } else { vec![mth(leaves)] };
    }
    let k = n.next_power_of_two() / 2;
    let (mut proof, sibling) = if m <= k {
        (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
    } else {
        (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
    };
    proof.push(sibling);
    proof
}

fn numbered(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

#[test]
fn certificate_transparency_vectors_hold() {
    let mut tree = Tree::new();
    assert_eq!(format!("{:x}", tree.root()), ROOTS[0]);
    for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
        tree.push(leaf_hash(leaf));
        assert_eq!(format!("{:x}", tree.root()), *root);
        assert_eq!(Hash::from_hex(root), Some(tree.root()));
    }
}

#[test]
fn proofs_are_those_of_the_definition() {
    let leaves = numbered(70);
    let mut hashes = Hashes::new();
    hashes.extend(leaves.iter().copied());
    for n in 1..=70_usize {
        let size = n as u64;
        assert_eq!(root_at(size, &hashes).unwrap(), mth(&leaves[..n]));
        for m in 0..n {
            let proof = inclusion_proof(m as u64, size, &hashes).unwrap();
            assert_eq!(proof, path(m, &leaves[..n]), "leaf {m} of {n}");
        }
        for m in 1..=n {
            let proof = consistency_proof(m as u64, size, &hashes).unwrap();
            assert_eq!(proof, subproof(m, &leaves[..n], true), "{m} to {n}");
        }
    }
}

#[test]
fn frontier_survives_a_restart_at_every_size() {
    let leaves = numbered(300);
    let mut whole = Tree::new();
    for (i, leaf) in leaves.iter().enumerate() {
        let mut again = Tree::from_bytes(&whole.to_bytes()).unwrap();
        assert_eq!(again, whole);
        assert_eq!(whole.push(*leaf), i as u64);
        again.push(*leaf);
        assert_eq!(again.head(), whole.head());
    }
}

#[test]
fn frontier_of_the_wrong_length_is_refused() {
    let mut tree = Tree::new();
    tree.extend(numbered(7));
    let bytes = tree.to_bytes();
    for end in 0..bytes.len() {
        assert!(Tree::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
    let longer = [bytes.as_slice(), &[0; 32]].concat();
    assert!(Tree::from_bytes(&longer).is_err());
    let mut too_large = u64::MAX.to_be_bytes().to_vec();
    too_large.extend([0; 64 * 32]);
    assert_eq!(
        Tree::from_bytes(&too_large),
        Err(Error::TreeSize { size: u64::MAX })
    );
}

#[test]
fn completed_subtrees_are_handed_over_once_and_in_order() {
    let mut tree = Tree::new();
    let mut next = [0_u64; 10];
    for leaf in numbered(513) {
        tree.push_with(leaf, |level, index, _| {
            assert_eq!(index, next[usize::from(level)]);
            next[usize::from(level)] += 1;
        });
    }
    assert_eq!(next, std::array::from_fn(|level| 513 >> level));
}

#[test]
fn proof_beyond_the_tree_is_refused() {
    let mut hashes = Hashes::new();
    hashes.extend(numbered(5));
    assert_eq!(
        inclusion_proof(5, 5, &hashes),
        Err(Error::Index { index: 5, size: 5 })
    );
    assert_eq!(
        consistency_proof(6, 5, &hashes),
        Err(Error::Shrunk { old: 6, new: 5 })
    );
    assert!(matches!(
        inclusion_proof(0, 9, &hashes),
        Err(Error::MissingHash { .. })
    ));
    assert!(matches!(
        root_at(6, &hashes),
        Err(Error::MissingHash { .. })
    ));
    assert!(matches!(
        root_at(u64::MAX, &hashes),
        Err(Error::TreeSize { .. })
    ));
}

#[test]
fn hash_has_one_spelling() {
    let hash = leaf_hash(b"x");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!(Hash::from_hex(&format!("{hash:x}")), Some(hash));
    let base64 = hash.to_string();
    let unpadded = base64.trim_end_matches('=');
    // The last character before the padding carries two unused bits.
    let other_tail = format!("{}{}=", &base64[..42], (base64.as_bytes()[42] + 1) as char);
    for wrong in [
        unpadded,
        &other_tail,
        &format!("{base64} "),
        &format!("{base64}=="),
        "",
    ] {
        assert!(wrong.parse::<Hash>().is_err(), "{wrong}");
    }
    for wrong in [
        &format!("{hash:x}").to_uppercase(),
        &"0".repeat(63),
        &"+0".repeat(32),
    ] {
        assert_eq!(Hash::from_hex(wrong), None, "{wrong}");
    }
}

#[test]
fn growth_from_a_frontier_proves_what_the_whole_store_proves() {
    let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
    let mut hashes = Hashes::new();
    let mut trees = vec![Tree::new()];
    for index in 0..140 {
        hashes.push(leaf(index));
        trees.push(hashes.tree().clone());
    }
    for new in 0..=140 {
        for old in 0..=new {
            let from = trees[usize::try_from(old).unwrap()].clone();
            let mut growth = Growth::new(from, new).unwrap();
            while let Some(index) = growth.next() {
                growth.push(leaf(index));
            }
            // Whatever follows the new size does not count.
            growth.push(leaf(999));
            let (tree, proof) = growth.finish().unwrap();
            assert_eq!(tree, trees[usize::try_from(new).unwrap()], "{old} to {new}");
            assert_eq!(
                proof,
                consistency_proof(old, new, &hashes).unwrap(),
                "{old} to {new}"
            );
        }
    }
    assert!(matches!(
        Growth::new(trees[9].clone(), 8),
        Err(Error::Shrunk { .. })
    ));
    let short = Growth::new(trees[9].clone(), 11).unwrap();
    assert!(matches!(
        short.finish(),
        Err(Error::MissingHash { level: 0, index: 9 })
    ));
}
