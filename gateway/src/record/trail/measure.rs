//! Rows as a busy gateway makes them, without a log of that size: to measure the index with.

use super::super::frame::Position;
use super::CallIndex;
use super::saved;
use super::seen::{Facts, Seen, What, outcome_number};

const BATCH: u64 = 50_000;
const CALLERS: u64 = 5_000;
const FUNCTIONS: u64 = 30;

/// Numbers without a pattern, the same each time (splitmix64).
const fn noise(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where a leaf would lie: leaves of about 1.3 KiB with what is sealed with them.
fn place(leaf: u64, noise: u64) -> Position {
    Position {
        segment: 1 + leaf / 50_000,
        offset: 128 + leaf % 50_000 * 1280 + (noise >> 40) % 25 * 8,
    }
}

fn begun(n: u64, noise: u64) -> Seen {
    let mut subject = [7; 16];
    subject[..8].copy_from_slice(&(noise % CALLERS).wrapping_mul(0x9e37_79b9).to_le_bytes());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id[8..].copy_from_slice(&noise.to_le_bytes());
    id[15] |= 1;
    Seen {
        id,
        index: 2 * n,
        start: place(2 * n, noise),
        at: place(2 * n, noise.wrapping_add(3 << 40)),
        ms: 1_700_000_000_000 + n * 3 + (noise >> 50) % 3,
        what: What::Begin(Facts {
            function: Some(format!("fn/call-{}", (noise >> 20) % FUNCTIONS)),
            subject: Some(subject),
            ..Facts::default()
        }),
    }
}

impl CallIndex {
    /// Put this many calls in that no log holds.
    pub(in super::super) fn grow_for_measuring(&mut self, calls: u64) {
        let (disk, files) = (self.disk.clone(), self.files.clone());
        let load = |name: &str| saved::load(disk.as_ref(), &files, name);
        let mut put = 0;
        while put < calls {
            let next = calls.min(put + BATCH);
            let mut seen = Vec::new();
            for n in put..next {
                seen.push(begun(n, noise(n)));
                // An end comes a little later than the begins behind it.
                let Some(before) = n.checked_sub(8) else {
                    continue;
                };
                let failed = (noise(before) >> 30).is_multiple_of(50);
                let outcome = outcome_number(if failed { "upstream_error" } else { "ok" });
                seen.push(Seen {
                    index: 2 * before + 17,
                    at: place(2 * before + 17, noise(n)),
                    what: What::End {
                        outcome,
                        status: if failed { 500 } else { 200 },
                    },
                    ..begun(before, noise(before))
                });
            }
            self.built.apply(seen, &load).unwrap();
            put = next;
        }
    }
}
