//! Volumes and limits that fail under a running gateway, as they fail in life: a sync that hangs, a file system that the
//! kernel has turned read-only, no descriptors left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::operate_run::{mount, refused_soon, setup, staff};
use super::support::caller::Talk;
use super::support::child;
use super::support::function::Double;
use super::support::gateway::{Gateway, eventually};
use super::support::raw::End;
use super::support::recorder::json_answer;

/// An ext4 of its own, in a file.
struct Volume {
    place: PathBuf,
    _folder: tempfile::TempDir,
}

impl Volume {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, place) = (folder.path().join("image"), folder.path().join("at"));
        let file = fs::File::create(&image).expect("an image");
        file.set_len(1 << 30).expect("a sparse file of 1 GiB");
        fs::create_dir(&place).expect("a folder");
        let image = image.to_str().expect("a path");
        child::run("mkfs.ext4", ["-q", "-F", image]);
        mount(&["-o", "loop", image], &place);
        Self {
            place,
            _folder: folder,
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

/// While this is there, everything that writes to the volume hangs. It must go before the gateway does: a process that
/// hangs in a write cannot be killed.
struct Frozen(PathBuf);

impl Frozen {
    fn new(place: &Path) -> Self {
        child::run("fsfreeze", ["--freeze".as_ref(), place.as_os_str()]);
        Self(place.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.0)
            .status();
    }
}

/// A gateway with its data on a volume, and a call that is under way at its function.
fn begun(volume: &Volume, double: &Double) -> (Gateway, Talk) {
    double.on("/slow", |exchange| {
        thread::sleep(Duration::from_secs(4));
        exchange.write(json_answer(200, "{\"slow\":true}"));
    });
    let data = volume.place.join("data");
    let gateway = setup(double)
        .with("data", json!(data.display().to_string()))
        .start();
    assert_eq!(gateway.get("/fn/probe", &staff()).status, 200);
    let talk = Talk::get(gateway.address, "/fn/slow", &staff());
    eventually("the call at the function", || {
        (double.hits("/slow") == 1).then_some(())
    });
    (gateway, talk)
}

// A6
#[test]
fn a_sync_that_hangs_stops_new_calls_without_piling_them_up() {
    let (volume, double) = (Volume::new(), Double::start());
    let (gateway, mut talk) = begun(&volume, &double);
    let frozen = Frozen::new(&volume.place);
    refused_soon(&gateway, "audit_unavailable");
    let (hits, resident) = (double.hits("/probe"), gateway.resident());
    for _ in 0..500 {
        let answer = gateway.get("/fn/probe", &staff());
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    assert_eq!(double.hits("/probe"), hits);
    let grown = gateway.resident().saturating_sub(resident);
    assert!(grown < 32 * 1024 * 1024, "grew by {grown} bytes");
    drop(frozen);
    eventually("calls again", || {
        (gateway.get("/fn/probe", &staff()).status == 200).then_some(())
    });
    // What was under way has its end on the record, and its caller was told no more than that holds.
    let end = talk.end();
    let answer = talk.answer(end, "GET");
    assert!(matches!(answer.status, 200 | 424), "{}", answer.text());
    gateway.end_of(&answer);
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .contains("intact")
    );
}

// A7
#[test]
fn a_volume_that_turns_read_only_stops_new_calls_and_says_so() {
    let (volume, double) = (Volume::new(), Double::start());
    let (gateway, mut talk) = begun(&volume, &double);
    // What ext4 does by itself when its device fails.
    mount(&["-o", "remount,abort"], &volume.place);
    refused_soon(&gateway, "audit_unavailable");
    let hits = double.hits("/probe");
    for _ in 0..5 {
        assert_eq!(gateway.get("/fn/probe", &staff()).status, 503);
    }
    assert_eq!(double.hits("/probe"), hits);
    assert_eq!(gateway.get("/.well-known/callgate/ready", "").status, 503);
    // The answer of the call that was under way cannot be recorded: it is withheld, and told as executed.
    let answer = talk.whole("GET");
    let said = answer.json();
    assert_eq!(
        (answer.status, &said["code"], &said["executed"]),
        (424, &json!("response_withheld"), &json!("yes")),
        "{said}"
    );
    let log = gateway.child.output();
    assert!(log.contains("Read-only file system"), "{log}");
}

/// The highest descriptor of a process.
fn highest(gateway: &Gateway) -> u32 {
    let folder = format!("/proc/{}/fd", gateway.child.id());
    let open = fs::read_dir(folder).expect("its descriptors").flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .max()
        .expect("a descriptor")
}

// A9
#[test]
fn without_descriptors_new_connections_are_turned_away_and_calls_still_end() {
    let double = Double::start();
    double.on("/slow", |exchange| {
        thread::sleep(Duration::from_secs(4));
        exchange.write(json_answer(200, "{\"slow\":true}"));
    });
    let gateway = setup(&double).start();
    let mut slow = Talk::get(gateway.address, "/fn/slow", &staff());
    eventually("the call at the function", || {
        (double.hits("/slow") == 1).then_some(())
    });
    let limit = format!("--nofile={0}:{0}", highest(&gateway) + 1);
    let id = gateway.child.id().to_string();
    child::run("prlimit", ["--pid", id.as_str(), limit.as_str()]);
    // Connections that stay open, until there are no descriptors for more.
    let mut open = Vec::new();
    let end = loop {
        assert!(open.len() < 500, "{limit}, and nobody is turned away");
        let mut talk = Talk::to(gateway.address);
        let head = format!("GET /fn/more HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address);
        talk.send(head.as_bytes());
        // One answer is enough to know that this one is in.
        let end = eventually("an answer or the end", || {
            let end = talk.listen(Duration::from_millis(50));
            (end.is_some() || !talk.got.is_empty()).then_some(end)
        });
        match end {
            Some(end) if talk.got.is_empty() => break end,
            _ => open.push(talk),
        }
    };
    assert!(matches!(end, End::Clean | End::Cut), "{end:?}");
    let answer = slow.whole("GET");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.end_of(&answer)["outcome"], "ok");
    assert!(gateway.child.output().contains("no descriptors"));
    drop(open);
    drop(slow);
    eventually("calls again", || {
        let mut talk = Talk::get(gateway.address, "/fn/probe", &staff());
        talk.listen(Duration::from_millis(500));
        talk.text().starts_with("HTTP/1.1 200").then_some(())
    });
}
