//! What an approver reads: all of it, what acts made visible, and what is different this time.

use super::*;
use crate::approval::Difference;

async fn asked(bench: &Bench, who: &Principal, summary: serde_json::Value) -> ApprovalId {
    let body = summary.to_string();
    let question = Question {
        principal: who,
        function: &function(),
        effect: Effect::Write,
        terms: &lead_terms(),
        frozen: body.clone().into_bytes(),
        summary,
        sameness: same(&body, None),
        call: CallId::from_bytes([3; 16]),
        apart: Vec::new(),
    };
    bench.clock.advance(Duration::from_millis(1));
    bench.approvals.ask(question).await.unwrap().id
}

fn refund(body: &str, input: &serde_json::Value) -> serde_json::Value {
    json!({
        "request": { "method": "POST", "target": "/refunds?x=1", "headers": [["x-note", "a"]] },
        "body": { "text": body },
        "input": { "body": input },
    })
}

fn lines(differences: &[Difference]) -> Vec<String> {
    let text = |side: &Option<crate::approval::ShownText>| {
        side.as_ref()
            .map_or("-".to_owned(), |side| side.text.clone())
    };
    let each = differences.iter();
    each.map(|d| {
        format!(
            "{:?} {} {} {}",
            d.kind,
            d.path.text,
            text(&d.before),
            text(&d.now)
        )
    })
    .collect()
}

// P3
#[tokio::test]
async fn all_of_a_call_is_shown_and_what_acts_is_counted() {
    let bench = Bench::new().await;
    let long = format!(
        "{{\"note\":\"{}pay\u{202e}01\u{200b}\"}}",
        "x".repeat(900_000)
    );
    let input = json!({ "note": "pay\u{202e}01", "amount": 5, "tags": ["a"], "more": {} });
    let id = asked(&bench, &caller(), refund(&long, &input)).await;
    let view = bench.approvals.show_to_decide(&id).await.unwrap();
    let shown = view.shown.unwrap();
    let body = shown.body.unwrap();
    assert_eq!((body.bytes, body.made_visible), (long.len() as u64, 2));
    assert!(body.text.ends_with("pay\\u{202e}01\\u{200b}\"}"));
    assert_eq!(body.text.len(), long.len() - 6 + 2 * 8);
    let input: Vec<_> = shown
        .input
        .iter()
        .map(|place| (place.name.text.as_str(), place.value.text.as_str()))
        .collect();
    let expected = [
        ("body.amount", "5"),
        ("body.more", "{}"),
        ("body.note", "\"pay\\u{202e}01\""),
        ("body.tags", "[\"a\"]"),
    ];
    assert_eq!(input, expected);
    assert_eq!(shown.headers[0].name.text, "x-note");
    assert_eq!(shown.target.text, "/refunds?x=1");
    // Nobody to compare with yet, and nothing else was asked.
    assert!(view.since_last.is_none() && view.recent.is_empty());
}

#[tokio::test]
async fn what_differs_from_the_callers_last_question_is_told_member_by_member() {
    let bench = Bench::new().await;
    let first = json!({ "amount": 5, "to": "ann", "note": "x" });
    let first = asked(&bench, &caller(), refund("1", &first)).await;
    no(&bench.approvals, &first, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    bench.clock.advance(Duration::from_secs(120));
    // Somebody else's question in between is nobody's last.
    asked(
        &bench,
        &human("eve", &[]),
        refund("2", &json!({ "amount": 6 })),
    )
    .await;
    let second = json!({ "amount": 5000, "to": "ann", "fast": true });
    let second = asked(&bench, &caller(), refund("3", &second)).await;
    let view = bench.approvals.show_to_decide(&second).await.unwrap();
    let last = view.since_last.unwrap();
    assert_eq!(
        (last.approval.as_str(), last.state),
        (first.as_str(), State::Denied)
    );
    assert_eq!(
        lines(&last.differences.unwrap()),
        [
            "Changed body.amount 5 5000",
            "Added body.fast - true",
            "Removed body.note \"x\" -",
        ]
    );
    let recent: Vec<_> = view
        .recent
        .iter()
        .map(|r| (r.id.as_str(), r.state))
        .collect();
    assert_eq!(recent, [(first.as_str(), State::Denied)]);
    // An ended one shows no content, also none of what it was compared with.
    no(&bench.approvals, &second, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    let view = bench.approvals.show_to_decide(&second).await.unwrap();
    assert!(view.shown.is_none() && view.since_last.is_none());
}

#[tokio::test]
async fn an_input_is_forgotten_a_week_after_its_question_ended() {
    let bench = Bench::new().await;
    let first = asked(&bench, &caller(), refund("1", &json!({ "amount": 5 }))).await;
    no(&bench.approvals, &first, &lead_terms(), &lead("lea"))
        .await
        .unwrap();
    bench
        .clock
        .advance(crate::store::INPUT_KEPT + Duration::from_secs(1));
    bench.approvals.sweep().await.unwrap();
    let second = asked(&bench, &caller(), refund("2", &json!({ "amount": 5 }))).await;
    let view = bench.approvals.show_to_decide(&second).await.unwrap();
    let last = view.since_last.unwrap();
    assert_eq!(
        (last.approval.as_str(), last.differences),
        (first.as_str(), None)
    );
}

#[tokio::test]
async fn the_same_input_is_told_as_the_same_and_a_huge_one_as_not_comparable() {
    let bench = Bench::new().await;
    let small = json!({ "amount": 5 });
    asked(&bench, &caller(), refund("1", &small)).await;
    let again = asked(&bench, &caller(), refund("2", &small)).await;
    let view = bench.approvals.show_to_decide(&again).await.unwrap();
    assert_eq!(view.since_last.unwrap().differences, Some(Vec::new()));
    let huge = json!({ "note": "x".repeat(70_000) });
    asked(&bench, &caller(), refund("3", &huge)).await;
    let after = asked(&bench, &caller(), refund("4", &small)).await;
    let view = bench.approvals.show_to_decide(&after).await.unwrap();
    assert_eq!(view.since_last.unwrap().differences, None);
}
