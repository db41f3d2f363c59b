use std::sync::Arc;

use tlog::policy::Policy;

use super::make::Manifest;
use super::{Bundle, Fault, MANIFEST, PAGE};
use crate::call::CallId;
use crate::disk::RealDisk;
use crate::policy::PolicyTexts;
use crate::record::tests::support::{asked_and_answered, fresh};
use crate::record::{Disclose, Opened, Trail, read_hex};

const UP: &[u8] = b"{\"to\":\"<script>alert(1)</script>\",\"note\":\"\xe2\x80\xaeecila\"}";
const DOWN: &[u8] = b"{\"name\":\"&amp;\",\"ok\":true}\nsecond \x1b[31mline";

/// A log with one call, and somebody who trusts its key.
struct World {
    _folder: tempfile::TempDir,
    trail: Trail,
    policy: Policy,
    call: CallId,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let texts = PolicyTexts {
        schema_sha256: "ab".repeat(32),
        policies: vec!["permit(principal, action, resource);".to_owned()],
    };
    let version = texts.version();
    let texts = serde_json::to_value(&texts).unwrap();
    let call = asked_and_answered(&recorder, (UP, DOWN), (&version, &texts)).await;
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let policy = Policy::of_log(trail.verifier_key().clone()).unwrap();
    World {
        _folder: folder,
        trail,
        policy,
        call,
    }
}

impl World {
    fn bundle(&self, disclose: Disclose) -> Bundle {
        Bundle::make(&self.trail.gather(self.call, disclose).unwrap()).unwrap()
    }
}

impl Bundle {
    /// With other bytes in one file, and a list that says so.
    fn with(&self, path: &str, bytes: Vec<u8>) -> Self {
        let mut other = self.clone();
        other.files.insert(path.to_owned(), bytes);
        other.relist()
    }

    fn relist(mut self) -> Self {
        let old: Manifest = serde_json::from_slice(&self.files[MANIFEST]).unwrap();
        let listed = Manifest::of(&old.call, &self.files).bytes();
        self.files.insert(MANIFEST.to_owned(), listed);
        self
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.files[path].clone()).unwrap()
    }
}

#[tokio::test]
async fn a_bundle_holds_the_whole_story_and_verifies() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Content);
    let checked = bundle.check(&world.policy).unwrap();
    assert_eq!(checked.call, world.call.to_string());
    assert!(checked.policies && checked.disclosed);
    // The policies, the question, the vote, the execution, the begin, the end.
    assert_eq!(checked.records, 6);
    assert_eq!(bundle.files["content/request.body"], UP);
    assert_eq!(bundle.files["content/released.body"], DOWN);
    let page = bundle.text(PAGE);
    for told in [
        "corp/alice",
        "allow to large-refunds, by corp/bob",
        "looks \\u{202e}right",
        "2 masked",
    ] {
        assert!(page.contains(told), "{told}");
    }
    let read = Bundle::from_archive(&bundle.to_archive()).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(
        bundle.to_archive(),
        world.bundle(Disclose::Content).to_archive()
    );
}

