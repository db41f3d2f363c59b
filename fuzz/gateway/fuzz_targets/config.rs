//! The config file: whatever stands in it, reading and judging it ends with a snapshot or with faults that say where
//! and what, the same each time. Beside it lie the demo's policies, API description and secrets.
#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use callgate::clock::SystemClock;
use callgate::config::{Context, Fault, build, load};
use callgate::egress::{Egress, Policy};
use callgate::identity::Revocations;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// More than one config can be wrong in; each fault is one line for an operator.
const FAULT_BYTES_MAX: usize = 64 * 1024;

const BESIDE: [(&str, &[u8]); 5] = [
    ("payments.openapi.yaml", include_bytes!("../../../examples/demo/payments.openapi.yaml")),
    ("policies/payments.cedar", include_bytes!("../../../examples/demo/policies/payments.cedar")),
    ("policies/people.cedar", include_bytes!("../../../examples/demo/policies/people.cedar")),
    ("demo-console-secret", b"a secret of the console\n"),
    ("demo-functions-key", b"a secret of the functions\n"),
];

struct World {
    folder: TempDir,
    context: Context,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn file(&self) -> PathBuf {
        self.folder.path().join("callgate.yaml")
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("policies")).expect("a folder");
    for (name, bytes) in BESIDE {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    let policy = Policy { ca: None, own: Vec::new() };
    let context = Context {
        egress: Egress::new(&policy).expect("a client"),
        clock: Arc::new(SystemClock),
        revocations: Revocations::new(),
        own: Vec::new(),
        version_key: [0; 32],
        previous: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    World { folder, context, runtime }
});

/// How many functions it has, or what is wrong with it.
fn judged() -> Result<usize, Vec<Fault>> {
    let loaded = load(&WORLD.file())?;
    let snapshot = build(&loaded, &WORLD.context)?;
    Ok(snapshot.connections.values().map(|connection| connection.catalogue.functions().len()).sum())
}

fuzz_target!(|bytes: &[u8]| {
    let _entered = WORLD.runtime.enter();
    std::fs::write(WORLD.file(), bytes).expect("a file");
    let first = judged();
    if let Err(faults) = &first {
        assert!(!faults.is_empty(), "refused for no reason");
        for fault in faults {
            assert!(!fault.place.is_empty() && !fault.text.is_empty(), "{fault:?}");
            assert!(fault.to_string().len() <= FAULT_BYTES_MAX, "a fault of {} bytes", fault.to_string().len());
        }
    }
    assert_eq!(judged(), first, "read with two meanings");
});
