//! Where tokens are taken back, and where they refuse the request.

use std::sync::Arc;

use super::super::vault::{Form, Owner, Scope, Vault};
use super::super::veil::Cover;
use super::{DataClass, Restorer, TokenFault, Veil, holds_token, token};
use crate::clock::{ManualClock, Timestamp};

const ANN: Owner<'_> = Owner {
    issuer: "corp",
    subject: "ann",
    connection: "crm",
};

fn vault() -> Vault {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
    Vault::of(&[&b"0123456789abcdef0123456789abcdef"[..]], 7, clock)
}

fn made(class: &str, value: &str, scalar: bool) -> String {
    let class: DataClass = class.parse().unwrap();
    let form = Form {
        scalar,
        random: false,
    };
    let vault = vault();
    let payload = vault.seal(Scope::Principal, &ANN, &class, value.as_bytes(), form);
    token(&class, &payload.unwrap())
}

fn email() -> String {
    made("email", "bob@example.com", false)
}

/// Runs `work` for Ann, who may have values of every class but `iban`.
fn restored<T>(work: impl FnOnce(&mut Restorer<'_>) -> T) -> (T, Vec<Veil>) {
    let vault = vault();
    let may = |class: &DataClass| class.as_str() != "iban";
    let mut restorer = Restorer::new(Some(&vault), ANN, &may);
    let out = work(&mut restorer);
    (out, restorer.finish().1)
}

fn body(media_type: &str, body: &str) -> Result<Option<String>, TokenFault> {
    let run = |r: &mut Restorer<'_>| r.body(Some(media_type), body.as_bytes());
    let out = restored(run).0?;
    Ok(out.map(|out| String::from_utf8(out).unwrap()))
}

#[test]
fn a_token_in_json_becomes_its_value_and_all_else_stays_as_it_is() {
    let token = email();
    let text = format!(
        r#"{{ "to":"{token}", "a" : "x\u00e9","note":"mail {token} now","n":1E2,"l":["{token}"]}}"#
    );
    assert_eq!(
        body("application/json", &text).unwrap().unwrap(),
        r#"{ "to":"bob@example.com", "a" : "x\u00e9","note":"mail bob@example.com now","n":1E2,"l":["bob@example.com"]}"#
    );
    // A quote of the value ends no string.
    let quoted = made("nick", "a\"bold\\c\n", false);
    let text = format!(r#"{{"a":"{quoted}"}}"#);
    assert_eq!(
        body("application/json", &text).unwrap().unwrap(),
        r#"{"a":"a\"bold\\c\n"}"#
    );
    // The mark may be written as an escape.
    let escaped = token.replace('~', "\\u007e");
    let text = format!(r#"["{escaped}"]"#);
    assert_eq!(
        body("application/json", &text).unwrap().unwrap(),
        r#"["bob@example.com"]"#
    );
}

#[test]
fn the_token_of_a_number_becomes_the_number_again() {
    let number = made("payment-card", "4111111111111111", true);
    let text = format!(r#"{{"n":"{number}","t":"no {number}"}}"#);
    assert_eq!(
        body("application/json", &text).unwrap().unwrap(),
        r#"{"n":4111111111111111,"t":"no 4111111111111111"}"#
    );
}

#[test]
fn forms_text_headers_paths_and_queries_take_tokens_back() {
    let token = made("email", "bob+x@example.com", false);
    let encoded = token.replace('~', "%7E");
    let form = "application/x-www-form-urlencoded";
    assert_eq!(
        body(form, &format!("a=1&to={encoded}&b={token}"))
            .unwrap()
            .unwrap(),
        "a=1&to=bob%2Bx%40example.com&b=bob%2Bx%40example.com"
    );
    assert_eq!(
        body("text/plain", &format!("to {token},\n"))
            .unwrap()
            .unwrap(),
        "to bob+x@example.com,\n"
    );
    let header = restored(|r| r.header("x-to", token.as_bytes())).0;
    assert_eq!(header.unwrap().unwrap(), "bob+x@example.com");
    let target = format!("/c/{token}/x?q={token}&r=a%20{token}");
    assert_eq!(
        restored(|r| r.target(&target)).0.unwrap().unwrap(),
        "/c/bob%2Bx%40example.com/x?q=bob%2Bx%40example.com&r=a%20bob%2Bx%40example.com"
    );
}

#[test]
fn what_holds_no_token_is_left_alone() {
    assert_eq!(body("image/png", "cgtok and cgtokens"), Ok(None));
    assert_eq!(body("application/json", "{broken"), Ok(None));
    assert_eq!(restored(|r| r.target("/a?b=c")).0, Ok(None));
    assert_eq!(restored(|r| r.header("a", b"b")).0, Ok(None));
}

#[test]
fn a_token_where_none_is_taken_back_refuses_the_request() {
    let token = email();
    for (media_type, text) in [
        ("application/json", format!(r#"{{"{token}":1}}"#)),
        ("application/xml", format!("<a>{token}</a>")),
        ("text/csv", format!("a\n{token}\n")),
        (
            "multipart/form-data; boundary=x",
            format!("--x\r\n\r\n{token}\r\n--x--\r\n"),
        ),
        ("application/octet-stream", token.clone()),
        ("application/x-www-form-urlencoded", format!("{token}=1")),
        ("application/x-www-form-urlencoded", format!("a=1&{token}")),
        ("text/plain", token.replace('~', "%7E")),
        ("text/html", token.replace('~', "&#126;")),
    ] {
        let fault = body(media_type, &text).unwrap_err();
        let misplaced = matches!(fault, TokenFault::Misplaced { .. });
        assert!(misplaced, "{media_type} {text}: {fault}");
    }
    let name = restored(|r| r.target(&format!("/a?{token}=1"))).0;
    assert!(matches!(name, Err(TokenFault::Misplaced { .. })));
}

#[test]
fn a_forged_cut_or_foreign_token_is_never_forwarded() {
    let token = email();
    let json = |token: &str| body("application/json", &format!(r#"["{token}"]"#));
    let cut = &token[..token.len() - 1];
    for forged in [
        cut,
        "cgtok~email~~",
        "cgtok~email~AAAA~",
        "cgtok~Email~AAAA~",
        "cgtok~",
        &token.replace("email", "phone"),
    ] {
        let fault = json(forged).unwrap_err();
        assert!(matches!(fault, TokenFault::Refused { .. }), "{forged}");
        assert!(!fault.to_string().contains("AAAA"), "{fault}");
    }
    let vault = vault();
    let eve = Owner {
        subject: "eve",
        ..ANN
    };
    let foreign = Restorer::new(Some(&vault), eve, &|_| true).header("a", token.as_bytes());
    assert_eq!(
        foreign.unwrap_err().to_string(),
        "header `a` holds a token that cannot be taken back: it was not made for this caller, was changed, \
         or its key is gone"
    );
    let keyless = Restorer::new(None, ANN, &|_| true).header("a", token.as_bytes());
    assert!(matches!(keyless, Err(TokenFault::Refused { .. })));
}

#[test]
fn a_class_that_policy_does_not_give_to_the_function_refuses_the_request() {
    let iban = made("iban", "DE89370400440532013000", false);
    let fault = body("application/json", &format!(r#"{{"a":"{iban}"}}"#)).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the body holds a token of class `iban`, which this function may not be given the value of"
    );
}

#[test]
fn a_value_cannot_change_the_text_around_it() {
    let quote = made("nick", "\" } { user", false);
    let inside = format!(r#"{{"query":"{{ user(name: \"{quote}\") }}"}}"#);
    let fault = body("application/json", &inside).unwrap_err();
    assert!(matches!(fault, TokenFault::Unfit { .. }), "{fault}");
    let amp = made("nick", "al&bert=c", false);
    let form = body("application/x-www-form-urlencoded", &format!("n={amp}"));
    assert_eq!(form.unwrap().unwrap(), "n=al%26bert%3Dc");
    let lines = made("nick", "al\r\nx: yes", false);
    let header = restored(|r| r.header("x-a", lines.as_bytes())).0;
    assert!(matches!(header, Err(TokenFault::Unfit { .. })));
}

#[test]
fn people_see_markers_where_tokens_were() {
    let token = made("email", "bob+x@example.com", false);
    let text = format!(r#"{{"a":"{token}"}}"#);
    let (_, mut veils) = restored(|r| r.body(Some("application/json"), text.as_bytes()).unwrap());
    let (_, more) = restored(|r| r.target(&format!("/c/{token}")).unwrap());
    veils.extend(more);
    assert_eq!(
        Cover::new(&veils)
            .over(r#"{"a":"bob+x@example.com"} /c/bob%2Bx%40example.com"#)
            .unwrap(),
        r#"{"a":"[masked:email]"} /c/[masked:email]"#
    );
    assert!(!format!("{veils:?}").contains("bob"));
}

#[test]
fn too_many_tokens_refuse_the_request() {
    let token = email();
    let list = |count: usize| format!("[{}]", vec![format!("\"{token}\""); count].join(","));
    assert!(body("application/json", &list(1000)).is_ok());
    assert_eq!(
        body("application/json", &list(1001)),
        Err(TokenFault::TooMany)
    );
}

#[test]
fn values_that_could_not_be_kept_out_of_the_answer_are_not_taken_back() {
    let short = made("nick", "1234567", true);
    assert_eq!(
        body("application/json", &format!("[\"{short}\"]"))
            .unwrap_err()
            .to_string(),
        "the body holds a token of class `nick` whose value is shorter than 8 bytes: it could not be kept out of \
         the answer, and is not taken back"
    );
    let long = |n: usize| made("nick", &format!("{n:01000}"), false);
    let list = |count: usize| {
        let tokens: Vec<_> = (0..count).map(|n| format!("\"{}\"", long(n))).collect();
        body("application/json", &format!("[{}]", tokens.join(",")))
    };
    assert!(list(65).is_ok());
    assert_eq!(list(66), Err(TokenFault::TooMany));
}

#[test]
fn the_word_alone_is_no_token() {
    for text in ["cgtok", "cgtoken~", "a cgtok ~", "CGTOK~email~"] {
        assert!(!holds_token(text.as_bytes()), "{text}");
    }
    for text in ["cgtok~", "xcgtok%7e", "cgtok\\u007E", "cgtok&#126;"] {
        assert!(holds_token(text.as_bytes()), "{text}");
    }
}
