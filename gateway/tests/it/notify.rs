//! People are told where they are: real messages from a real gateway to stand-ins of each receiver, also when a receiver
//! or the gateway is away for a while.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use serde_json::{Value, json};

use super::calls_approvals::{lead, staff, told};
use super::http_tls::{Authority, GOOD};
use super::support::child::Child;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, eventually, person};
use super::support::raw;
use super::support::recorder::{Recorder, json_answer};
use super::support::{free_address, peers, wait_for};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @reason("writes wait for a lead")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
@id("auditors") permit (principal in Group::"corp/audit", action == Action::"audit.read", resource);
@id("operators") permit (principal in Group::"corp/ops", action == Action::"revoke", resource);
"#;

/// A gateway that tells these channels.
fn gateway(double: &Double, channels: &Value, files: &[(&str, String)]) -> Gateway {
    setup(double, channels, files).start()
}

fn setup(double: &Double, channels: &Value, files: &[(&str, String)]) -> Setup {
    let functions = json!({ "inline": { "post": { "method": "POST", "path": "/{case}", "body": { "schema": {
        "type": "object", "properties": { "card": { "type": "string" } },
    } } } } });
    let mut setup = Setup::new()
        .policy(POLICIES)
        .with("approvals", json!({ "cooldown_s": 0 }))
        .with(
            "notify",
            json!({ "link": "https://console.test/", "channels": channels }),
        )
        .connection(
            "brief",
            double.address,
            &json!({ "functions": functions, "hold_s": 0 }),
        );
    for (name, text) in files {
        setup = setup.file(name, text);
    }
    setup
}

/// Ask something; the approval's id.
fn ask(gateway: &Gateway, subject: &str) -> String {
    let body = json!({ "card": "4111111111111111" });
    let answer = gateway.post("/brief/x", &staff(subject), &body);
    let said = told(&answer, 429, "approval_pending", "no");
    said["approval"]["id"].as_str().expect("an id").to_owned()
}

fn signed(seen: &super::support::recorder::Seen) -> bool {
    let header = |name: &str| seen.header(name)[0].to_owned();
    let key = base64::engine::general_purpose::STANDARD
        .decode(KEY)
        .expect("a key");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let mut bytes =
        format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    bytes.extend_from_slice(&seen.body);
    let given = header("webhook-signature");
    let given = given.strip_prefix("v1,").expect("its version");
    let given = base64::engine::general_purpose::STANDARD
        .decode(given)
        .expect("base64");
    aws_lc_rs::hmac::verify(&key, &bytes, &given).is_ok()
}

#[test]
fn a_webhook_slack_and_teams_are_told_and_none_of_them_of_the_calls_content() {
    let double = Double::start();
    let (hook, slack, teams) = (Recorder::ok(), Recorder::ok(), Recorder::ok());
    let url = |recorder: &Recorder, path: &str| format!("http://{}{path}", recorder.address);
    let gateway = gateway(
        &double,
        &json!({
            "hook": { "webhook": { "url": url(&hook, "/hook"), "secret": "file:key" } },
            "slack": { "slack": { "url": "file:slack" } },
            "teams": { "teams": { "url": "file:teams" } },
        }),
        &[
            ("key", format!("whsec_{KEY}")),
            ("slack", url(&slack, "/services/T1/B1/secret")),
            ("teams", url(&teams, "/workflows/1?sig=secret")),
        ],
    );
    let id = ask(&gateway, "wanda");
    let link = format!("https://console.test/approve/{id}");
    let first = |recorder: &Recorder| eventually("a message", || recorder.seen().first().cloned());
    let (to_hook, to_slack, to_teams) = (first(&hook), first(&slack), first(&teams));
    assert!(signed(&to_hook), "{to_hook:?}");
    let body: Value = serde_json::from_slice(&to_hook.body).expect("JSON");
    assert_eq!(
        (
            &body["type"],
            &body["data"]["approval"],
            &body["data"]["function"],
            &body["data"]["link"]
        ),
        (
            &json!("approval.asked"),
            &json!(id),
            &json!("brief/post"),
            &json!(link)
        )
    );
    assert_eq!(to_slack.line(), "POST /services/T1/B1/secret HTTP/1.1");
    assert_eq!(to_teams.line(), "POST /workflows/1?sig=secret HTTP/1.1");
    for seen in [&to_hook, &to_slack, &to_teams] {
        let text = String::from_utf8_lossy(&seen.body);
        assert!(
            text.contains(&link)
                && text.contains("corp/wanda")
                && text.contains("writes wait for a lead"),
            "{text}"
        );
        assert!(!text.contains("4111"), "{text}");
    }
    // Programs are told of the end as well.
    let (good, text) = gateway.approvals(&lead(), &["deny", &id]);
    assert!(good, "{text}");
    let ended = eventually("the end", || hook.seen().get(1).cloned());
    assert!(signed(&ended));
    let body: Value = serde_json::from_slice(&ended.body).expect("JSON");
    assert_eq!(
        (&body["type"], &body["data"]["state"]),
        (&json!("approval.ended"), &json!("denied"))
    );
    assert_ne!(ended.header("webhook-id"), to_hook.header("webhook-id"));
    // The addresses are secrets and stand nowhere in the log.
    assert!(!gateway.child.output().contains("secret"));
}

