//! Header names that are treated specially. All lists are lower case, sorted and public: they are
//! part of what the gateway promises.

/// Headers that speak about one hop (RFC 9110 section 7.6.1). Never forwarded.
pub const HOP_BY_HOP: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that are made anew for the next hop. Never forwarded.
pub const REMADE: &[&str] = &[
    "content-length",
    "expect",
    "host",
    "max-forwards",
    "traceparent",
    "tracestate",
    "via",
];

/// Headers by which a proxy tells a server where a request came from or who sent it, and which a
/// server may trust. A caller's are never forwarded.
pub const IDENTITY: &[&str] = &[
    "cdn-loop",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "client-cert",
    "client-cert-chain",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "from",
    "proxy",
    "true-client-ip",
    "x-anonymous-consumer",
    "x-appengine-user-ip",
    "x-client-dn",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-credential-identifier",
    "x-email",
    "x-groups",
    "x-host",
    "x-jwt-assertion",
    "x-jwt-payload",
    "x-on-behalf-of",
    "x-originating-ip",
    "x-prefix",
    "x-principal",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-role",
    "x-roles",
    "x-scheme",
    "x-subject",
    "x-tenant-user",
    "x-token-subject",
    "x-user",
    "x-username",
];

/// Beginnings of further header names like those in [`IDENTITY`]. A caller's are never forwarded.
pub const IDENTITY_PREFIXES: &[&str] = &[
    "callgate-",
    "cf-access-",
    "impersonate-",
    "remote-",
    "ssl-client-",
    "tailscale-user-",
    "x-amzn-oidc-",
    "x-apigateway-",
    "x-auth-request-",
    "x-auth-user",
    "x-authenticated-",
    "x-authentik-",
    "x-callgate-",
    "x-client-cert",
    "x-consumer-",
    "x-endpoint-api-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-remote-",
    "x-spiffe-",
    "x-ssl",
    "x-tls-",
    "x-user-",
    "x-vouch-",
    "x-webauth-",
];

/// Headers by which some servers let a request be another than its request line says. Refused.
pub const OVERRIDES: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-uri",
    "x-rewrite-url",
];

/// Headers of which a request has at most one: a second one is refused, because readers differ in
/// which one counts.
pub const SINGLE: &[&str] = &[
    "access-control-request-method",
    "authorization",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expect",
    "from",
    "host",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "max-forwards",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "origin",
    "proxy-authorization",
    "range",
    "referer",
    "soapaction",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "x-api-key",
    "x-request-id",
];

/// Why a caller's header is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strip {
    /// In [`HOP_BY_HOP`].
    Hop,
    /// In [`REMADE`].
    Remake,
    /// In [`IDENTITY`] or below [`IDENTITY_PREFIXES`].
    Identity,
    /// It has a `_`, which some servers read as `-` (`X_Forwarded_For`).
    Underscore,
}

/// Whether, and why, a caller's header is never forwarded. `name` is in lower case.
#[must_use]
pub fn strip(name: &str) -> Option<Strip> {
    if HOP_BY_HOP.binary_search(&name).is_ok() {
        return Some(Strip::Hop);
    }
    if REMADE.binary_search(&name).is_ok() {
        return Some(Strip::Remake);
    }
    if name.contains('_') {
        return Some(Strip::Underscore);
    }
    let below = |prefix: &&str| name.starts_with(*prefix);
    if IDENTITY.binary_search(&name).is_ok() || IDENTITY_PREFIXES.iter().any(below) {
        return Some(Strip::Identity);
    }
    None
}

/// Whether `bytes` are a token (RFC 9110 section 5.6.2).
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether `byte` may stand in a token.
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
