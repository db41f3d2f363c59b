//! Masking: the answer does not depend on how the bytes were cut, masking what is masked changes nothing, and the
//! credential never comes out.
#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use mask::{Config, Masker, Mode, Needles, ResponseFacts, Settings};

// The room itself and what it stands on, without the gateway around it.
#[allow(dead_code, reason = "only what the masker needs is called here")]
#[path = "../../gateway/src/clock.rs"]
mod clock;
#[allow(dead_code, reason = "only what the masker needs is called here")]
#[path = "../../gateway/src/secret.rs"]
mod secret;
#[allow(dead_code, unused_imports, reason = "only the masker is called here")]
#[path = "../../gateway/src/mask/mod.rs"]
mod mask;

const SECRET: &[u8] = b"s3cr3t/t0ken+";
const TYPES: [&str; 9] = [
    "application/json",
    "text/plain",
    "text/event-stream",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "text/csv",
    "text/tab-separated-values",
    "application/xml",
    "multipart/mixed; boundary=b",
];

/// XML has no indexes: a rule that has one withholds it.
fn settings(mode: Mode, index: &str) -> Arc<Settings> {
    let detect = ["secret", "payment", "contact", "identity", "health", "device", "wallet"].map(str::to_owned).to_vec();
    let fields = [("$..a".to_owned(), "x".into()), (index.to_owned(), "y".into())].into();
    Arc::new(Settings::compile(&Config { mode: mode.into(), fields, detect, ..Config::default() }).expect("fixed settings"))
}

static ON: LazyLock<Arc<Settings>> = LazyLock::new(|| settings(Mode::On, "$[1:3]"));
static PLACES: LazyLock<Arc<Settings>> = LazyLock::new(|| settings(Mode::On, "$.*.b"));
static OFF: LazyLock<Arc<Settings>> = LazyLock::new(|| settings(Mode::Off, "$.*.b"));
static NEEDLES: LazyLock<Arc<Needles>> =
    LazyLock::new(|| Arc::new(Needles::new(&[SECRET]).expect("a fixed secret")));

fn masked(settings: &Arc<Settings>, content_type: &str, chunks: &[&[u8]]) -> Option<Vec<u8>> {
    let facts =
        ResponseFacts { status: 200, content_type: Some(content_type), content_encoding: None, head_only: false };
    let plan = settings.plan(&BTreeSet::new());
    let mut masker = Masker::new(plan, Arc::clone(&NEEDLES), &facts).ok()?;
    let mut out = Vec::new();
    for chunk in chunks {
        masker.push(chunk, &mut out).ok()?;
    }
    masker.finish(&mut out).ok()?;
    Some(out)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let content_type = TYPES[usize::from(*first) % TYPES.len()];
    let cut = usize::from(*first) % (body.len() + 1);
    for settings in [&*ON, &*PLACES, &*OFF] {
        let whole = masked(settings, content_type, &[body]);
        assert_eq!(masked(settings, content_type, &[&body[..cut], &body[cut..]]), whole, "it depends on the cut");
        let single: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(masked(settings, content_type, &single), whole, "it depends on the cut");
        let Some(once) = whole else { continue };
        assert!(!once.windows(SECRET.len()).any(|run| run == SECRET), "the credential came out");
        if let Some(twice) = masked(settings, content_type, &[&once]) {
            assert_eq!(twice, once, "masking twice is not masking once");
        }
    }
});