#[test]
fn a_receiver_that_is_away_gets_the_message_later_also_over_a_crash() {
    let double = Double::start();
    let hook = Recorder::start(json_answer(500, "{}"));
    let url = format!("http://{}/hook", hook.address);
    let mut gateway = gateway(
        &double,
        &json!({ "hook": { "webhook": { "url": url, "secret": "file:key" } } }),
        &[("key", format!("whsec_{KEY}"))],
    );
    let id = ask(&gateway, "will");
    eventually("a try", || hook.seen().first().cloned());
    gateway.crash();
    hook.answer(json_answer(204, ""));
    let tries = eventually("a delivery after the crash", || {
        let seen = hook.seen();
        (seen.len() >= 2).then_some(seen)
    });
    // The same message by its id, signed anew.
    let ids: Vec<_> = tries
        .iter()
        .map(|seen| seen.header("webhook-id")[0].to_owned())
        .collect();
    assert!(
        ids.iter().all(|one| one == &ids[0] && one.contains(&id)),
        "{ids:?}"
    );
    assert!(tries.iter().all(signed));
    // The question itself did not wait for any of it.
    let (good, text) = gateway.approvals(&lead(), &["approve", &id]);
    assert!(good, "{text}");
}

#[test]
fn what_a_receiver_refuses_for_good_is_listed_and_can_be_sent_again() {
    let double = Double::start();
    let hook = Recorder::start(json_answer(410, "{}"));
    let url = format!("http://{}/hook", hook.address);
    let gateway = gateway(
        &double,
        &json!({ "hook": { "webhook": { "url": url, "secret": "file:key" } } }),
        &[("key", format!("whsec_{KEY}"))],
    );
    let id = ask(&gateway, "wilma");
    let auditor = person("ada", &["audit"]);
    let listed = eventually("a dead message", || {
        let (good, text) = gateway.approvals(&auditor, &["undelivered"]);
        assert!(good, "{text}");
        text.contains(&id).then_some(text)
    });
    assert!(
        listed.contains("hook  approval.asked  1 tries")
            && listed.contains("the receiver answered 410"),
        "{listed}"
    );
    // A lead who decides on calls has no business with it.
    let refused = raw::get(gateway.console, "/api/v1/deliveries/dead", Some(&lead()));
    assert_eq!(refused.status, 403);
    let message = listed.split_whitespace().next().expect("its id").to_owned();
    hook.answer(json_answer(204, ""));
    // To read is not to act: whoever gives messages up keeps people from learning of calls.
    for act in ["--retry", "--discard"] {
        let (good, text) = gateway.approvals(&auditor, &["undelivered", act, &message]);
        assert!(!good && text.contains("`revoke`"), "{text}");
    }
    let operator = person("olga", &["audit", "ops"]);
    let (good, text) = gateway.approvals(&operator, &["undelivered", "--retry", &message]);
    assert!(good, "{text}");
    eventually("the delivery", || (hook.seen().len() == 2).then_some(()));
    // Who had it sent again, and which message, is on the record.
    let noted = gateway
        .leaves()
        .into_iter()
        .filter(|leaf| leaf["kind"] == "message");
    let noted: Vec<_> = noted.collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["what"], "retry");
    assert_eq!(noted[0]["approval"], id.as_str());
    assert!(noted[0]["subject_ref"].is_string(), "{noted:?}");
    let (_, text) = gateway.approvals(&auditor, &["undelivered"]);
    assert!(text.contains("every message was delivered"), "{text}");
    let (good, text) = gateway.approvals(&operator, &["undelivered", "--discard", &message]);
    assert!(!good && text.contains("404"), "{text}");
}

/// A mail server that takes everything: what it was told, one transcript a connection.
#[derive(Clone, Debug, Default)]
struct MailServer(Arc<Mutex<Vec<String>>>);

