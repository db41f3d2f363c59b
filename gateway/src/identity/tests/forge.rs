//! Keys and tokens, good and bad.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as aws, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(in super::super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[derive(Clone)]
enum Private {
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

/// A private key with its id and algorithm.
#[derive(Clone)]
pub(in super::super) struct Signer {
    id: String,
    algorithm: &'static str,
    private: Private,
}

impl Signer {
    pub(in super::super) fn es256(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&aws::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            id: id.to_owned(),
            algorithm: "ES256",
            private: Private::Ec(Arc::new(pair)),
        }
    }

    pub(in super::super) fn es384(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&aws::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self {
            id: id.to_owned(),
            algorithm: "ES384",
            private: Private::Ec(Arc::new(pair)),
        }
    }

    pub(in super::super) fn eddsa(id: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        Self {
            id: id.to_owned(),
            algorithm: "EdDSA",
            private: Private::Ed(Arc::new(pair)),
        }
    }

    /// All RSA signers share one key, because making one takes long.
    pub(in super::super) fn rsa(id: &str, algorithm: &'static str) -> Self {
        static PAIR: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
        let pair = PAIR.get_or_init(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        Self {
            id: id.to_owned(),
            algorithm,
            private: Private::Rsa(Arc::clone(pair)),
        }
    }

    pub(in super::super) fn all() -> Vec<Self> {
        let mut all = vec![Self::es256("k1"), Self::es384("k1"), Self::eddsa("k1")];
        for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
            all.push(Self::rsa("k1", name));
        }
        all
    }

    pub(in super::super) fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The public key.
    pub(in super::super) fn jwk(&self) -> Value {
        let public = match &self.private {
            Private::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) })
            }
            Private::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()) })
            }
            Private::Rsa(pair) => {
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "n": b64(n), "e": b64(e) })
            }
        };
        super::merge(
            public,
            json!({ "kid": self.id, "alg": self.algorithm, "use": "sig" }),
        )
    }

    pub(in super::super) fn public_bytes(&self) -> Vec<u8> {
        match &self.private {
            Private::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Private::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Private::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(in super::super) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.id })
    }

    pub(in super::super) fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    pub(in super::super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of any texts, signed by this key with its own algorithm whatever the header says.
    pub(in super::super) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(in super::super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Rsa(pair) => {
                let padding: &'static dyn aws::RsaEncoding = match self.algorithm {
                    "RS256" => &aws::RSA_PKCS1_SHA256,
                    "RS384" => &aws::RSA_PKCS1_SHA384,
                    "RS512" => &aws::RSA_PKCS1_SHA512,
                    "PS256" => &aws::RSA_PSS_SHA256,
                    "PS384" => &aws::RSA_PSS_SHA384,
                    _ => &aws::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }
}

/// Whether the `jsonwebtoken` crate accepts a token's signature too.
pub(in super::super) fn other_implementation_accepts(token: &str, jwk: &Value) -> bool {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, header.alg).unwrap()
}
