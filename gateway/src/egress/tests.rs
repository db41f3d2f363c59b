mod mail;

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LIMITS: Limits = Limits {
    bytes_max: 1000,
    total: Duration::from_secs(2),
};

/// A server that answers every connection with the same bytes and counts them.
async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    #[expect(clippy::disallowed_methods, reason = "the far side of the test")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hits = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&hits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let hang = answer.ends_with(b"HANG");
                let _ = stream
                    .write_all(answer.strip_suffix(b"HANG").unwrap_or(answer))
                    .await;
                if hang {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, hits)
}

fn egress() -> Egress {
    Egress::new(&Policy::default()).unwrap()
}

fn resolving(answer: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Egress {
    Egress {
        resolver: Resolver::Given(Arc::new(answer)),
        ..egress()
    }
}

fn class(text: &str) -> Class {
    address::classify(text.parse().unwrap())
}

fn data(url: &str) -> Result<Target, Error> {
    Target::from_data(
        url,
        &Target::from_config("https://idp.example.com/x").unwrap(),
    )
}

#[test]
fn addresses_that_nobody_calls() {
    // X6
    for never in [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "fd00::5efe:a9fe:a9fe",
        "2001:470::200:5efe:a9fe:a9fe",
    ] {
        assert_eq!(class(never), Class::Never, "{never}");
    }
}

#[test]
fn addresses_that_only_the_config_may_name() {
    for private in [
        "10.0.0.1",
        "127.0.0.1",
        "127.255.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "::1",
        "fc00::1",
        "fd12::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::808:808",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "4000::1",
    ] {
        assert_eq!(class(private), Class::Private, "{private}");
    }
    for public in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
    ] {
        assert_eq!(class(public), Class::Public, "{public}");
    }
}

#[test]
fn urls_that_are_not_fetched() {
    // X6: decimal, hexadecimal and octal addresses, user names, other schemes
    for bad in [
        "",
        "/keys",
        "idp.example.com/keys",
        "ftp://idp.example.com/",
        "file:///etc/passwd",
        "gopher://idp.example.com/",
        "http://idp.example.com/",
        "http://10.0.0.1/",
        "https://",
        "https:///keys",
        "https://alice:secret@idp.example.com/",
        "https://idp.example.com@169.254.169.254/",
        "https://idp.example.com/#x",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://169.254.43518/",
        "https://1.2.3.4.5/",
        "https://127.0.0.1./",
        "https://idp.example.com:0/",
        "https://idp.example.com:99999/",
        "https://idp.example.com:/",
        "https://[::1]:x/",
        "https://idp example.com/",
        "https://idp.example.com/\r\nX: y",
    ] {
        assert!(Target::from_config(bad).is_err(), "{bad}");
    }
    assert!(Target::from_config(&format!("https://a.example/{}", "a".repeat(2100))).is_err());
    for good in [
        "https://idp.example.com",
        "https://10.0.0.1:8443/k?x=1",
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://localhost:1/",
    ] {
        assert!(Target::from_config(good).is_ok(), "{good}");
    }
    assert!(Target::from_config_plaintext("http://idp.internal/").is_ok());
}

#[test]
fn data_names_public_https_only_beyond_its_own_origin() {
    assert_eq!(
        data("https://idp.example.com/keys").unwrap().named(),
        Named::ByConfig
    );
    for other in [
        "https://idp.example.com:8443/keys",
        "https://keys.example.com/",
        "https://IDP.example.com.evil.example/",
    ] {
        assert_eq!(data(other).unwrap().named(), Named::ByData, "{other}");
    }
    for plain in [
        "http://idp.example.com/",
        "http://127.0.0.1/",
        "http://localhost/",
    ] {
        assert!(data(plain).is_err(), "{plain}");
    }
}

#[tokio::test]
async fn data_never_leads_to_a_private_address() {
    // X6
    for address in [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
    ] {
        let ip: IpAddr = address.parse().unwrap();
        let outcome = resolving(move |_| vec![ip])
            .get(&data("https://keys.example/").unwrap(), LIMITS)
            .await;
        assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{address}");
    }
    for literal in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
    ] {
        let outcome = egress().get(&data(literal).unwrap(), LIMITS).await;
        assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{literal}");
    }
}

