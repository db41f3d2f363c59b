//! The signature algorithms that are accepted, all of them asymmetric (RFC 7518 section 3.1, RFC 8037).

use aws_lc_rs::signature as aws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A signature algorithm.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// All of them.
pub(super) const ALL: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

impl Algorithm {
    /// The name in tokens and key sets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of exactly this name; `none` and the symmetric ones have none.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Parameters for RSA keys of 2048 to 8192 bits; `None` for the other families.
    pub(super) const fn rsa(self) -> Option<&'static aws::RsaParameters> {
        match self {
            Self::RS256 => Some(&aws::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Some(&aws::RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Some(&aws::RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Some(&aws::RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Some(&aws::RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Some(&aws::RSA_PSS_2048_8192_SHA512),
            Self::ES256 | Self::ES384 | Self::EdDSA => None,
        }
    }
}
