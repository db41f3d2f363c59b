//! Formats with a structure of their own: forms, tables, XML, messages of several parts.

use super::{Case, typed};

fn fields(content_type: &'static str) -> Case {
    typed(content_type).field("$..ssn", "us-ssn")
}

fn every_split(case: &Case, body: &str, expected: &str) {
    assert_eq!(case.masked(body), expected);
    for at in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        let (out, _) = case.chunks(&[left, right]).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), expected, "split at {at}");
    }
    let single: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(case.chunks(&single).unwrap().0, expected.as_bytes());
}

const FORM: &str = "application/x-www-form-urlencoded";

// M8
#[test]
fn a_form_is_searched_decoded_and_by_name() {
    let body =
        "a=1&mail=bob%40example.com&card=4111+1111+1111+1111&s%73n=17&user[ssn]=x&SSN=&ssn&z=%7e+q";
    let masked = "a=1&mail=[masked:email]&card=[masked:payment-card]&s%73n=[masked:us-ssn]&\
        user[ssn]=[masked:us-ssn]&SSN=&ssn&z=%7e+q";
    every_split(&fields(FORM), body, masked);
    let nested = typed(FORM).field("$.user.mail", "email");
    assert_eq!(
        nested.masked("user%5Bmail%5D=x&mail=y"),
        "user%5Bmail%5D=[masked:email]&mail=y"
    );
    assert_eq!(typed(FORM).withheld(b"a=\x00"), "text");
}

#[test]
fn a_form_without_a_finding_is_byte_identical() {
    let body = "a=b&&=&c==&d=%zz%&+=+&e=%C3%A9&f=a%2Bb";
    every_split(&fields(FORM), body, body);
    every_split(&typed(FORM), body, body);
}

// M6
#[test]
fn a_column_is_masked_by_its_name() {
    let body = "id,Name,\"SSN\"\r\n1,\"Bob \"\"B\"\" Li, bob@example.com\",17\r\n2,,\r\n\r\n3,x,\"a\r\nb\"\r\n4,y";
    let masked = "id,Name,\"SSN\"\r\n1,\"Bob \"\"B\"\" Li, [masked:email]\",[masked:us-ssn]\r\n2,,\r\n\r\n\
        3,x,[masked:us-ssn]\r\n4,y";
    every_split(&fields("text/csv"), body, masked);
    every_split(
        &fields("text/csv; charset=utf-8; header=present"),
        "\u{feff}ssn;b\n1;2\n",
        "\u{feff}ssn;b\n[masked:us-ssn];2\n",
    );
    every_split(
        &fields("text/tab-separated-values"),
        "a,b\tssn\n1\t2,3\n",
        "a,b\tssn\n1\t[masked:us-ssn]\n",
    );
    for path in ["$.ssn", "$[*].ssn", "$.*", "$[0].ssn"] {
        let case = typed("text/csv").field(path, "us-ssn");
        assert!(
            case.masked("ssn,b\n1,2\n")
                .starts_with("ssn,b\n[masked:us-ssn],"),
            "{path}"
        );
    }
}

// M6: readers that disagree would show what a rule was to hide
#[test]
fn a_table_that_can_be_read_in_two_ways_is_withheld() {
    for body in [
        "id,ssn\n1,2,3\n",
        "id;name,ssn\n1;2,3\n",
        "id,ssn\n1,a\"b\n",
        "id,ssn\n1,\"a\"b\n",
        "id,ssn\n1,\"a\n",
        "id,ssn\n1\r2,3\n",
    ] {
        assert_eq!(
            fields("text/csv").withheld(body.as_bytes()),
            "table",
            "{body}"
        );
    }
    let absent = fields("text/csv; header=absent");
    assert_eq!(absent.masker().unwrap_err().code(), "media-type");
    // Without field rules it is text, which has one reading.
    assert_eq!(
        typed("text/csv").masked("a,b\n1,2,bob@example.com\n"),
        "a,b\n1,2,[masked:email]\n"
    );
}