#[tokio::test]
async fn the_config_may_name_private_addresses_but_not_metadata() {
    let (address, hits) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let response = egress()
        .get(
            &Target::from_config(&format!("http://{address}/")).unwrap(),
            LIMITS,
        )
        .await
        .unwrap();
    assert_eq!(
        (response.status.as_u16(), response.body.as_ref()),
        (200, &b"ok"[..])
    );
    assert_eq!(hits.load(Ordering::SeqCst), 1);
    for bad in [
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://[fd00:ec2::254]/",
    ] {
        let outcome = egress()
            .get(&Target::from_config(bad).unwrap(), LIMITS)
            .await;
        assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{bad}");
    }
}

#[tokio::test]
async fn one_bad_address_condemns_the_name() {
    let mixed = || {
        vec![
            [1, 1, 1, 1].into(),
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
        ]
    };
    let target = Target::from_config("https://rebind.example/").unwrap();
    let outcome = resolving(move |_| mixed()).get(&target, LIMITS).await;
    assert!(matches!(outcome, Err(Error::Forbidden { .. })));
}

#[tokio::test]
async fn a_name_is_resolved_once_and_connected_to_as_checked() {
    // X6: DNS rebinding between check and connect
    let (address, hits) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let asked = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&asked);
    let egress = resolving(move |_| {
        let mut count = counter.lock().unwrap();
        *count += 1;
        if *count == 1 {
            vec![[127, 0, 0, 1].into()]
        } else {
            vec![[169, 254, 169, 254].into()]
        }
    });
    let url = format!("http://name.example:{}/", address.port());
    egress
        .get(&Target::from_config_plaintext(&url).unwrap(), LIMITS)
        .await
        .unwrap();
    assert_eq!(
        (*asked.lock().unwrap(), hits.load(Ordering::SeqCst)),
        (1, 1)
    );
}

#[tokio::test]
async fn plaintext_stays_on_loopback_whatever_the_name_says() {
    let target = Target::from_config("http://localhost:1/").unwrap();
    let outcome = resolving(|_| vec![[10, 0, 0, 1].into()])
        .get(&target, LIMITS)
        .await;
    assert!(matches!(outcome, Err(Error::Forbidden { .. })));
}

#[tokio::test]
async fn own_listeners_are_never_called() {
    let (address, hits) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for own in [address, SocketAddr::from(([0, 0, 0, 0], address.port()))] {
        let egress = Egress::new(&Policy {
            own: vec![own],
            ..Policy::default()
        })
        .unwrap();
        let target = Target::from_config(&format!("http://{address}/")).unwrap();
        assert!(matches!(
            egress.get(&target, LIMITS).await,
            Err(Error::Forbidden { .. })
        ));
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_never_followed() {
    // X6
    let (inside, hits) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let _ = inside;
    for answer in [
        &b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Moved\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (address, seen) = server(answer).await;
        let target = Target::from_config(&format!("http://{address}/")).unwrap();
        let outcome = egress().get(&target, LIMITS).await;
        assert!(matches!(outcome, Err(Error::Redirect { .. })));
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answers_are_bounded_in_bytes_and_time() {
    let long_head: &'static [u8] = Box::leak(
        [
            &b"HTTP/1.1 200 OK\r\nX: "[..],
            &[b'a'; 400_000],
            b"\r\n\r\n",
        ]
        .concat()
        .into(),
    );
    type Expected = fn(&Error) -> bool;
    let cases: [(&'static [u8], Expected); 6] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\nHANG",
            |e| matches!(e, Error::TooLarge { .. }),
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
            |e| matches!(e, Error::Http { .. }),
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nHANG", |e| {
            matches!(e, Error::Timeout { .. })
        }),
        (b"HANG", |e| matches!(e, Error::Timeout { .. })),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            |e| matches!(e, Error::Encoded { .. }),
        ),
        (long_head, |e| matches!(e, Error::Http { .. })),
    ];
    let limits = Limits {
        total: Duration::from_millis(300),
        ..LIMITS
    };
    for (index, (answer, expected)) in cases.into_iter().enumerate() {
        let (address, _) = server(answer).await;
        let target = Target::from_config(&format!("http://{address}/")).unwrap();
        let error = egress().get(&target, limits).await.unwrap_err();
        assert!(expected(&error), "{index}: {error}");
    }
}

#[tokio::test]
async fn an_endless_chunked_body_is_cut_at_the_limit() {
    let chunk: &'static [u8] = Box::leak(
        [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n"[..],
            &[b'x'; 2048],
            b"\r\nHANG",
        ]
        .concat()
        .into(),
    );
    let (address, _) = server(chunk).await;
    let target = Target::from_config(&format!("http://{address}/")).unwrap();
    assert!(matches!(
        egress().get(&target, LIMITS).await,
        Err(Error::TooLarge { .. })
    ));
}

