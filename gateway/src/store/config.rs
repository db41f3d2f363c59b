//! Where the state of decisions is kept.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::hmac;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::Error;
use crate::disk::read_named;
use crate::secret::{Secret, SecretRef};

/// Connections of one instance to a shared database, by default.
const CONNECTIONS: u32 = 16;
/// Most of them.
const CONNECTIONS_MAX: u32 = 200;
/// Largest file of authorities, in bytes.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Parameters of a URL; `options[name]` besides them.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// Longest name of an unknown parameter that is repeated, in characters.
const PARAMETER_SHOWN_MAX: usize = 20;

/// Where held calls, votes, kept answers and revocations are kept. Default: in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "StoreConfig")]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// In a PostgreSQL database that several instances share. Takes effect at a restart.
    pub postgres: Option<PostgresConfig>,
}

/// A PostgreSQL database that several instances share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The secret with the URL: `postgres://user:password@host:5432/database`. The connection is TLS, and
    /// the certificate must hold for the host, whatever `sslmode` the URL has. Only to this machine
    /// (a socket, `localhost`, a loopback address) it is plain, unless `ca` is set or the URL says
    /// `sslmode=require`, `verify-ca` or `verify-full`, which all mean the last here. It goes to the
    /// server itself, or through a pooler that keeps a session together.
    pub url: SecretRef,
    /// The secret with the key that seals held calls, the same for every instance: 64 hexadecimal digits,
    /// as `openssl rand -hex 32` makes them.
    pub key: SecretRef,
    /// File with the authority of the server's certificate (PEM), besides the public ones, and TLS on this
    /// machine too. Default: the public ones, as this program carries them.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How many connections this instance keeps at most, two more for keeping in touch. Default 16.
    #[serde(default = "connections")]
    #[schemars(range(min = 2, max = 200))]
    pub connections: u32,
}

const fn connections() -> u32 {
    CONNECTIONS
}

impl Config {
    /// Every fault of the config, each with the field's name; empty when there is none.
    pub fn faults(&self, base: &Path) -> Vec<(&'static str, String)> {
        let Some(postgres) = &self.postgres else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        if !(2..=CONNECTIONS_MAX).contains(&postgres.connections) {
            faults.push(("postgres.connections", "must be 2 to 200".to_owned()));
        }
        if let Err(error) = postgres.options(base) {
            faults.push(("postgres.url", error.to_string()));
        }
        if let Err(error) = postgres.key(base) {
            faults.push(("postgres.key", error.to_string()));
        }
        if let Some(ca) = &postgres.ca
            && let Err(why) = authorities(&base.join(ca))
        {
            faults.push(("postgres.ca", format!("{}: {why}", ca.display())));
        }
        faults
    }
}

impl PostgresConfig {
    /// The key that seals held calls.
    ///
    /// # Errors
    /// [`Error::Secret`], and [`Error::Setting`] when it is none.
    pub fn key(&self, base: &Path) -> Result<Secret<[u8; 32]>, Error> {
        let text = self.key.resolve(base)?;
        let wrong = || {
            Error::Setting(
                "the key is not 64 hexadecimal digits; `openssl rand -hex 32` makes one".to_owned(),
            )
        };
        let digits = text.expose();
        if digits.len() != 64 {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (slot, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Secret::new(key))
    }

    /// Tells whether two keys are the same one, and nothing about the key.
    pub(super) fn key_check(&self, base: &Path) -> Result<Vec<u8>, Error> {
        let key = self.key(base)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        Ok(hmac::sign(&key, b"callgate store: key check, v1")
            .as_ref()
            .to_vec())
    }

    /// How to connect. Plaintext is for this machine only.
    pub(super) fn options(&self, base: &Path) -> Result<PgConnectOptions, Error> {
        let url = self.url.resolve(base)?;
        let text = std::str::from_utf8(url.expose())
            .map_err(|_| Error::Setting("the URL is not UTF-8".to_owned()))?;
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(Error::Setting(
                "the URL does not begin with `postgres://`".to_owned(),
            ));
        }
        if let Some(name) = unknown_parameter(text) {
            return Err(Error::Setting(format!(
                "the URL has a parameter that callgate does not know: `{name}`; known are {}",
                PARAMETERS.join(", ")
            )));
        }
        let options = PgConnectOptions::from_str(text)
            .map_err(|error| Error::Setting(format!("not a PostgreSQL URL: {error}")))?;
        let asked = match options.get_ssl_mode() {
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => false,
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => true,
        };
        Ok(match &self.ca {
            Some(ca) => options
                .ssl_mode(PgSslMode::VerifyFull)
                .ssl_root_cert(base.join(ca)),
            None if here(&options) && !asked => options.ssl_mode(PgSslMode::Disable),
            None => options.ssl_mode(PgSslMode::VerifyFull),
        })
    }
}

