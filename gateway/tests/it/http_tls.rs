//! TLS on both sides: a listener that stock clients reach over HTTP/1.1 and HTTP/2, and functions that have to prove
//! who they are.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http_world::{functions, staff};
use super::support::caller::{Talk, block_on};
use super::support::free_address;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, eventually};
use super::support::raw::End;

/// An authority of the tests.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// A certificate and its key, as PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// For a name, from and until these years.
    pub(super) fn vouch(&self, name: &str, (from, until): (i32, i32)) -> Pair {
        self.vouch_until(
            name,
            rcgen::date_time_ymd(from, 1, 1),
            rcgen::date_time_ymd(until, 1, 1),
        )
    }

    fn vouch_until(&self, name: &str, from: OffsetDateTime, until: OffsetDateTime) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = from;
        params.not_after = until;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn authority() -> &'static Authority {
    static SHARED: OnceLock<Authority> = OnceLock::new();
    SHARED.get_or_init(|| Authority::new("authority of the tests"))
}

pub(super) const GOOD: (i32, i32) = (2020, 2090);

/// A gateway that is reached over TLS as `localhost`.
fn listening(double: &Double) -> Gateway {
    let pair = authority().vouch("localhost", GOOD);
    Setup::new()
        .file("server.pem", &pair.certificate)
        .file("server.key", &pair.key)
        .with(
            "listen",
            json!([{ "address": "127.0.0.1:0", "tls": { "certificate": "server.pem", "key": "server.key" } }]),
        )
        .policy("@id(\"staff\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);")
        .connection("open", double.address, &json!({ "functions": functions() }))
        .start()
}

/// `curl` with an authority of its own: what it said of the answer (version, status), or how it failed.
fn curl(authority: &str, address: SocketAddr, more: &[&str]) -> Result<(String, String), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("authority.pem");
    std::fs::write(&file, authority).expect("the authority");
    let done = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
        .arg(&file)
        .args([
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_version} %{http_code}",
        ])
        .args(["--header", &format!("Authorization: Bearer {}", staff())])
        .args(more)
        .arg(format!("https://localhost:{}/open/tls", address.port()))
        .output()
        .expect("curl, of which scripts/install-test-tools.sh takes care");
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let (version, status) = said.split_once(' ').expect("two words");
    Ok((version.to_owned(), status.to_owned()))
}

fn said(version: &str) -> Result<(String, String), String> {
    Ok((version.to_owned(), "200".to_owned()))
}

#[test]
fn a_stock_client_calls_over_tls_in_both_versions() {
    let double = Double::start();
    let gateway = listening(&double);
    let pem = &authority().pem;
    assert_eq!(curl(pem, gateway.address, &["--http2"]), said("2"));
    assert_eq!(curl(pem, gateway.address, &["--http1.1"]), said("1.1"));
    assert_eq!(curl(pem, gateway.address, &["--no-alpn"]), said("1.1"));
    assert_eq!(
        curl(pem, gateway.address, &["--tlsv1.2", "--tls-max", "1.2"]),
        said("2")
    );
    assert_eq!(double.hits("/tls"), 4);
    // What is not this gateway's certificate, or too old a protocol, does not get as far as a request.
    let stranger = Authority::new("another authority");
    assert!(curl(&stranger.pem, gateway.address, &[]).is_err());
    let old = ["--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"];
    assert!(curl(pem, gateway.address, &old).is_err());
    assert_eq!(double.hits("/tls"), 4);
}

#[test]
fn a_reload_shows_the_new_certificate_and_a_bad_one_changes_nothing() {
    let double = Double::start();
    let gateway = listening(&double);
    let next = Authority::new("the next authority");
    let pair = next.vouch("localhost", GOOD);
    gateway.reload(
        |setup| {
            setup
                .file("server.pem", &pair.certificate)
                .file("server.key", &pair.key)
        },
        &[],
    );
    assert!(curl(&authority().pem, gateway.address, &[]).is_err());
    assert_eq!(curl(&next.pem, gateway.address, &[]), said("2"));
    // A key that is not the certificate's.
    let other = next.vouch("localhost", GOOD);
    let (good, text) = gateway.try_reload(|setup| setup.file("server.key", &other.key));
    assert!(!good && text.contains("server.key"), "{text}");
    assert_eq!(curl(&next.pem, gateway.address, &[]), said("2"));
}

