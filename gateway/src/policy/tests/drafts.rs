//! Drafts that people send: what nests without end is refused, and what passes ends no thread.

use std::thread;

use super::*;
use crate::policy::DRAFT_STACK_BYTES;

/// What a body of the API may bring at most.
const SENT_BYTES: usize = 64 * 1024;

/// A policy with a condition that begins, goes on as often as it may, and ends.
fn policy(condition: &str) -> String {
    format!("@id(\"deep\") forbid(principal, action, resource) when {{ {condition} }};")
}

/// Load it as a draft on a stack of that size. What overflows it ends the whole process.
fn draft(sent: String) -> Result<Decision, Vec<String>> {
    let work = move || {
        let file = PolicyFile {
            name: "draft".to_owned(),
            text: sent,
        };
        let mut vocabulary = vocabulary();
        vocabulary
            .functions
            .retain(|function| function.id.to_string() == "payments/createRefund");
        let all = "@id(\"all\") permit(principal, action, resource);";
        let policies = load_with(all, &vocabulary).unwrap();
        let loaded = policies.draft(Vec::new(), file);
        let loaded = loaded.map_err(|faults| {
            let lines = faults.iter().map(ToString::to_string);
            lines
                .map(|line| line.chars().take(200).collect())
                .collect::<Vec<String>>()
        })?;
        // Those who judge have an ordinary stack.
        let judge = || ask(&loaded, &support(), "payments/createRefund", &refund(1));
        thread::scope(|scope| Ok(scope.spawn(judge).join().unwrap()))
    };
    let thread = thread::Builder::new().stack_size(DRAFT_STACK_BYTES);
    thread.spawn(work).unwrap().join().unwrap()
}

/// Texts that nest in all ways that there are, as deep as `count` says.
fn nested(count: usize) -> Vec<String> {
    let times = |text: &str| text.repeat(count);
    vec![
        policy(&format!("{}true{}", times("("), times(")"))),
        policy(&format!("{}true{}", times("!("), times(")"))),
        policy(&format!("{}1{} == 1", times("["), times("]"))),
        policy(&format!("{}1{} == 1", times("{a:"), times("}"))),
        policy(&format!("{}true", times("if true then true else "))),
        policy(&format!(
            "{}true{}",
            times("if "),
            times(" then true else true")
        )),
        policy(&format!("{}true", times("!"))),
        policy(&format!("1{} == 1", times("+1"))),
        policy(&format!("1{} == 1", times("*1"))),
        policy(&format!("1{} == 1", times("/1"))),
        policy(&format!("true{}", times("&&true"))),
        policy(&format!("false{}", times("||true"))),
        policy(&format!("context{} == 1", times(".a"))),
        policy(&format!("context{} == 1", times("[\"a\"]"))),
        policy(&format!("context{} == 1", times(".a()"))),
        policy(&format!("context has a{}", times(".a"))),
        policy("true").replace("};", &format!("}}{};", times("when{true}"))),
        policy("true").replace("};", &format!("}}{};", times("unless{false}"))),
        format!(
            "// \r{}",
            policy(&format!("{}true{}", times("("), times(")")))
        ),
        format!(
            "@a(\"\\\"\") {}",
            policy(&format!("{}true{}", times("("), times(")")))
        ),
    ]
}

/// Texts that are long, and not deep.
fn wide(count: usize) -> Vec<String> {
    let many = |each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    vec![
        policy(&format!("[{}1].contains(2)", many(&|i| format!("{i},")))),
        policy(&format!(
            "{{{}b: 1}} == {{b: 1}}",
            many(&|i| format!("a{i}: 1, "))
        )),
        policy(&format!("\"a\" like \"{}b\"", many(&|_| "*a".to_owned()))),
        policy(&format!("principal is A{}", many(&|_| "::A".to_owned()))),
        many(&|i| format!("@a{i} ")) + &policy("true"),
        many(&|i| format!("@id(\"a{i}\") permit(principal, action, resource);")),
    ]
}

fn cut(mut text: String) -> String {
    text.truncate(SENT_BYTES);
    text
}

#[test]
fn a_draft_that_nests_without_end_is_refused_before_it_is_parsed() {
    for text in nested(SENT_BYTES) {
        let text = cut(text);
        let faults = draft(text.clone()).expect_err("it loads");
        let refused = faults.len() == 1 && faults[0].contains(": more than ");
        assert!(refused, "{}: {faults:?}", &text[..90]);
        assert!(faults[0].contains("policy simulate"), "{faults:?}");
    }
    // Small policies, and more of them than a person reads.
    let many = |i| format!("@id(\"a{i}\") permit(principal, action, resource) when {{ 1 == 1 }};");
    let faults = draft(cut((0..SENT_BYTES / 70).map(many).collect())).expect_err("it loads");
    assert!(faults[0].contains("in one draft"), "{faults:?}");
}

#[test]
fn no_draft_within_the_bounds_ends_a_thread_or_is_refused_for_its_depth() {
    for (count, deep_enough) in [(20, false), (60, false), (290, true)] {
        let all = nested(count).into_iter().chain(wide(count));
        for text in all.chain(wide(SENT_BYTES / 8).into_iter().map(cut)) {
            let begins: String = text.chars().take(90).collect();
            if let Err(faults) = draft(text) {
                let refused = faults[0].contains(": more than ");
                assert!(
                    deep_enough || !refused || faults[0].contains("one draft"),
                    "{begins}: {faults:?}"
                );
            }
        }
    }
    // What begins a comment or a string hides nothing, and what stands in one does not count.
    let quoted = format!("// {}\n{}", "(".repeat(500), policy("\"\\\"((((\" != \"\""));
    assert!(draft(quoted.replace("((((", &"(".repeat(500))).is_ok());
}