/// A TLS server with a certificate of its own authority; the authority's PEM file and the address.
async fn tls_server() -> (tempfile::NamedTempFile, SocketAddr) {
    use rustls::pki_types::PrivateKeyDer;
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), issued.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    #[expect(clippy::disallowed_methods, reason = "the far side of the test")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            let _ = stream.shutdown().await;
        }
    });
    (ca, address)
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_nobody_else() {
    let (ca, address) = tls_server().await;
    let target = Target::from_config(&format!("https://localhost:{}/", address.port())).unwrap();
    let on_v4 = |egress: Egress| {
        let resolver = Resolver::Given(Arc::new(|_: &str| vec![[127, 0, 0, 1].into()]));
        Egress { resolver, ..egress }
    };
    let trusting = on_v4(egress().with_ca(ca.path()).unwrap());
    assert_eq!(
        trusting.get(&target, LIMITS).await.unwrap().body.as_ref(),
        b"ok"
    );
    let plain = on_v4(egress()).get(&target, LIMITS).await;
    assert!(matches!(plain, Err(Error::Tls { .. })));
    // The name is checked too.
    let by_address = Target::from_config(&format!("https://{address}/")).unwrap();
    assert!(matches!(
        trusting.get(&by_address, LIMITS).await,
        Err(Error::Tls { .. })
    ));
}

#[test]
fn authority_files_are_checked() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        egress().with_ca(empty.path()),
        Err(Error::Authority { .. })
    ));
    assert!(
        egress()
            .with_ca(std::path::Path::new("/nonexistent.pem"))
            .is_err()
    );
}

#[tokio::test]
async fn post_sends_the_body_with_the_callers_headers_and_our_host() {
    #[expect(clippy::disallowed_methods, reason = "the far side of the test")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            let mut more = [0; 1024];
            let n = stream.read(&mut more).await.unwrap();
            seen.extend_from_slice(&more[..n]);
        }
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(seen).unwrap()
    });
    let mut headers = HeaderMap::new();
    headers.insert("x-event", HeaderValue::from_static("a"));
    headers.insert("host", HeaderValue::from_static("evil.example"));
    let target = Target::from_config(&format!("http://{address}/hook?x=1")).unwrap();
    let response = egress()
        .post(&target, &headers, Bytes::from("hello"), LIMITS)
        .await
        .unwrap();
    assert_eq!(response.status.as_u16(), 204);
    let seen = server.await.unwrap();
    assert!(seen.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("x-event: a") && seen.contains(&format!("host: {address}")),
        "{seen}"
    );
    assert!(!seen.contains("evil.example"));
}

#[tokio::test]
async fn proxy_variables_of_the_environment_are_not_read() {
    // X6: no code here reads the environment but the certificate store (`SSL_CERT_FILE`).
    let sources = [
        include_str!("mod.rs"),
        include_str!("target.rs"),
        include_str!("tls.rs"),
    ];
    for source in sources {
        assert!(!source.contains("std::env") && !source.to_lowercase().contains("http_proxy"));
    }
}