// X9
#[test]
fn handshakes_that_stand_still_are_given_up_and_hold_up_nobody() {
    let double = Double::start();
    let gateway = listening(&double);
    let starts: [&[u8]; 3] = [b"", b"\x16\x03\x01\x02\x00\x01", b"\x16"];
    let open: Vec<Talk> = (0..30)
        .map(|number| {
            let mut talk = Talk::to(gateway.address);
            talk.send(starts[number % 3]);
            talk
        })
        .collect();
    assert_eq!(curl(&authority().pem, gateway.address, &[]), said("2"));
    for mut talk in open {
        let end = talk.end();
        assert!(matches!(end, End::Clean | End::Cut), "{end:?}");
        assert!(talk.got.is_empty(), "{:?}", talk.got);
    }
    // No TLS at all is not answered in clear.
    let mut talk = Talk::get(gateway.address, "/open/clear", &staff());
    let end = talk.end();
    assert!(matches!(end, End::Clean | End::Cut), "{end:?}");
    assert!(!talk.text().contains("HTTP"), "{}", talk.text());
    assert_eq!(double.hits("/clear"), 0);
}

// X1: what was agreed on in the handshake is what is spoken.
#[test]
fn the_other_version_than_the_agreed_one_is_refused() {
    let double = Double::start();
    let gateway = listening(&double);
    let h1 = format!(
        "GET /open/mixed HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\n\r\n",
        gateway.address.port(),
        staff()
    );
    let got = block_on(async {
        let h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let as_h1 = agreed(gateway.address, b"http/1.1", h2).await;
        let as_h2 = agreed(gateway.address, b"h2", h1.as_bytes()).await;
        (as_h1, as_h2)
    });
    let (as_h1, as_h2) = (
        String::from_utf8_lossy(&got.0),
        String::from_utf8_lossy(&got.1),
    );
    assert!(as_h1.starts_with("HTTP/1.1 400"), "{as_h1}");
    assert!(!as_h2.contains("HTTP/1.1 200"), "{as_h2}");
    assert_eq!(double.hits("/mixed"), 0);
}

/// Agree on a protocol, send bytes, and read to the end.
async fn agreed(address: SocketAddr, protocol: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = authority().pem.as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(pem).expect("the authority"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    let name = "localhost".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream.write_all(bytes).await.expect("written");
    let mut got = Vec::new();
    // However the other side ends it.
    let _ = stream.read_to_end(&mut got).await;
    got
}

/// A function behind TLS, and how many requests reached it.
fn function(pair: &Pair) -> (SocketAddr, Arc<AtomicUsize>) {
    let certificate =
        CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server");
    let (config, hits) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, count) = (
        listener.local_addr().expect("its address"),
        Arc::clone(&hits),
    );
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, count) = (Arc::clone(&config), Arc::clone(&count));
            thread::spawn(move || answer(stream, config, &count));
        }
    });
    (address, hits)
}

