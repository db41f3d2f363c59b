//! The table of credentials: what vendors mark with a prefix, by their public documentation.
//!
//! A literal stands at the start of a word; `Code` entries are looked at by a function.

use super::links::{string_password, url_signature};
use super::secrets::{
    Runs, aws_secret, azure_secret, azure_signature, basic, bearer, jwt, mailchimp_key, openai_key,
    private_key, telegram_token, terraform_token, url_password,
};

/// Bytes that may follow a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Set {
    /// `0-9a-fA-F`
    Hex,
    /// `A-Z0-9`
    Upper,
    /// `A-Za-z0-9`
    Alnum,
    /// `A-Za-z0-9_-`
    Url,
    /// `A-Za-z0-9_-.`
    Dotted,
    /// `A-Za-z0-9+/=_-`
    Base64,
}

impl Set {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-')
            }
        }
    }
}

/// A literal and what must follow it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// What it is.
    pub(super) class: &'static str,
    /// At least three bytes.
    pub(super) literal: &'static str,
    /// What follows.
    pub(super) shape: Shape,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// So many bytes of a set, at least and at most; the run may not go on.
    Run(Set, usize, usize),
    /// Looked at by code: gets the text and the place of the literal, gives the span.
    Code(fn(&mut Runs<'_>, usize) -> Option<(usize, usize)>),
}

/// Longest run that is taken for one credential.
const ANY: usize = usize::MAX;

const fn run(class: &'static str, literal: &'static str, set: Set, min: usize, max: usize) -> Rule {
    Rule {
        class,
        literal,
        shape: Shape::Run(set, min, max),
    }
}

const fn code(
    class: &'static str,
    literal: &'static str,
    check: fn(&mut Runs<'_>, usize) -> Option<(usize, usize)>,
) -> Rule {
    Rule {
        class,
        literal,
        shape: Shape::Code(check),
    }
}

/// All rules.
pub(super) const RULES: &[Rule] = &[
    code("secret.jwt", "eyJ", jwt),
    code("secret.private-key", "-----BEGIN ", private_key),
    code("secret.url-password", "://", url_password),
    code("secret.authorization", "Bearer ", bearer),
    code("secret.authorization", "bearer ", bearer),
    code("secret.authorization", "BEARER ", bearer),
    code("secret.authorization", "Basic ", basic),
    code("secret.authorization", "basic ", basic),
    run("secret.aws-key", "AKIA", Set::Upper, 16, 16),
    run("secret.aws-key", "ASIA", Set::Upper, 16, 16),
    run("secret.aws-key", "ABIA", Set::Upper, 16, 16),
    run("secret.aws-key", "ACCA", Set::Upper, 16, 16),
    run("secret.aws-key", "A3T", Set::Upper, 17, 17),
    code("secret.aws-key", "ecretAccessKey", aws_secret),
    code("secret.aws-key", "ecret_access_key", aws_secret),
    code("secret.aws-key", "ECRET_ACCESS_KEY", aws_secret),
    code("secret.azure-key", "sig=", azure_signature),
    run("secret.azure-key", "AccountKey=", Set::Base64, 43, 90),
    run("secret.azure-key", "SharedAccessKey=", Set::Base64, 43, 90),
    run("secret.gcp-key", "AIza", Set::Url, 35, 35),
    run("secret.gcp-key", "GOCSPX-", Set::Url, 28, 28),
    run("secret.gcp-key", "ya29.", Set::Dotted, 20, ANY),
    run("secret.github-token", "ghp_", Set::Url, 36, 255),
    run("secret.github-token", "gho_", Set::Url, 36, 255),
    run("secret.github-token", "ghu_", Set::Url, 36, 255),
    run("secret.github-token", "ghr_", Set::Url, 36, 255),
    run("secret.github-token", "ghs_", Set::Dotted, 36, ANY),
    run("secret.github-token", "github_pat_", Set::Url, 22, 255),
    run("secret.gitlab-token", "glpat-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "gldt-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glrt-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glptt-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glcbt-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glsoat-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glft-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glimt-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "glagent-", Set::Dotted, 20, 512),
    run("secret.gitlab-token", "GR1348941", Set::Url, 20, 50),
    run("secret.gitlab-token", "gloas-", Set::Dotted, 20, 512),
    run("secret.slack-token", "xoxb-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxp-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxa-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxr-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxs-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxe-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxe.xox", Set::Base64, 20, ANY),
    run("secret.slack-token", "xapp-", Set::Base64, 20, 512),
    run("secret.slack-token", "xoxc-", Set::Base64, 20, ANY),
    run("secret.slack-token", "xoxd-", Set::Base64, 20, ANY),
    run(
        "secret.slack-token",
        "hooks.slack.com/services/",
        Set::Base64,
        30,
        ANY,
    ),
    run("secret.stripe-key", "sk_live_", Set::Alnum, 16, 255),
    run("secret.stripe-key", "sk_test_", Set::Alnum, 16, 255),
    run("secret.stripe-key", "rk_live_", Set::Alnum, 16, 255),
    run("secret.stripe-key", "rk_test_", Set::Alnum, 16, 255),
    run("secret.stripe-key", "whsec_", Set::Base64, 24, 255),
    run("secret.openai-key", "sk-proj-", Set::Url, 20, 512),
    run("secret.openai-key", "sk-svcacct-", Set::Url, 20, 512),
    run("secret.openai-key", "sk-admin-", Set::Url, 20, 512),
    run("secret.openai-key", "sk-None-", Set::Url, 20, 512),
    code("secret.openai-key", "T3BlbkFJ", openai_key),
    run("secret.anthropic-key", "sk-ant-", Set::Url, 32, 255),
    run("secret.openrouter-key", "sk-or-v1-", Set::Hex, 64, 64),
    run("secret.huggingface-token", "hf_", Set::Alnum, 30, 60),
    run("secret.groq-key", "gsk_", Set::Alnum, 40, 80),
    run("secret.xai-key", "xai-", Set::Alnum, 60, 120),
    run("secret.perplexity-key", "pplx-", Set::Alnum, 40, 80),
    run("secret.replicate-token", "r8_", Set::Alnum, 37, 40),
    run("secret.npm-token", "npm_", Set::Alnum, 36, 36),
    run("secret.pypi-token", "pypi-AgEI", Set::Url, 50, ANY),
    run("secret.pypi-token", "pypi-AgEN", Set::Url, 50, ANY),
    run("secret.rubygems-key", "rubygems_", Set::Hex, 48, 48),
    run("secret.crates-token", "cio", Set::Alnum, 32, 32),
    run("secret.docker-token", "dckr_pat_", Set::Url, 27, 64),
    run("secret.docker-token", "dckr_oat_", Set::Url, 27, 64),
    run("secret.nuget-key", "oy2", Set::Alnum, 43, 43),
    run("secret.digitalocean-token", "dop_v1_", Set::Hex, 64, 64),
    run("secret.digitalocean-token", "doo_v1_", Set::Hex, 64, 64),
    run("secret.digitalocean-token", "dor_v1_", Set::Hex, 64, 64),
    run("secret.vault-token", "hvs.", Set::Url, 24, 512),
    run("secret.vault-token", "hvb.", Set::Url, 24, 512),
    run("secret.vault-token", "hvr.", Set::Url, 24, 512),
    code("secret.terraform-token", ".atlasv1.", terraform_token),
    run("secret.databricks-token", "dapi", Set::Hex, 32, 34),
    run("secret.doppler-token", "dp.pt.", Set::Alnum, 40, 50),
    run("secret.doppler-token", "dp.st.", Set::Dotted, 40, 80),
    run("secret.doppler-token", "dp.sa.", Set::Alnum, 40, 50),
    run("secret.linear-key", "lin_api_", Set::Alnum, 40, 40),
    run("secret.linear-key", "lin_oauth_", Set::Hex, 64, 64),
    run("secret.notion-token", "ntn_", Set::Alnum, 40, 60),
    run("secret.notion-token", "secret_", Set::Alnum, 43, 43),
    run("secret.postman-key", "PMAK-", Set::Url, 50, 70),
    run("secret.newrelic-key", "NRAK-", Set::Upper, 27, 27),
    run("secret.newrelic-key", "NRJS-", Set::Hex, 19, 19),
    run("secret.newrelic-key", "NRII-", Set::Url, 32, 32),
    run("secret.grafana-token", "glsa_", Set::Url, 41, 41),
    run("secret.grafana-token", "glc_", Set::Base64, 32, 500),
    run("secret.grafana-token", "eyJrIjoi", Set::Base64, 60, 400),
    run("secret.sentry-token", "sntrys_", Set::Base64, 60, 500),
    run("secret.sentry-token", "sntryu_", Set::Hex, 64, 64),
    run(
        "secret.planetscale-token",
        "pscale_tkn_",
        Set::Dotted,
        32,
        64,
    ),
    run(
        "secret.planetscale-token",
        "pscale_pw_",
        Set::Dotted,
        32,
        64,
    ),
    run(
        "secret.planetscale-token",
        "pscale_oauth_",
        Set::Dotted,
        32,
        64,
    ),
    run("secret.supabase-token", "sbp_", Set::Hex, 40, 40),
    run("secret.supabase-token", "sb_secret_", Set::Url, 20, 80),
    run("secret.flyio-token", "fm1_", Set::Base64, 60, ANY),
    run("secret.flyio-token", "fm2_", Set::Base64, 60, ANY),
    run("secret.age-key", "AGE-SECRET-KEY-1", Set::Upper, 58, 58),
    run("secret.atlassian-token", "ATATT3", Set::Base64, 100, 300),
    run("secret.atlassian-token", "ATCTT3", Set::Base64, 100, 300),
    run("secret.bitbucket-token", "ATBB", Set::Base64, 32, 64),
    run("secret.figma-token", "figd_", Set::Url, 38, 60),
    run("secret.dropbox-token", "sl.", Set::Url, 100, 1500),
    run("secret.airtable-token", "pat", Set::Dotted, 79, 79),
    run("secret.shopify-token", "shpat_", Set::Hex, 32, 32),
    run("secret.shopify-token", "shpca_", Set::Hex, 32, 32),
    run("secret.shopify-token", "shppa_", Set::Hex, 32, 32),
    run("secret.shopify-token", "shpss_", Set::Hex, 32, 32),
    run("secret.square-token", "sq0atp-", Set::Url, 22, 22),
    run("secret.square-token", "sq0csp-", Set::Url, 43, 43),
    run("secret.square-token", "EAAA", Set::Url, 60, 60),
    code("secret.telegram-token", ":AA", telegram_token),
    code("secret.mailchimp-key", "-us", mailchimp_key),
    run("secret.sendgrid-key", "SG.", Set::Dotted, 60, 75),
    run("secret.mailgun-key", "key-", Set::Hex, 32, 32),
    run("secret.brevo-key", "xkeysib-", Set::Url, 64, 90),
    run("secret.mailersend-token", "mlsn.", Set::Hex, 64, 64),
    run("secret.alibaba-key", "LTAI", Set::Alnum, 12, 26),
    run("secret.tencent-key", "AKID", Set::Alnum, 32, 32),
    run("secret.yandex-key", "AQVN", Set::Url, 35, 38),
    run("secret.heroku-key", "HRKU-", Set::Url, 36, 64),
    run("secret.render-key", "rnd_", Set::Alnum, 32, 32),
    run(
        "secret.facebook-token",
        "EAACEdEose0cBA",
        Set::Alnum,
        20,
        500,
    ),
    run("secret.tailscale-key", "tskey-", Set::Url, 20, 80),
    run("secret.sonar-token", "squ_", Set::Hex, 40, 40),
    run("secret.sonar-token", "sqp_", Set::Hex, 40, 40),
    run("secret.sonar-token", "sqa_", Set::Hex, 40, 40),
    run("secret.buildkite-token", "bkua_", Set::Hex, 40, 40),
    run("secret.pulumi-token", "pul-", Set::Hex, 40, 40),
    run("secret.prefect-token", "pnu_", Set::Alnum, 36, 36),
    run("secret.clojars-token", "CLOJARS_", Set::Hex, 60, 60),
    run("secret.jfrog-token", "AKCp", Set::Alnum, 69, 69),
    run("secret.jfrog-token", "cmVmdGtu", Set::Alnum, 56, 56),
    run("secret.circleci-token", "CCIPAT_", Set::Url, 40, 80),
    run("secret.circleci-token", "CCIPRJ_", Set::Url, 40, 80),
    run("secret.contentful-token", "CFPAT-", Set::Url, 43, 43),
    run("secret.typeform-token", "tfp_", Set::Dotted, 40, 64),
    run("secret.readme-key", "rdme_", Set::Alnum, 70, 72),
    run("secret.easypost-key", "EZAK", Set::Alnum, 54, 54),
    run("secret.easypost-key", "EZTK", Set::Alnum, 54, 54),
    run("secret.shippo-token", "shippo_live_", Set::Hex, 40, 40),
    run("secret.shippo-token", "shippo_test_", Set::Hex, 40, 40),
    run("secret.onepassword-token", "ops_eyJ", Set::Base64, 250, ANY),
    run("secret.openshift-token", "sha256~", Set::Url, 43, 43),
    run("secret.mapbox-token", "sk.eyJ", Set::Dotted, 60, 300),
    run("secret.langchain-key", "lsv2_pt_", Set::Alnum, 30, 60),
    run("secret.langchain-key", "lsv2_sk_", Set::Alnum, 30, 60),
    run("secret.nvidia-key", "nvapi-", Set::Url, 60, 70),
    run("secret.cohere-key", "co_live_", Set::Alnum, 30, 60),
    run("secret.neon-key", "napi_", Set::Alnum, 60, 70),
    run("secret.adobe-secret", "p8e-", Set::Alnum, 32, 32),
    run("secret.twitch-token", "oauth:", Set::Alnum, 30, 30),
    run("secret.frameio-token", "fio-u-", Set::Url, 64, 64),
    run("secret.duffel-token", "duffel_live_", Set::Url, 43, 43),
    run("secret.okta-token", "SSWS ", Set::Url, 42, 42),
    code("secret.signed-url", "Signature=", url_signature),
    code("secret.signed-url", "signature=", url_signature),
    code("secret.connection-string", "assword=", string_password),
    code("secret.connection-string", "ASSWORD=", string_password),
    code("secret.connection-string", "Pwd=", string_password),
    code("secret.connection-string", "PWD=", string_password),
    code("secret.connection-string", "pwd=", string_password),
    run("secret.hubspot-token", "pat-na1-", Set::Url, 36, 36),
    run("secret.hubspot-token", "pat-na2-", Set::Url, 36, 36),
    run("secret.hubspot-token", "pat-eu1-", Set::Url, 36, 36),
    run("secret.dynatrace-token", "dt0c01.", Set::Dotted, 89, 89),
    run("secret.netlify-token", "nfp_", Set::Alnum, 36, 40),
    run("secret.plaid-token", "access-production-", Set::Url, 36, 36),
    run("secret.elasticcloud-key", "essu_", Set::Base64, 40, 120),
    run("secret.posthog-key", "phx_", Set::Alnum, 40, 60),
    run("secret.tavily-key", "tvly-", Set::Url, 24, 60),
    run("secret.cloudflare-key", "v1.0-", Set::Url, 170, 172),
    run("secret.adafruit-key", "aio_", Set::Alnum, 28, 28),
    run("secret.wakatime-key", "waka_", Set::Url, 36, 36),
    run("secret.google-refresh-token", "1//0", Set::Url, 60, 120),
    code("secret.azure-secret", "8Q~", azure_secret),
];