// M6
#[test]
fn an_element_and_an_attribute_are_masked_by_name() {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- bob@example.com -->\
        <r xmlns:p=\"urn:x\"><p:SSN a=\"1\">17<b>x</b></p:SSN><c ssn='17' d = \"bob&#64;example.com\"/>\
        <t>&lt;bob&#x40;example.com&gt; a&amp;b</t><ssn/><![CDATA[4111 1111 1111 1111]]></r>\n";
    let masked = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- [masked:email] -->\
        <r xmlns:p=\"urn:x\"><p:SSN a=\"[masked:us-ssn]\">[masked:us-ssn]</p:SSN><c ssn='[masked:us-ssn]' \
        d = \"[masked:email]\"/><t>&lt;[masked:email]&gt; a&amp;b</t><ssn/>\
        <![CDATA[[masked:payment-card]]]></r>\n";
    every_split(&fields("application/xml"), body, masked);
    // The root element is the document, or its one member.
    for path in ["$.customer.mail", "$.r.customer.mail", "$.*.mail"] {
        let case = typed("application/soap+xml").field(path, "email");
        let masked = case.masked("<r><customer><mail>b</mail></customer></r>");
        assert_eq!(
            masked, "<r><customer><mail>[masked:email]</mail></customer></r>",
            "{path}"
        );
    }
}

// M6
#[test]
fn xml_that_can_be_read_in_two_ways_is_withheld() {
    for body in [
        "<a><ssn>1</a></ssn>",
        "<a>",
        "<a></a><b/>",
        "x<a/>",
        "<!DOCTYPE a [<!ENTITY e \"1\">]><a>&e;</a>",
        "<a b=1/>",
        "<a b=\"1\"c=\"2\"/>",
        "< a/>",
        "<a><!-- ",
        "<?xml version=\"1.0\" encoding=\"UTF-7\"?><a/>",
    ] {
        assert_eq!(
            fields("text/xml").withheld(body.as_bytes()),
            "xml",
            "{body}"
        );
    }
    let deep = "<a>".repeat(600);
    assert_eq!(fields("text/xml").withheld(deep.as_bytes()), "xml");
    let indexed = typed("text/xml").field("$.a[0]", "x");
    assert_eq!(indexed.withheld(b"<a/>"), "xml");
}

const PARTS: &str = "multipart/form-data; boundary=\"b 1\"";
const MESSAGE: &str = "--b 1\r\nContent-Disposition: form-data; name=\"ssn\"\r\n\r\n17\r\n17\r\n--b 1\r\n\
    Content-Disposition: form-data; name=\"f\"; filename=\"bob@example.com\"\r\n\
    Content-Type: application/json\r\n\r\n{\"ssn\":1,\"a\":\"bob\\u0040example.com\"}\r\n--b 1 \r\n\r\n\
    mail bob@example.com --b 1 or\r\n--b 1\r\n\r\n--b 1--\r\n";

// M18
#[test]
fn each_part_of_a_message_is_read_by_its_own_type() {
    let masked = "--b 1\r\nContent-Disposition: form-data; name=\"ssn\"\r\n\r\n[masked:us-ssn]\r\n--b 1\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"[masked:email]\"\r\n\
        Content-Type: application/json\r\n\r\n{\"ssn\":\"[masked:us-ssn]\",\"a\":\"[masked:email]\"}\r\n\
        --b 1 \r\n\r\nmail [masked:email] --b 1 or\r\n--b 1\r\n\r\n--b 1--\r\n";
    every_split(&fields(PARTS), MESSAGE, masked);
    let nested = "pre bob@example.com\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n\
        bob@example.com\r\n--i--\r\n--o--";
    let masked = "pre [masked:email]\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\n\
        [masked:email]\r\n--i--\r\n--o--";
    every_split(&typed("multipart/mixed; boundary=o"), nested, masked);
}

