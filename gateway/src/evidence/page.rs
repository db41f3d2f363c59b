//! The page of a bundle: the story for a person, without a script and without anything from elsewhere.
//! It is made from what is verified, and made again when it is: the same bundle gives the same page.

use std::fmt::Write as _;

use serde_json::Value;

use super::read::{Committed, Told};
use super::story::{Fact, sections};
use crate::approval::terminal_safe;

/// Longest part that is shown on the page, in bytes; the files have all of it.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;\
color:#1a1a1a;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccc}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0}\
th{font-weight:600;white-space:nowrap;width:12rem}td,pre{overflow-wrap:anywhere}pre{background:#f5f5f5;\
padding:.75rem;white-space:pre-wrap}@media(prefers-color-scheme:dark){body{color:#eee;background:#111}\
pre{background:#222}}";

/// Text that shows and does nothing: what is markup is written out, what would act is made visible.
fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in terminal_safe(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The same of many lines.
fn safe_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(safe).collect();
    lines.join("\n")
}

/// A page that is written piece by piece. Writing to a string does not fail.
struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", safe(text));
    }

    fn rows(&mut self, rows: &[(String, String)]) {
        self.0.push_str("<table>\n");
        for (name, value) in rows {
            let _ = writeln!(
                self.0,
                "<tr><th>{}</th><td>{}</td></tr>",
                safe(name),
                safe(value)
            );
        }
        self.0.push_str("</table>\n");
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", safe(text));
    }

    fn block(&mut self, text: &str) {
        let _ = writeln!(self.0, "<pre>{}</pre>", safe_lines(text));
    }
}

/// The page of everything that a bundle says.
pub(super) fn page(told: &Told) -> String {
    let title = format!("Evidence of call {}", told.call);
    let mut page = Page(String::new());
    let _ = write!(
        page.0,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        safe(&title)
    );
    page.say(
        "This page was made from the records in this folder. It proves nothing by itself: the last section \
         says how to check it.",
    );
    let facts: Vec<Fact> = told.records.iter().map(super::read::Record::fact).collect();
    for section in sections(&facts) {
        page.heading(section.title);
        page.rows(&section.rows);
    }
    contents(&mut page, told);
    policies(&mut page, told);
    page.heading("The records, as they stand in the log");
    for record in &told.records {
        page.say(&format!("Record {}, {}", record.index, record.text("kind")));
        page.block(&String::from_utf8_lossy(&record.entry));
        if let Some(content) = &record.content {
            page.say("Sealed with it:");
            page.block(&pretty(content));
        }
    }
    check(&mut page, told);
    page.0.push_str("</body>\n</html>\n");
    page.0
}

fn pretty(bytes: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    let pretty = parsed.and_then(|parsed| serde_json::to_string_pretty(&parsed).ok());
    pretty.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

fn contents(page: &mut Page, told: &Told) {
    if told.committed.is_empty() {
        page.heading("Content");
        page.say(
            "What was sent and released is not disclosed here. The records commit to it: whoever has it can \
             show it later, and cannot show anything else.",
        );
        return;
    }
    for (word, committed) in &told.committed {
        page.heading(match *word {
            "request.head" => "Sent: head",
            "request.body" => "Sent: body",
            "context" => "What policy saw",
            "released.head" => "Released: head",
            "released.body" => "Released: body",
            "released.trailers" => "Released: trailers",
            other => other,
        });
        page.say(&said(committed));
        let shown = committed.bytes.get(..SHOWN_BYTES_MAX);
        let (shown, all) = shown.map_or((committed.bytes.as_slice(), true), |part| (part, false));
        match std::str::from_utf8(shown) {
            Ok("") => {}
            Ok(text) => page.block(text),
            Err(error) if !all && error.valid_up_to() + 4 > SHOWN_BYTES_MAX => {
                page.block(&String::from_utf8_lossy(shown));
            }
            Err(_) => page.say("It is not a text."),
        }
        if !all {
            page.say(&format!(
                "The first 65536 bytes; all are in content/{word}."
            ));
        }
    }
}

fn said(committed: &Committed) -> String {
    let kept = committed.bytes.len();
    match (committed.whole, committed.total) {
        (true, _) => format!("{kept} bytes, to which the record commits."),
        (false, Some(total)) => format!(
            "{kept} of {total} bytes were kept. The record commits to all of them, so that these are bound by \
             the digest of the sealed frames only."
        ),
        (false, None) => format!("{kept} bytes were kept; the record does not say of how many."),
    }
}

fn policies(page: &mut Page, told: &Told) {
    page.heading("Policies in force");
    let Some(policies) = &told.policies else {
        page.say("They are not in this bundle; the records state their version.");
        return;
    };
    page.say(&format!("Version {}:", policies.version()));
    page.block(&policies.policies.join("\n\n"));
}

fn check(page: &mut Page, told: &Told) {
    page.heading("How to check it");
    page.say(
        "The key of the log comes from somebody you trust, not from this folder. With it, a verifier that is not \
         Callgate's shows that each record is in the log that the key signed:",
    );
    let mut lines = String::new();
    for record in &told.records {
        let path = super::make::proof_path(record.index);
        let _ = writeln!(lines, "python3 verify.py proof {path} --key \"$KEY\"");
    }
    page.block(lines.trim_end());
    let words: Vec<_> = told.committed.iter().filter(|(_, c)| c.whole).collect();
    if !words.is_empty() {
        page.say("What is disclosed is what the records commit to: each line gives the digest that the record states.");
        let mut lines = String::new();
        for (word, _) in words {
            let _ = writeln!(lines, "cat content/{word}.salt content/{word} | sha256sum");
        }
        page.block(lines.trim_end());
    }
    page.say("Callgate checks all of it at once, this page included:");
    page.block("callgate audit verify FOLDER --key \"$KEY\"");
    page.say(
        "A bundle shows that its records are in the log. It does not show that there are no others: that is what \
         the whole log, and the heads that others hold, are for.",
    );
    page.say(
        "What the head says; who signed it stands in the file `checkpoint`, and only a verifier with keys from \
         elsewhere can tell whose signatures are good:",
    );
    let text = told.checkpoint.split("\n\n").next();
    page.block(text.unwrap_or_default());
}
