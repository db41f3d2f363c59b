//! Connections to a PostgreSQL server, and why there is none, in words that its reader can act on.

use std::time::Duration;

use rustls::CertificateError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::super::Error;
use super::engine::{Judge, Pool};

/// How long a connection is waited for, a new one included.
const TURN: Duration = Duration::from_secs(5);
/// Longest statement, longest wait for a lock, and longest pause within a transaction, in milliseconds:
/// the server ends what an instance that hangs has left open.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "8000"),
    ("lock_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "10000"),
];

pub(super) async fn connect(
    options: PgConnectOptions,
    most: u32,
    judge: Judge,
) -> Result<Pool, Error> {
    Ok(Pool::Postgres(pool(options, most).await?, judge))
}

pub(super) async fn pool(options: PgConnectOptions, most: u32) -> Result<PgPool, Error> {
    let server = format!("{}:{}", options.get_host(), options.get_port());
    PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(TURN)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // What was taken stays taken when the server loses its power: a call that is taken again
                // would run twice. A server that is stricter stays so.
                let durable = "SELECT set_config('synchronous_commit', 'on', false) \
                               WHERE current_setting('synchronous_commit') IN ('off', 'local')";
                sqlx::query(durable).execute(connection).await.map(|_| ())
            })
        })
        .connect_with(options.options(LIMITS).application_name("callgate"))
        .await
        .map_err(|error| refused(server, error))
}

/// What failed, where it is the connection itself that must not be used.
fn refused(server: String, error: sqlx::Error) -> Error {
    let why = match &error {
        sqlx::Error::Tls(why) if why.to_string() == NO_TLS => Some(
            "it offers no TLS, which is wanted everywhere but on this machine: switch it on there (`ssl = on`)"
                .to_owned(),
        ),
        sqlx::Error::Tls(why) => Some(why.to_string()),
        sqlx::Error::Io(failed) => failed
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .map(why_not),
        _ => None,
    };
    match why {
        Some(why) => Error::Untrusted { server, why },
        None => Error::Database(error),
    }
}

/// How the driver says that a server answered `N`.
const NO_TLS: &str = "server does not support TLS";

/// Why a handshake failed, and what to do.
fn why_not(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(fault) = error else {
        return format!("the TLS handshake failed: {error}");
    };
    match fault {
        CertificateError::UnknownIssuer => {
            "its certificate is not from an authority that is trusted \
             here: name the authority's certificate in `store.postgres.ca`"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{error}: connect by a name that the certificate has, or give it this one")
        }
        _ => error.to_string(),
    }
}
