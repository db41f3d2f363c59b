//! What the index of calls costs, in bytes a call and in time. `CALLGATE_INDEX_CALLS` (default 100 000) says
//! for how many calls; the counts are asserted, the times are printed (`--nocapture`).

use std::sync::Arc;
use std::time::Instant;

use super::super::{CallIndex, End, Filter, Outcome};
use super::support::{begin, call, fresh};
use crate::clock::Timestamp;
use crate::disk::RealDisk;

/// Bytes of the index for one call, at most: the aim is 20.
const BYTES_A_CALL_MAX: u64 = 24;
const CALLS_DEFAULT: u64 = 100_000;

/// What is asked, and whether the one call of the log is it. No row of the others is.
fn questions() -> Vec<(&'static str, Filter, bool)> {
    let who = |name: &str| Some(("corp".to_owned(), name.to_owned()));
    let word = |text: &str| Some(text.to_owned());
    let mut questions = Vec::new();
    let mut ask = |name, found, put: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        put(&mut filter);
        questions.push((name, filter, found));
    };
    ask("newest", true, &|f| {
        f.since = Some(Timestamp::from_secs(1_750_000_000));
    });
    ask("a caller", true, &|f| f.principal = who("alice"));
    ask("nobody", false, &|f| f.principal = who("nobody"));
    ask("a function", true, &|f| {
        f.function = word("payments/createRefund");
    });
    ask("a status", false, &|f| f.status = Some((599, 599)));
    ask("an approval", false, &|f| f.approval = word("team/none"));
    ask("a function's status", false, &|f| {
        f.function = word("fn/call-7");
        f.status = Some((599, 599));
    });
    questions
}

#[tokio::test]
async fn index_takes_few_bytes_a_call_and_finds_the_one_that_is_asked_for() {
    let calls: u64 = std::env::var("CALLGATE_INDEX_CALLS")
        .map_or(CALLS_DEFAULT, |text| text.parse().expect("a number"));
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let mut index = CallIndex::open(&config.dir, Arc::new(RealDisk)).unwrap();
    index.grow_for_measuring(calls);
    let wanted = call();
    let record = begin(&recorder, wanted, b"x").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    index.refresh().unwrap();
    index.save().unwrap();
    let files = std::fs::read_dir(config.dir.join("index")).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    let begun = Instant::now();
    let mut again = CallIndex::open(&config.dir, Arc::new(RealDisk)).unwrap();
    eprintln!("opened: {:?}", begun.elapsed());
    assert_eq!(again.calls(), calls + 1);
    for (name, filter, found) in questions() {
        let begun = Instant::now();
        let page = again.page(&filter, None, 1).unwrap();
        eprintln!("{name}: {:?}", begun.elapsed());
        let expected = if found { vec![wanted] } else { vec![] };
        let calls: Vec<_> = page.calls.iter().map(|call| call.call).collect();
        assert_eq!(calls, expected, "{name}");
    }
    let each = bytes / calls;
    eprintln!("{calls} calls, {each} bytes a call");
    assert!(each <= BYTES_A_CALL_MAX, "{each} bytes a call");
}
