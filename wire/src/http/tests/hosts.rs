use crate::http::{Authority, AuthorityError};

// X4
#[test]
fn hosts_are_normalised() {
    let normal = |raw: &str| {
        Authority::parse(raw)
            .map(|found| found.to_string())
            .unwrap()
    };
    assert_eq!(normal("Example.COM"), "example.com");
    assert_eq!(normal("example.com."), "example.com");
    assert_eq!(normal("example.com.:8443"), "example.com:8443");
    assert_eq!(normal("[::FFFF:1.2.3.4]:80"), "[::ffff:1.2.3.4]:80");
    assert_eq!(normal("[0:0::1]"), "[::1]");
    assert_eq!(normal("xn--bcher-kva.example"), "xn--bcher-kva.example");
    assert_eq!(normal("my_service"), "my_service");
    assert_eq!(normal("192.0.2.1"), "192.0.2.1");
    assert_eq!(Authority::parse("a").unwrap().port_or(443), 443);
}

// X4
#[test]
fn odd_hosts_are_refused() {
    let cases = [
        ("", AuthorityError::Empty),
        (".", AuthorityError::Empty),
        ("user@example.com", AuthorityError::Userinfo),
        ("example.com@evil.test", AuthorityError::Userinfo),
        ("user:pw@example.com:80", AuthorityError::Userinfo),
        ("bücher.example", AuthorityError::NotAscii),
        ("example%2ecom", AuthorityError::NotAscii),
        ("example.com:", AuthorityError::Port),
        ("example.com:0", AuthorityError::Port),
        ("example.com:080", AuthorityError::Port),
        ("example.com:65536", AuthorityError::Port),
        ("example.com:80:80", AuthorityError::Port),
        ("example.com:+80", AuthorityError::Port),
        ("example.com: 80", AuthorityError::Port),
        ("example..com", AuthorityError::Name),
        ("example.com..", AuthorityError::Name),
        ("exa mple.com", AuthorityError::Name),
        ("example.com/a", AuthorityError::Name),
        ("example.com\\a", AuthorityError::Name),
        ("example.com#a", AuthorityError::Name),
        ("a,b", AuthorityError::Name),
        ("127.1", AuthorityError::Ipv4),
        ("2130706433", AuthorityError::Ipv4),
        ("0x7f.0.0.1", AuthorityError::Ipv4),
        ("127.0.0.0x1", AuthorityError::Ipv4),
        ("0x7f000001", AuthorityError::Ipv4),
        ("010.0.0.1", AuthorityError::Ipv4),
        ("1.2.3.4.5", AuthorityError::Ipv4),
        ("::1", AuthorityError::Port),
        ("[::1", AuthorityError::Ipv6),
        ("[::1]80", AuthorityError::Ipv6),
        ("[fe80::1%25eth0]", AuthorityError::NotAscii),
        ("[127.0.0.1]", AuthorityError::Ipv6),
    ];
    for (raw, error) in cases {
        assert_eq!(Authority::parse(raw), Err(error), "{raw}");
    }
}