#[tokio::test]
async fn a_policy_twice_is_another_file_and_not_the_same_policies() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Content);
    let mut texts: PolicyTexts = serde_json::from_slice(&bundle.files["policies.json"]).unwrap();
    let version = texts.version();
    texts.policies.push(texts.policies[0].clone());
    assert_eq!(texts.version(), version);
    let other = bundle.with("policies.json", serde_json::to_vec(&texts).unwrap());
    let found = other.check(&world.policy);
    assert!(
        matches!(&found, Err(Fault::Tampered { file, .. }) if file == "policies.json"),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_frames_open_to_is_bounded_by_who_opens_them() {
    let world = world().await;
    let files = world.bundle(Disclose::Content).files;
    let key = files.iter().find(|(path, _)| path.ends_with(".key"));
    let (path, key) = key.unwrap();
    let id = path.trim_start_matches("sealed/").trim_end_matches(".key");
    let id = read_hex::<16>(id).unwrap();
    let key = read_hex::<32>(std::str::from_utf8(key).unwrap().trim()).unwrap();
    let frames = files.iter().filter(|(path, _)| path.ends_with(".frames"));
    let all: Vec<&Vec<u8>> = frames.map(|(_, frames)| frames).collect();
    let opens = |mut left: usize| {
        let mut read = all
            .iter()
            .filter_map(|frames| Opened::read(frames, &id, &key, &mut left));
        (read.next().is_some(), left)
    };
    let (opened, left) = opens(1_000_000);
    assert!(opened && left < 1_000_000);
    let (opened, left) = opens(1);
    assert_eq!((opened, left), (false, 0));
}

/// AES-GCM lets who seals make frames that open under two keys.
#[tokio::test]
async fn a_key_that_the_frames_do_not_state_is_refused() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Content);
    let keys = bundle.files.keys().filter(|path| path.ends_with(".key"));
    for path in keys.cloned().collect::<Vec<_>>() {
        let id = path.strip_prefix("sealed/").unwrap();
        let id = read_hex::<16>(id.strip_suffix(".key").unwrap()).unwrap();
        let key = read_hex::<32>(bundle.text(&path).trim_end()).unwrap();
        let first = |bytes: &&Vec<u8>| bytes.get(9..25) == Some(&id) && bytes[25] == 0;
        let frames = bundle
            .files
            .iter()
            .filter(|(path, _)| path.ends_with(".frames"));
        let frames = frames.map(|(_, bytes)| bytes).find(first).unwrap();
        let read = |frames: &[u8]| Opened::read(frames, &id, &key, &mut 1_000_000);
        assert!(read(frames).unwrap().bound());
        // A head of 9 bytes, then the payload: header, salt, pseudonym, day, digest of the key.
        let end = 9 + 24 + 32 + 16 + 8 + 32;
        let mut other = frames.clone();
        other[end - 1] ^= 1;
        assert_eq!(read(&other), None);
        assert!(!read(&frames[end..]).unwrap().bound());
    }
    // Without the begin's frames nothing states the key to the end's.
    let mut begin = bundle.files.keys().filter(|path| path.ends_with(".frames"));
    let of_call = |path: &&String| bundle.files[*path].get(9..25) == Some(world.call.as_bytes());
    let begin = begin.find(of_call).unwrap();
    let mut without = bundle.clone();
    without.files.remove(begin);
    let found = without.relist().check(&world.policy);
    assert!(
        matches!(&found, Err(Fault::Tampered { file, .. }) if file == "sealed"),
        "{found:?}"
    );
}

#[tokio::test]
async fn nothing_is_opened_before_the_signatures_hold() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Content);
    let key = bundle
        .files
        .keys()
        .find(|path| path.ends_with(".key"))
        .unwrap();
    let bad = bundle.with(key, b"no key\n".to_vec());
    let file = |policy: &Policy| match bad.check(policy) {
        Err(Fault::Tampered { file, .. }) => file,
        other => panic!("{other:?}"),
    };
    assert_eq!(&file(&world.policy), key);
    let stranger = tlog::note::Signer::generate("example.com/log").unwrap();
    let stranger = Policy::of_log(stranger.verifier_key().clone()).unwrap();
    assert_eq!(file(&stranger), super::CHECKPOINT);
}