/// Answer requests without a body until the other side ends.
fn answer(mut socket: TcpStream, config: Arc<rustls::ServerConfig>, hits: &AtomicUsize) {
    use std::io::{Read, Write};
    let mut session = rustls::ServerConnection::new(config).expect("a session");
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        got.extend_from_slice(&chunk[..length]);
        if got.ends_with(b"\r\n\r\n") {
            hits.fetch_add(1, Ordering::SeqCst);
            got.clear();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// A setup with a function behind TLS for each of these, by its name; and where its requests are counted.
fn behind_tls(all: &[(&'static str, Pair, serde_json::Value)]) -> (Setup, Vec<Arc<AtomicUsize>>) {
    let mut setup = Setup::new()
        .file("ca.pem", &authority().pem)
        .policy("@id(\"staff\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);");
    let mut hits = Vec::new();
    for (name, pair, tls) in all {
        let (address, count) = function(pair);
        let upstream = format!("https://localhost:{}", address.port());
        let more = json!({ "functions": functions(), "tls": tls, "upstream": upstream });
        setup = setup.connection(name, address, &more);
        hits.push(count);
    }
    (setup, hits)
}

#[test]
fn a_function_that_proves_its_name_is_called() {
    let ca = || json!({ "ca": "ca.pem" });
    let named = json!({ "ca": "ca.pem", "server_name": "inside.test" });
    let all = [
        ("right", authority().vouch("localhost", GOOD), ca()),
        ("named", authority().vouch("inside.test", GOOD), named),
    ];
    let (setup, hits) = behind_tls(&all);
    let gateway = setup.start();
    for ((name, ..), hits) in all.iter().zip(hits) {
        let answer = gateway.get(&format!("/{name}/x"), &staff());
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(hits.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[test]
fn a_function_that_cannot_prove_its_name_gets_no_request() {
    let (good, other) = (authority(), Authority::new("another authority"));
    let ca = || json!({ "ca": "ca.pem" });
    let all = [
        ("other-name", good.vouch("inside.test", GOOD), ca()),
        ("expired", good.vouch("localhost", (2020, 2021)), ca()),
        ("not-yet", good.vouch("localhost", (2080, 2090)), ca()),
        ("stranger", other.vouch("localhost", GOOD), ca()),
        (
            "not-of-the-system",
            good.vouch("localhost", GOOD),
            json!({}),
        ),
    ];
    let why = [
        "not valid for name",
        "expired",
        "not valid yet",
        "UnknownIssuer",
        "UnknownIssuer",
    ];
    let (setup, hits) = behind_tls(&all);
    // Speaks no TLS at all.
    let double = Double::start();
    let upstream = format!("https://localhost:{}", double.address.port());
    let more = json!({ "functions": functions(), "tls": ca(), "upstream": upstream });
    let gateway = setup.connection("clear", double.address, &more).start();
    for (((name, ..), hits), why) in all.iter().zip(hits).zip(why) {
        let answer = gateway.get(&format!("/{name}/x"), &staff());
        let said = answer.json();
        assert_eq!(
            (answer.status, &said["code"], &said["executed"]),
            (502, &json!("upstream_failed"), &json!("no")),
            "{name}: {said}"
        );
        // The operator learns why, the caller does not.
        assert!(!answer.text().contains(why), "{name}: {said}");
        eventually(why, || gateway.child.output().contains(why).then_some(()));
        assert_eq!(hits.load(Ordering::SeqCst), 0, "{name}");
        assert_eq!(gateway.end_of(&answer)["outcome"], "failed", "{name}");
    }
    assert_eq!(gateway.get("/clear/x", &staff()).status, 502);
    assert_eq!(double.hits("/x"), 0);
}

#[test]
fn doctor_tells_how_long_certificates_are_good_and_who_cannot_be_reached() {
    let authority = authority();
    let now = OffsetDateTime::now_utc();
    let soon = authority.vouch_until(
        "localhost",
        rcgen::date_time_ymd(2020, 1, 1),
        now + time::Duration::hours(10 * 24 + 12),
    );
    let good = authority.vouch("localhost", GOOD);
    let expired = authority.vouch("localhost", (2020, 2021));
    let mut setup = Setup::new()
        .file("ca.pem", &authority.pem)
        .file("server.pem", &soon.certificate)
        .file("server.key", &soon.key)
        .with(
            "listen",
            json!([{ "address": "127.0.0.1:0", "tls": { "certificate": "server.pem", "key": "server.key" } }]),
        );
    let mut hits = Vec::new();
    for (name, pair) in [("good", &good), ("expired", &expired)] {
        let (address, count) = function(pair);
        hits.push(count);
        let more = json!({
            "functions": functions(), "tls": { "ca": "ca.pem" }, "upstream": format!("https://localhost:{}", address.port()),
        });
        setup = setup.connection(name, address, &more);
    }
    let (clear, dead) = (Double::start(), free_address());
    let gateway = setup
        .connection("clear", clear.address, &json!({ "functions": functions() }))
        .connection("dead", dead, &json!({ "functions": functions() }))
        .start();
    let (all_well, text) = gateway.try_command(&["doctor"], &[]);
    assert!(!all_well, "{text}");
    for (mark, place, what) in [
        ("weak", "listener 127.0.0.1:0", "ends in 10 days"),
        (
            "ok",
            "good: https://localhost",
            "takes connections; its certificate is good for",
        ),
        ("BAD", "expired: https://localhost", "its calls fail"),
        ("ok", "clear: http://127.0.0.1", "takes connections"),
        ("BAD", "dead: http://127.0.0.1", "its calls fail"),
        ("ok", "issuer corp", "1 keys"),
    ] {
        let told = text
            .lines()
            .any(|line| line.starts_with(mark) && line.contains(place) && line.contains(what));
        assert!(told, "{mark} {place} {what}: {text}");
    }
    // It was a look, and no call.
    assert!(hits.iter().all(|count| count.load(Ordering::SeqCst) == 0));
}
