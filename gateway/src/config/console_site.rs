//! Where people reach the console, and how they sign in: settings with their checks across rooms.

use std::net::SocketAddr;
use std::path::Path;

use super::{Config, ConsoleConfig, Fault};
use crate::console::{Client, Site};
use crate::secret::SecretError;

/// The console's site, when it listens at `local`.
pub fn site(console: &ConsoleConfig, local: SocketAddr) -> Site {
    let mut hosts: Vec<String> = console
        .hosts
        .iter()
        .map(|host| host.to_ascii_lowercase())
        .collect();
    let scheme = if console.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let first = hosts.first().cloned().unwrap_or_else(|| local.to_string());
    let url = console
        .url
        .as_ref()
        .map_or_else(|| format!("{scheme}://{first}"), Clone::clone);
    let url = url.trim_end_matches('/').to_ascii_lowercase();
    let own = url.split_once("://").map(|(_, host)| host.to_owned());
    hosts.extend(own);
    hosts.push(local.to_string());
    hosts.push(format!("localhost:{}", local.port()));
    hosts.dedup();
    Site { url, hosts }
}

/// The console as a client of its login's issuer, with its secret.
///
/// # Errors
/// [`SecretError`] when the secret cannot be had.
pub fn client(console: &ConsoleConfig, base: &Path) -> Result<Option<Client>, SecretError> {
    let Some(login) = &console.login else {
        return Ok(None);
    };
    let secret = login.client_secret.as_ref();
    let secret = secret.map(|secret| secret.resolve(base)).transpose()?;
    Ok(Some(Client::new(login.clone(), secret)))
}

/// What is wrong with the console's settings.
pub(super) fn check(config: &Config, base: &Path, faults: &mut Vec<Fault>) {
    let Some(console) = &config.console else {
        return;
    };
    if let Some(url) = &console.url
        && !is_origin(url)
    {
        let text = format!("`{url}` is not where browsers can reach a console");
        let help = "write scheme, host and port only, such as `https://callgate.example.com`; `http://` on loopback";
        faults.push(Fault::new("console.url", text).help(help));
    }
    let Some(login) = &console.login else {
        return;
    };
    match config.identity.issuers.get(&login.issuer) {
        None => {
            let text = format!("`{}` is no issuer of `identity.issuers`", login.issuer);
            faults.push(
                Fault::new("console.login.issuer", text).help("give the alias of one of them"),
            );
        }
        Some(issuer) if !issuer.issuer.contains("://") => {
            let text = format!(
                "`{}` has an `issuer` that is no URL: nobody can sign in there",
                login.issuer
            );
            faults.push(
                Fault::new("console.login.issuer", text)
                    .help("use an issuer with OpenID discovery"),
            );
        }
        Some(_) => {}
    }
    let mut issuers = config.identity.issuers.values();
    if issuers.any(|issuer| issuer.audience.as_slice().contains(&login.client_id)) {
        let text = "is also an audience of tokens for calls: what callers hold could then open the console";
        let help = "register the console as a client of its own";
        faults.push(Fault::new("console.login.client_id", text).help(help));
    }
    if let Err(error) = client(console, base) {
        faults.push(Fault::new("console.login.client_secret", error.to_string()));
    }
}

/// Scheme, host and port, nothing else; plaintext on loopback only.
fn is_origin(url: &str) -> bool {
    let url = url.trim_end_matches('/');
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    let loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let alone = url.eq_ignore_ascii_case(&format!(
        "{}://{authority}",
        uri.scheme_str().unwrap_or_default()
    ));
    let good = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => loopback,
        Some(_) | None => false,
    };
    alone && good && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn a_console_is_reached_at_an_origin() {
        for good in [
            "https://gate.example",
            "https://gate.example:8443/",
            "http://127.0.0.1:8081",
            "http://[::1]:8081",
            "http://localhost",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "gate.example",
            "http://gate.example",
            "https://gate.example/console",
            "https://a@gate.example",
            "https://",
            "ftp://gate.example",
            "https://gate.example?x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