#[tokio::test]
async fn without_content_nobody_is_named_and_nothing_is_said() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Nothing);
    let checked = bundle.check(&world.policy).unwrap();
    assert!(!checked.disclosed && checked.policies);
    let archive = bundle.to_archive();
    for secret in [
        "alice",
        "bob",
        "alert(1)",
        "second",
        "secret-path",
        "192.0.2.7",
    ] {
        assert!(
            memchr::memmem::find(&archive, secret.as_bytes()).is_none(),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn the_page_has_no_script_no_reference_and_no_acting_character() {
    let world = world().await;
    let page = world.bundle(Disclose::Content).text(PAGE);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("\\u{202e}ecila") && page.contains("\\u{1b}[31m"));
    for bad in [
        "<script", "<img", "<a ", "<link", "href", "src=", "url(", "@import", "\u{202e}", "\u{1b}",
    ] {
        assert!(!page.contains(bad), "{bad}");
    }
    // Every tag is one of ours.
    let tags = page.split('<').skip(1).map(|rest| {
        rest.split([' ', '>', '\n'])
            .next()
            .unwrap_or_default()
            .trim_start_matches('/')
    });
    let ours = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre",
        "table", "tr", "th", "td",
    ];
    for tag in tags {
        assert!(ours.contains(&tag), "{tag}");
    }
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_an_archive_is_found() {
    let world = world().await;
    let archive = world.bundle(Disclose::Content).to_archive();
    // All of the first header, then a byte of every few: each place of a header comes by.
    for at in (0..512).chain((512..archive.len()).step_by(29)) {
        let mut bad = archive.clone();
        bad[at] ^= 1 << (at % 8);
        let found = Bundle::from_archive(&bad).and_then(|bundle| bundle.check(&world.policy));
        assert!(found.is_err(), "byte {at}");
    }
    for len in [0, 1, 511, 512, 600, archive.len() - 1024, archive.len() - 1] {
        let found = Bundle::from_archive(&archive[..len]);
        assert!(found.is_err(), "{len} bytes");
    }
    let longer = [archive.as_slice(), &[0; 512]].concat();
    assert!(Bundle::from_archive(&longer).is_err());
}

/// Whoever changes a file can change the list as well: what is signed must tell.
#[tokio::test]
async fn a_change_is_found_though_the_list_says_it_is_right() {
    let world = world().await;
    let bundle = world.bundle(Disclose::Content);
    let mut tried = 0;
    for (path, bytes) in &bundle.files {
        if path == MANIFEST {
            continue;
        }
        let stride = (bytes.len() / 40).max(1);
        for at in (0..bytes.len()).step_by(stride) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 7);
            let found = bundle.with(path, bad).check(&world.policy);
            assert!(found.is_err(), "{path}, byte {at}");
            tried += 1;
        }
        let mut shorter = bundle.clone();
        shorter.files.remove(path);
        let found = shorter.check(&world.policy);
        assert_eq!(found, Err(Fault::Incomplete { file: path.clone() }));
    }
    assert!(tried > 500, "{tried}");
    let more = bundle.with("content/more.json", b"{}".to_vec());
    assert!(
        matches!(more.check(&world.policy), Err(Fault::Tampered { file, .. }) if file == "content/more.json")
    );
    let stranger = Policy::of_log(
        tlog::note::Signer::generate("example.com/log")
            .unwrap()
            .verifier_key()
            .clone(),
    );
    assert!(
        matches!(bundle.check(&stranger.unwrap()), Err(Fault::Tampered { file, .. }) if file == "checkpoint")
    );
}

/// The page is part of the form: whoever sees this fail counts `FORMAT` on, or leaves the page as it was.
#[test]
fn the_sections_are_told_in_their_order() {
    let fact = |index, kind: &str, fields: serde_json::Value| super::Fact {
        index,
        kind: kind.to_owned(),
        fields,
        content: None,
        erased: (index == 1).then_some(9),
    };
    let facts = [
        fact(
            1,
            "call.begin",
            serde_json::json!({
                "t": "T1", "issuer": "corp", "subject_ref": "aa", "principal_kind": "agent", "auth": "jwt",
                "function": "crm/get", "effect": "read", "policies": ["p"], "policy_version": "v",
                "credential": { "name": "crm", "version": "1" }, "upstream": "crm:443", "protocol": "http/1.1",
                "method": "GET", "mask": "on", "durability": "both",
            }),
        ),
        fact(
            2,
            "call.end",
            serde_json::json!({
                "t": "T2", "outcome": "ok", "status": 200, "masked": { "email": 1 }, "scrubbed": 0,
                "total_ms": 5, "released": { "bytes": 9, "captured": 4, "cut": "limit" },
            }),
        ),
    ];
    let told: String = super::sections(&facts)
        .into_iter()
        .map(|section| {
            let rows: Vec<_> = section
                .rows
                .iter()
                .map(|(n, v)| format!("  {n}: {v}\n"))
                .collect();
            format!("{}\n{}", section.title, rows.concat())
        })
        .collect();
    insta::assert_snapshot!(told, @r"
    Token
      caller: corp/(erased by record 9; pseudonym aa)
      kind: agent
      verified by: jwt
    Policy
      decision: allowed
      function: crm/get
      effect: read
      by policies: p
      policies in force: v
    Credential
      name: crm
      version: 1
    Upstream
      upstream: crm:443
      protocol: http/1.1
      method: GET
      outcome: ok
      status: 200
      in all: 5 ms
    Masking
      mode: on
      email: 1 masked
    Record
      record 1: call.begin at T1
      sealed content: erased, by record 9
      record 2: call.end at T2
      released: 4 of 9 bytes kept, cut by limit
      durability: both
      released: 9 bytes
    ");
}
