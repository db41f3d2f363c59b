//! Talking to the console's API with a person's token.

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use std::time::Duration;

use super::login;
use crate::egress::{Egress, Limits, Policy, Target};

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where the console is and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Remote {
    /// The console's address.
    #[arg(
        long,
        global = true,
        env = "CALLGATE_CONSOLE",
        default_value = "http://127.0.0.1:8081"
    )]
    console: String,
    /// A person's token for the console's audience. Better given by the environment than on the
    /// command line, where others on the machine can read it. By default that of `callgate login`.
    #[arg(long, global = true, env = "CALLGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Remote {
    /// The console's address, without a slash at the end.
    pub(super) fn console(&self) -> &str {
        self.console.trim_end_matches('/')
    }

    /// One request; a refusal is an error with the API's own words.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => login::token(self.console())?,
        };
        self.send_with(&token, method, path, body).await
    }

    /// The same with this token.
    pub(super) async fn send_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let target = Target::from_config(&format!("{}{path}", self.console()))?;
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(format!("Bearer {token}"))
            .context("the token has characters that no token has")?;
        headers.insert(header::AUTHORIZATION, value);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let limits = Limits {
            bytes_max: ANSWER_BYTES_MAX,
            total: Duration::from_secs(30),
        };
        let egress = Egress::new(&Policy::default())?;
        let answer = egress.send(method, &target, &headers, body, limits).await?;
        if !answer.status.is_success() {
            let problem: serde_json::Value =
                serde_json::from_slice(&answer.body).unwrap_or_default();
            let detail = problem
                .get("detail")
                .and_then(serde_json::Value::as_str)
                .unwrap_or("no reason given");
            anyhow::bail!("{}: {detail}", answer.status);
        }
        if answer.body.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&answer.body).context("the console's answer is not JSON")
    }
}
