//! Mail servers that do not go over to TLS, or not whole.

use super::*;

/// A mail server that says these things in turn, each after the client spoke, and hangs up at an empty one;
/// and what it heard.
async fn mail_server(says: &'static [&'static str]) -> (SocketAddr, Arc<Mutex<String>>) {
    #[expect(clippy::disallowed_methods, reason = "the far side of the test")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::<Mutex<String>>::default();
    let words = Arc::clone(&heard);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for said in says {
            if said.is_empty() {
                return;
            }
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut line = [0; 4096];
            let length = stream.read(&mut line).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&line[..length]);
            words.lock().unwrap().push_str(&text);
        }
    });
    (address, heard)
}

const OFFER: &str = "250-mail.test\r\n250-SIZE 1000\r\n250 StartTLS\r\n";

#[tokio::test]
async fn a_mail_server_that_does_not_go_over_to_tls_is_told_nothing() {
    let long: &str = "250-mail.test and more of it\r\n".repeat(400).leak();
    let cases: [(&'static [&'static str], &str); 9] = [
        (&["554 no\r\n"], "it does not greet"),
        (
            &["220 hi\r\n250 hello\r\n"],
            "it says more than it was asked for",
        ),
        (&["220 hi\r\n", "502 what\r\n"], "it does not answer `EHLO`"),
        (
            &["220 hi\r\n", "250-mail.test\r\n250 AUTH PLAIN\r\n"],
            "it does not offer STARTTLS",
        ),
        // The server's own name offers nothing.
        (
            &["220 hi\r\n", "250 STARTTLS\r\n"],
            "it does not offer STARTTLS",
        ),
        (
            &["220 hi\r\n", OFFER, "454 not now\r\n"],
            "it refuses STARTTLS",
        ),
        // Words that somebody on the way put in front of TLS.
        (
            &["220 hi\r\n", OFFER, "220 go\r\n250 AUTH PLAIN\r\n"],
            "it says more than it was asked for",
        ),
        (&["220 hi\r\n", OFFER, ""], "it hangs up"),
        (vec!["220 hi\r\n", long].leak(), "its reply does not end"),
    ];
    for (says, why) in cases {
        let (address, heard) = mail_server(says).await;
        let url = format!("smtp+starttls://{address}");
        let target = Target::mail_from_config(&url).unwrap();
        let error = egress()
            .mail(&target, Duration::from_secs(60))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "mail server `127.0.0.1`: {why}; it was told nothing but `EHLO` and `STARTTLS`"
            ),
            "{says:?}"
        );
        let heard = heard.lock().unwrap().clone();
        let all = "EHLO [127.0.0.1]\r\nSTARTTLS\r\n";
        assert!(all.starts_with(&heard), "{says:?}: {heard}");
    }
}

#[tokio::test]
async fn after_starttls_nothing_but_tls_is_said() {
    let (address, heard) = mail_server(&["220 hi\r\n", OFFER, "220 go\r\n", "nonsense\r\n"]).await;
    let target = Target::mail_from_config(&format!("smtp+starttls://{address}")).unwrap();
    let error = egress()
        .mail(&target, Duration::from_secs(60))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let heard = heard.lock().unwrap().clone();
    let hello = heard
        .strip_prefix("EHLO [127.0.0.1]\r\nSTARTTLS\r\n")
        .unwrap();
    // A TLS record: handshake.
    assert!(hello.starts_with('\u{16}'), "{hello:?}");
}

#[test]
fn a_mail_server_by_starttls_has_a_port_of_its_own() {
    let at = |url: &str| Target::mail_from_config(url).map(|target| (target.port, target.starttls));
    assert_eq!(at("smtp+starttls://mail.example.com").unwrap(), (587, true));
    assert_eq!(
        at("smtp+starttls://mail.example.com:25").unwrap(),
        (25, true)
    );
    assert_eq!(at("smtps://mail.example.com").unwrap(), (465, false));
    assert!(at("smtp+starttls://mail.example.com/x").is_err());
    assert!(at("smtp://mail.example.com:25").is_err());
}