// M18
#[test]
fn a_message_whose_parts_are_not_clear_is_withheld() {
    let typed = || typed("multipart/mixed; boundary=b");
    for (body, code) in [
        ("", "multipart"),
        ("no part", "multipart"),
        ("--b\r\n\r\nx", "multipart"),
        ("--b\r\n\r\nx\r\n--b\r\n", "multipart"),
        ("--b\r\n\r\nx\n--b--\r\n", "multipart"),
        ("--b\r\n\r\nx\r\n--bb\r\n\r\ny\r\n--b--\r\n", "multipart"),
        ("--b\n\nx\n--b--\n", "multipart"),
        (
            "--b\r\nContent-Type : text/plain\r\n\r\nx\r\n--b--",
            "multipart",
        ),
        ("--b\r\nA: b\r\n c\r\n\r\nx\r\n--b--", "multipart"),
        (
            "--b\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--",
            "multipart",
        ),
        (
            "--b\r\nContent-Disposition: form-data; name*=utf-8''ssn\r\n\r\nx\r\n--b--",
            "multipart",
        ),
        (
            "--b\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--",
            "multipart",
        ),
        (
            "--b\r\nContent-Type: text/plain\r\nContent-Type: a/b\r\n\r\nx\r\n--b--",
            "multipart",
        ),
        (
            "--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--",
            "media-type",
        ),
        (
            "--b\r\nContent-Type: application/json\r\n\r\n{\r\n--b--",
            "json",
        ),
    ] {
        assert_eq!(typed().withheld(body.as_bytes()), code, "{body:?}");
    }
    for media in [
        "multipart/mixed",
        "multipart/mixed; boundary=\"\"",
        "multipart/mixed; boundary=\u{e9}",
    ] {
        assert_eq!(
            super::typed(media).masker().unwrap_err().code(),
            "multipart",
            "{media}"
        );
    }
    let mut deep = "x".to_owned();
    for level in 0..5 {
        deep = format!(
            "--b{level}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n{deep}\r\n--b{level}--",
            level - 1
        );
    }
    let outer = super::typed("multipart/mixed; boundary=b4");
    assert_eq!(outer.withheld(deep.as_bytes()), "multipart");
}

// M4, M10: one encoding by the format, one more by whoever wrote the value
#[test]
fn a_value_in_a_data_url_or_wrapped_again_is_found() {
    let json = super::json();
    let packed = "bWFpbCBib2JAZXhhbXBsZS5jb20gbm93";
    let masked = json.masked(&format!("{{\"a\":\"data:text/plain;base64,{packed}\"}}"));
    assert_eq!(masked, "{\"a\":\"data:text/plain;base64,[masked:email]\"}");
    let masked = json.masked("{\"a\":\"data:text/plain,bob%40example.com\"}");
    assert_eq!(masked, "{\"a\":\"data:text/plain,[masked:email]\"}");
    let wrapped = super::text().masked("x&#64example.com and bob&#0000064;example.com\n");
    assert_eq!(wrapped, "[masked:email] and [masked:email]\n");
}

// M19: one byte below each limit, at it, above it
#[test]
fn at_a_limit_an_answer_passes_and_above_it_nothing_of_the_rest_does() {
    const LIMIT: usize = 1024 * 1024;
    let secret = "bob@example.com";
    let cases: [(&str, &str, &str, &str); 5] = [
        ("application/json", "[\"", "\"]", "json"),
        ("text/plain", "", "", "too-long"),
        (FORM, "", "", "too-long"),
        ("text/csv", "ssn\n", "", "too-long"),
        ("text/xml", "<a>", "</a>", "too-long"),
    ];
    for (media, before, after, code) in cases {
        let ruled = matches!(media, "text/csv" | "text/xml");
        let case = if ruled { fields(media) } else { typed(media) };
        // Quotes count to a string, and the byte that ends a text to what is held while it is searched.
        let held = if media == "application/json" { 2 } else { 0 };
        for length in [LIMIT - 1, LIMIT, LIMIT + 1] {
            let filler = "a ".repeat((length - held - secret.len()) / 2 + 1);
            let filler = &filler[..length - held - secret.len()];
            let body = format!("{before}{filler}{secret}");
            let mut masker = case.masker().unwrap();
            let mut out = Vec::new();
            let pushed = masker.push(body.as_bytes(), &mut out).and_then(|()| {
                masker.push(after.as_bytes(), &mut out)?;
                masker.finish(&mut out)
            });
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains(secret), "{media} {length}");
            if length > LIMIT {
                assert_eq!(pushed.unwrap_err().code(), code, "{media}");
                assert!(
                    out.len() <= before.len(),
                    "{media}: {} bytes came out",
                    out.len()
                );
            } else {
                pushed.unwrap();
                assert!(out.contains("[masked:"), "{media} {length}");
            }
        }
    }
}

#[test]
fn very_many_parts_are_withheld_and_take_no_longer_than_their_bytes() {
    let case = typed("multipart/mixed; boundary=b");
    let message = |parts: usize| format!("{}--b--\r\n", "--b\r\n\r\nx\r\n".repeat(parts));
    let most = message(10_000);
    assert_eq!(case.masked(&most), most);
    for parts in [10_001, 150_000] {
        assert_eq!(
            case.withheld(message(parts).as_bytes()),
            "multipart",
            "{parts}"
        );
    }
}