/// The first parameter of a URL that would be passed over: one that asks for something must be heard.
fn unknown_parameter(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let names = query.split('&').filter(|pair| !pair.is_empty());
    names
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .find(|name| {
            let option = ["[", "%5B", "%5b"]
                .iter()
                .any(|bracket| name.starts_with(&format!("options{bracket}")));
            !option && !PARAMETERS.contains(name)
        })
        // A password that was put in a wrong place must not be repeated.
        .map(|name| name.chars().take(PARAMETER_SHOWN_MAX).collect())
}

/// At least one certificate, all of them readable.
fn authorities(path: &Path) -> Result<(), String> {
    let pem = read_named(path, CA_BYTES_MAX).map_err(|error| error.to_string())?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        RootCertStore::empty()
            .add(certificate)
            .map_err(|error| format!("a certificate is unusable: {error}"))?;
        found += 1;
    }
    if found == 0 {
        return Err("it holds no PEM certificate".to_owned());
    }
    Ok(())
}

/// Whether the server is on this machine.
fn here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> (tempfile::TempDir, PostgresConfig) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("url", url), ("key", &"0a".repeat(32))] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let config = PostgresConfig {
            url: SecretRef::File("url".into()),
            key: SecretRef::File("key".into()),
            ca: None,
            connections: CONNECTIONS,
        };
        (dir, config)
    }

    fn mode(url: &str) -> PgSslMode {
        let (dir, config) = config(url);
        config.options(dir.path()).unwrap().get_ssl_mode()
    }

    #[test]
    fn another_machine_is_spoken_to_under_a_verified_certificate_whatever_the_url_says() {
        for url in [
            "postgres://u:p@db.example.com/callgate",
            "postgres://u:p@db.example.com/callgate?sslmode=disable",
            "postgres://u:p@10.0.0.7:5432/callgate?sslmode=prefer",
            "postgresql://u:p@localhost.example.com/callgate",
        ] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
        }
        for url in [
            "postgres://u:p@localhost/callgate?sslmode=verify-full",
            "postgres://u:p@127.0.0.1/callgate?sslmode=verify-ca",
            "postgres://u:p@[::1]/callgate?sslmode=require",
        ] {
            assert!(matches!(mode(url), PgSslMode::VerifyFull), "{url}");
        }
        for url in [
            "postgres://u:p@127.0.0.1:5432/callgate",
            "postgres://u:p@127.0.0.1:5432/callgate?sslmode=prefer",
            "postgres://u:p@[::1]/callgate",
            "postgres://u:p@localhost/callgate",
            "postgres:///callgate?host=/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql/callgate",
        ] {
            assert!(matches!(mode(url), PgSslMode::Disable), "{url}");
        }
    }

    #[test]
    fn a_parameter_that_would_be_passed_over_is_refused() {
        for (url, name) in [
            (
                "postgres://u:p@db/c?channel_binding=require",
                "channel_binding",
            ),
            ("postgres://u:p@db/c?sslmode=require&sslcrl=a.pem", "sslcrl"),
            ("postgres://u:p@db/c?SSLMODE=disable", "SSLMODE"),
        ] {
            let (dir, config) = config(url);
            let error = config.options(dir.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
        let (dir, config) = config(
            "postgres:///c?host=/run/postgresql&user=u&options[search_path]=s&options%5Bx.y%5D=z",
        );
        config.options(dir.path()).unwrap();
    }

    #[test]
    fn a_file_of_authorities_without_one_is_a_fault() {
        let (dir, mut config) = config("postgres://u:p@db.example.com/callgate");
        config.ca = Some("ca.pem".into());
        for (text, why) in [
            ("", "ca.pem: it holds no PEM certificate"),
            ("-----BEGIN CERTIFICATE-----\n", "ca.pem: it is not PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "ca.pem: a certificate is unusable",
            ),
        ] {
            std::fs::write(dir.path().join("ca.pem"), text).unwrap();
            let all = Config {
                postgres: Some(config.clone()),
            };
            let faults = all.faults(dir.path());
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].1.starts_with(why), "{faults:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let (dir, mut config) = config("https://u:hunter2@db/callgate");
        std::fs::write(dir.path().join("key"), "short").unwrap();
        config.connections = 1;
        config.ca = Some("nowhere.pem".into());
        let all = Config {
            postgres: Some(config),
        };
        let faults = all.faults(dir.path());
        let places: Vec<&str> = faults.iter().map(|(place, _)| *place).collect();
        let wanted = ["connections", "url", "key", "ca"].map(|name| format!("postgres.{name}"));
        assert_eq!(places, wanted);
        let text = format!("{faults:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("short\""),
            "{text}"
        );
        assert!(text.contains("openssl rand -hex 32"), "{text}");
    }
}
