//! What stands in a request in place of what must not be sent, and where nothing can.

use std::sync::Arc;

use super::super::super::vault::{Owner, Vault};
use super::super::super::{Config, DataClass, RequestFacts, RequestFault, Restorer, Settings};
use super::Rewriter;
use crate::clock::{ManualClock, Timestamp};

const KEY: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
const CARD: &str = "4111111111111111";

fn vault() -> Arc<Vault> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
    let key = &b"0123456789abcdef0123456789abcdef"[..];
    Arc::new(Vault::of(&[key], 7, clock))
}

/// Runs `work` for Ann under `instead`.
fn rewritten<T>(
    instead: &str,
    work: impl FnOnce(&mut Rewriter<'_>) -> Result<Option<T>, RequestFault>,
) -> Result<Option<T>, String> {
    let text = format!("requests: {{ instead: {{ {instead} }} }}");
    let config: Config = serde_saphyr::from_str(&text).unwrap();
    let settings = Settings::compile(&config).unwrap();
    let settings = settings.with_vault(Some(vault()), "crm");
    let mut rewriter = Rewriter::new(settings.requests().unwrap(), "corp", "ann");
    let out = work(&mut rewriter).map_err(|fault| fault.to_string())?;
    assert_eq!(out.is_some(), !rewriter.finish().is_empty());
    Ok(out)
}

fn body_as(
    instead: &str,
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    body: &[u8],
) -> Result<Option<String>, String> {
    let facts = RequestFacts {
        target: "",
        content_type,
        content_encoding,
        body,
    };
    let out = rewritten(instead, |rewriter| rewriter.body(&facts))?;
    Ok(out.map(|out| String::from_utf8(out).unwrap()))
}

fn body(instead: &str, content_type: &str, body: &str) -> Result<Option<String>, String> {
    body_as(instead, Some(content_type), None, body.as_bytes())
}

fn target(instead: &str, target: &str) -> Result<Option<String>, String> {
    rewritten(instead, |rewriter| rewriter.target(target))
}

fn header(instead: &str, name: &str, value: &str) -> Result<Option<String>, String> {
    let out = rewritten(instead, |rewriter| rewriter.header(name, value.as_bytes()))?;
    Ok(out.map(|out| String::from_utf8(out).unwrap()))
}

const ALL: &str = "secret: redact, email: redact, payment-card: partial";

#[test]
fn in_json_forms_and_text_a_finding_is_replaced_and_every_other_byte_stays() {
    let cases = [
        (
            "application/json",
            format!(
                r#"{{ "to":"bob\u0040example.com", "n": 1E2, "a":["use {KEY} now"], "card":{CARD} }}"#
            ),
            r#"{ "to":"[masked:email]", "n": 1E2, "a":["use [masked:secret.github-token] now"], "card":"[masked:payment-card:1111]" }"#,
        ),
        (
            "application/x-ndjson",
            "{\"a\":\"bob@example.com\"}\n{\"a\":1}\n".to_owned(),
            "{\"a\":\"[masked:email]\"}\n{\"a\":1}\n",
        ),
        (
            "application/x-www-form-urlencoded",
            format!("a=1&to=bob%40example.com&card={CARD}"),
            "a=1&to=[masked:email]&card=[masked:payment-card:1111]",
        ),
        (
            "text/plain; charset=utf-8",
            format!("mail bob@example.com,\nkey {KEY}\n"),
            "mail [masked:email],\nkey [masked:secret.github-token]\n",
        ),
    ];
    for (content_type, sent, expected) in &cases {
        let out = body(ALL, content_type, sent).unwrap();
        assert_eq!(out.as_deref(), Some(*expected), "{content_type}");
    }
    let clean = r#"{"a":"nothing here","n":[1,2]}"#;
    assert_eq!(body(ALL, "application/json", clean), Ok(None));
    assert_eq!(body_as(ALL, None, None, b""), Ok(None));
}

#[test]
fn in_path_query_and_headers_a_finding_is_replaced_by_what_can_stand_there() {
    assert_eq!(
        target(
            ALL,
            "/people/bob%40example.com/mail?card=4111+1111+1111+1111&x=%31"
        )
        .unwrap(),
        Some("/people/%5Bmasked:email%5D/mail?card=[masked:payment-card:1111]&x=%31".to_owned())
    );
    assert_eq!(target(ALL, "/people/bob?x=1"), Ok(None));
    assert_eq!(
        header(ALL, "x-note", &format!("for bob@example.com, {KEY}")).unwrap(),
        Some("for [masked:email], [masked:secret.github-token]".to_owned())
    );
    assert_eq!(header(ALL, "accept", "application/json"), Ok(None));
}

#[test]
fn a_token_in_a_request_opens_to_what_the_caller_wrote_and_is_the_same_each_time() {
    let instead = "contact: token, secret: token, payment-card: pseudonym";
    let sent = format!(
        r#"{{"to":"bob@example.com","token":"{KEY}","api_key":"q8Zr2Lw9Xc4Vb7Nm1Kj5","card":{CARD}}}"#
    );
    let out = body(instead, "application/json", &sent).unwrap().unwrap();
    assert!(
        !out.contains("bob@") && !out.contains("ghp_") && !out.contains("q8Zr"),
        "{out}"
    );
    assert!(out.contains(r#""card":"[masked:payment-card:p-"#), "{out}");
    assert_eq!(
        body(instead, "application/json", &sent).unwrap().unwrap(),
        out
    );
    let vault = vault();
    let owner = Owner {
        issuer: "corp",
        subject: "ann",
        connection: "elsewhere",
    };
    let may = |_: &DataClass| true;
    let mut restorer = Restorer::new(Some(&vault), owner, &may);
    let back = restorer.body(Some("application/json"), out.as_bytes());
    let back = String::from_utf8(back.unwrap().unwrap()).unwrap();
    assert!(
        back.contains("\"bob@example.com\"") && back.contains(KEY),
        "{back}"
    );
    assert!(back.contains("q8Zr2Lw9Xc4Vb7Nm1Kj5"), "{back}");
    let path = target(instead, "/people/bob%40example.com?x=1")
        .unwrap()
        .unwrap();
    assert!(
        path.starts_with("/people/cgtok~email~") && path.ends_with("~?x=1"),
        "{path}"
    );
    let back = restorer.target(&path).unwrap().unwrap();
    assert_eq!(back, "/people/bob%40example.com?x=1");
}

#[test]
fn where_nothing_can_be_put_in_place_the_request_is_refused_and_told_why() {
    let mail = "bob@example.com";
    let name = format!(r#"{{"{mail}":1}}"#);
    let xml = format!("<a>{mail}</a>");
    let parts =
        format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{mail}\r\n--b--\r\n");
    let zipped = {
        use std::io::Write as _;
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(format!(r#"{{"a":"{mail}"}}"#).as_bytes())
            .unwrap();
        zip.finish().unwrap()
    };
    let json = "application/json";
    let cases: [(&str, Option<&str>, &[u8], &str); 7] = [
        (json, None, name.as_bytes(), "the name of a member or field"),
        (
            "application/x-www-form-urlencoded",
            None,
            b"bob%40example.com=1",
            "the name of a member or field",
        ),
        (
            "application/xml",
            None,
            xml.as_bytes(),
            "only JSON, forms and text are rewritten",
        ),
        (
            "text/csv",
            None,
            b"mail\nbob@example.com\n",
            "only JSON, forms and text are rewritten",
        ),
        (
            "multipart/form-data; boundary=b",
            None,
            parts.as_bytes(),
            "only JSON, forms and text are rewritten",
        ),
        (
            "application/octet-stream",
            None,
            br#"{"a":"bob@example.com"}"#,
            "labelled as such",
        ),
        (json, Some("gzip"), &zipped, "the body is compressed"),
    ];
    for (content_type, coding, sent, why) in cases {
        let said = body_as(ALL, Some(content_type), coding, sent).unwrap_err();
        assert!(
            said.starts_with(
                "the body holds data of class `email`, which cannot be replaced there: "
            ),
            "{content_type}: {said}"
        );
        assert!(
            said.contains(why) && !said.contains("bob"),
            "{content_type}: {said}"
        );
    }
}

#[test]
fn headers_of_http_names_of_parameters_and_what_reaches_over_parts_are_refused() {
    let said = body(ALL, "image/png", "x").unwrap_err();
    assert!(said.starts_with("the body cannot be searched"), "{said}");
    let said = header(ALL, "if-match", "\"bob@example.com\"").unwrap_err();
    assert!(
        said.starts_with("header `if-match` holds data of class `email`"),
        "{said}"
    );
    let said = header(ALL, "content-type", "text/plain; a=bob@example.com").unwrap_err();
    assert!(said.contains("it means something to HTTP itself"), "{said}");
    let said = target(ALL, "/a?bob%40example.com=1").unwrap_err();
    assert!(said.contains("the name of a member or field"), "{said}");
    // A key of AWS may hold a `/`, which here ends a part of the path.
    let said = target(
        "secret: redact",
        "/a/aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    );
    assert!(
        said.unwrap_err()
            .contains("it reaches over several of its parts")
    );
}

#[test]
fn what_the_config_says_of_requests_is_checked_when_it_is_read() {
    let faults = |requests: &str| {
        let config: Config =
            serde_saphyr::from_str(&format!("requests: {{ {requests} }}")).unwrap();
        let faults = Settings::compile(&config).unwrap_err();
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let said = |requests: &str, words: &str| {
        let said = faults(requests);
        assert!(said.contains(words), "{requests}: {said}");
    };
    said(
        "instead: { e-mail: redact }",
        "`requests.instead.e-mail`: no detector finds `e-mail`",
    );
    said("instead: { email: block }", "write `email` under `block`");
    said(
        "instead: { email: drop }",
        "`drop` is for places in answers",
    );
    said(
        "instead: { postal-code: token }",
        "each token of one is different",
    );
    said(
        "instead: { postal-code: pseudonym }",
        "`requests.instead.postal-code`: `postal-code` has so few values",
    );
    said(
        "instead: { ip-address: partial }",
        "no part of `ip-address` can be kept",
    );
    said(
        "block: [secret], instead: { secret.aws-key: token }",
        "`block` names `secret`",
    );
    let keys = |requests: &str| {
        let config: Config =
            serde_saphyr::from_str(&format!("mode: off\nrequests: {{ {requests} }}")).unwrap();
        Settings::compile(&config).unwrap().needs_keys()
    };
    assert!(keys("instead: { email: token }") && !keys("instead: { email: redact }"));
}