#[test]
fn a_name_announces_its_value_in_a_form_a_table_and_xml() {
    let key = "8f14e45fceea167a5a36dedd4bea2543";
    every_split(
        &typed("application/x-www-form-urlencoded"),
        &format!("user=bo&password=hunter2&api%5Fkey={key}&AccountKey=%38{key}&password=&page=2"),
        "user=bo&password=[masked:secret.password]&api%5Fkey=[masked:secret.named]\
         &AccountKey=[masked:secret.named]&password=&page=2",
    );
    every_split(
        &fields("text/csv"),
        &format!("user,password,api_key\nbo,hunter2,\"{key}\"\n"),
        "user,password,api_key\nbo,[masked:secret.password],[masked:secret.named]\n",
    );
    every_split(
        &fields("application/xml"),
        &format!(
            "<a password='hunter2'><user>bo1234</user><apiKey> {key} </apiKey><b>{key}</b></a>"
        ),
        &format!(
            "<a password='[masked:secret.password]'><user>bo1234</user>\
             <apiKey>[masked:secret.named]</apiKey><b>{key}</b></a>"
        ),
    );
}

#[test]
fn a_field_of_a_form_is_searched_with_its_name_in_front_as_well() {
    let mut case = typed("application/x-www-form-urlencoded");
    let own = serde_json::from_str(r#"{ "regex": "ref=[0-9]{4}\\b" }"#).unwrap();
    case.config.detectors.insert("reference".to_owned(), own);
    every_split(
        &case,
        "a=1&ref=12%334&ref=12345&to=bob%40example.com",
        "a=1&ref=[masked:reference]&ref=12345&to=[masked:email]",
    );
    // As parameters of a signed URL.
    every_split(
        &case,
        "sig=kLx5Wv2cJm0oV0b7mXhJm1l0q9f3u0o8V7y6T5r4e3w%3D\
         &X-Amz-Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024&sig=none",
        "sig=[masked:secret.azure-key]&X-Amz-Signature=[masked:secret.signed-url]&sig=none",
    );
}

#[test]
fn the_name_of_a_part_announces_its_text() {
    let case = typed("multipart/form-data; boundary=b");
    let part = |name: &str, text: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let long = format!("{} bob@example.com", "hunter2 ".repeat(200));
    let message = |password: &str, mail: &str| {
        let parts = [
            part("password", password),
            part("user", "hunter2"),
            part("password", "none"),
            part("password", ""),
            part("password", mail),
            part("password", &long.replace("bob@example.com", mail)),
        ];
        format!("{}--b--\r\n", parts.concat())
    };
    every_split(
        &case,
        &message("hunter2", "of bob@example.com"),
        &message("[masked:secret.password]", "of [masked:email]"),
    );
}

#[test]
fn declarations_and_names_of_xml_hide_nothing() {
    let case = fields("application/xml");
    every_split(
        &case,
        "<!DOCTYPE a SYSTEM \"http://u:hunter22@h/bob@example.com\"><a/>",
        "<!DOCTYPE a SYSTEM \"http://u:[masked:secret.url-password]@h/[masked:email]\"><a/>",
    );
    for body in [
        "<a><!DOCTYPE a></a>",
        "<a/><!DOCTYPE a>",
        "<a><!bob@example.com></a>",
        "<!ELEMENT a>",
        "<!doctype a><a/>",
        "<a><email><!x></email></a>",
        "<a><ghp_abcdefghijklmnopqrstuvwxyz0123456789/></a>",
        "<a ghp_abcdefghijklmnopqrstuvwxyz0123456789='1'/>",
    ] {
        assert_eq!(case.withheld(body.as_bytes()), "xml", "{body}");
    }
}

#[test]
fn every_line_of_the_head_of_a_part_is_searched() {
    let case = typed("multipart/mixed; boundary=b");
    every_split(
        &case,
        "--b\r\nDate: 4111111111111111\r\nContent-Length: 15\r\nContent-MD5: eA==\r\n\
         Content-Digest: sha-256=:eA==:\r\nContent-Type: text/plain; x=y\r\n\r\nbob@example.com\r\n--b--\r\n",
        "--b\r\nDate: [masked:payment-card]\r\nContent-Type: text/plain; x=y\r\n\r\n\
         [masked:email]\r\n--b--\r\n",
    );
    let telling =
        b"--b\r\nContent-Type: text/plain; name=\"bob@example.com\"\r\n\r\nx\r\n--b--\r\n";
    assert_eq!(case.withheld(telling), "multipart");
}