impl MailServer {
    fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let server = Self::default();
        let shared = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        (server, address)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut write = stream.try_clone().ok()?;
        let mut say = move |line: &str| write.write_all(format!("{line}\r\n").as_bytes()).ok();
        let mut read = BufReader::new(stream);
        let mut transcript = String::new();
        say("220 mail.test ESMTP")?;
        let mut data = false;
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).ok()? == 0 {
                return None;
            }
            transcript.push_str(&line);
            let line = line.trim_end();
            match (data, line) {
                (true, ".") => {
                    data = false;
                    self.0.lock().expect("the mails").push(transcript.clone());
                    say("250 taken")?;
                }
                (true, _) => {}
                (false, "DATA") => {
                    data = true;
                    say("354 go on")?;
                }
                (false, "QUIT") => return say("221 bye"),
                (false, hello) if hello.starts_with("EHLO") => {
                    say("250-mail.test")?;
                    say("250-AUTH PLAIN")?;
                    say("250 8BITMIME")?;
                }
                (false, login) if login.starts_with("AUTH") => say("235 welcome")?,
                (false, _) => say("250 ok")?,
            }
        }
    }

    fn mails(&self) -> Vec<String> {
        self.0.lock().expect("the mails").clone()
    }
}

#[test]
fn a_mail_is_sent_with_a_link_and_without_the_calls_content() {
    let double = Double::start();
    let (server, address) = MailServer::start();
    let gateway = gateway(
        &double,
        &json!({ "mail": { "email": {
            "server": format!("smtp://{address}"), "from": "Callgate <gate@corp.test>",
            "to": ["leads@corp.test", "risk@corp.test"], "user": "gate", "password": "file:password",
        } } }),
        &[("password", "pa55".to_owned())],
    );
    let id = ask(&gateway, "eve <!channel> Bcc: x@evil.test");
    let mail = eventually("a mail", || server.mails().first().cloned());
    let login = base64::engine::general_purpose::STANDARD.encode("\0gate\0pa55");
    for line in [
        format!("AUTH PLAIN {login}"),
        "MAIL FROM:<gate@corp.test>".to_owned(),
        "RCPT TO:<leads@corp.test>".to_owned(),
        "RCPT TO:<risk@corp.test>".to_owned(),
        "Subject: Approval needed: brief/post".to_owned(),
        format!("https://console.test/approve/{id}"),
        "Function: brief/post (write)".to_owned(),
        "An answer to this mail decides nothing.".to_owned(),
    ] {
        assert!(mail.contains(&line), "no `{line}` in {mail}");
    }
    assert!(!mail.contains("\nBcc:") && !mail.contains("4111"), "{mail}");
}

/// Mail by `STARTTLS` to a stock server, from a gateway that trusts `authority`.
fn by_starttls(server: SocketAddr, authority: &Authority, double: &Double) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, &authority.pem).expect("the authority");
    let channels = json!({ "mail": { "email": {
        "server": format!("smtp+starttls://localhost:{}", server.port()), "from": "Callgate <gate@corp.test>",
        "to": ["leads@corp.test"], "user": "gate", "password": "file:password",
    } } });
    // The authorities are read at the start.
    setup(double, &channels, &[("password", "pa55".to_owned())])
        .env("SSL_CERT_FILE", &trusted.to_string_lossy())
        .start()
}

#[test]
fn a_mail_goes_out_by_starttls_and_to_nobody_whose_certificate_is_strange() {
    let double = Double::start();
    let authority = Authority::new("authority of the mail");
    let pair = authority.vouch("localhost", GOOD);
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, pair.certificate).expect("the certificate");
    std::fs::write(&key, pair.key).expect("the key");
    let address = free_address();
    let mut command = Command::new(peers().join(".venv/bin/python"));
    command
        .arg(peers().join("mail.py"))
        .arg(address.port().to_string())
        .args([&certificate, &key]);
    let server = Child::start(&mut command);
    wait_for(address);

    // A gateway that does not know the authority tells the server nothing.
    let strange = by_starttls(address, &Authority::new("another"), &double);
    ask(&strange, "sam");
    eventually("the failure", || {
        let output = strange.child.output();
        output.contains("TLS with `localhost`").then_some(())
    });

    let gateway = by_starttls(address, &authority, &double);
    let id = ask(&gateway, "tess");
    let mail = eventually("a mail", || {
        let output = server.output();
        let line = output.lines().find(|line| line.starts_with('{'))?;
        serde_json::from_str::<Value>(line).ok()
    });
    assert_eq!(
        (&mail["tls"], &mail["login"], &mail["from"], &mail["to"]),
        (
            &json!(true),
            &json!(true),
            &json!("gate@corp.test"),
            &json!(["leads@corp.test"])
        ),
    );
    let text = mail["text"].as_str().expect("a text");
    assert!(
        text.contains(&format!("https://console.test/approve/{id}")),
        "{text}"
    );
    assert!(!text.contains("sam"), "{text}");
}
