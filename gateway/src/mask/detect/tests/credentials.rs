//! The table's other half: credentials that no prefix tells alone. Those of the table of prefixes have a test of
//! their own.

use super::table::Example;

/// Credentials.
pub(super) const EXAMPLES: &[Example] = &[
    Example {
        class: "secret.jwt",
        source: "RFC 7515, RFC 7516",
        proof: "none: form",
        finds: &["\u{27e8}eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0\u{27e9}"],
        leaves: &["eyJ and eyes"],
        alike: &["eyJhbGciOiJub25lIn0"],
    },
    Example {
        class: "secret.authorization",
        source: "RFC 6750, RFC 7617",
        proof: "none: form",
        finds: &["Authorization: Basic \u{27e8}Y2FsbGVyOnBhc3M=\u{27e9}"],
        leaves: &["Basic knowledge, Bearer authentication"],
        alike: &["Authorization: Basic documentation"],
    },
    Example {
        class: "secret.aws-key",
        source: "AWS IAM: unique identifiers",
        proof: "none: name and form",
        finds: &[
            "aws_secret_access_key = \u{27e8}wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\u{27e9}",
        ],
        leaves: &["AKIA alone, aws_secret_access_key = none"],
        alike: &["aws_secret_access_key = wJalrXUtnFEMI"],
    },
    Example {
        class: "secret.openai-key",
        source: "vendor\u{2019}s documentation",
        proof: "none: form",
        finds: &["\u{27e8}sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst\u{27e9}"],
        leaves: &["sk-learn and sk-"],
        alike: &["abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst"],
    },
    Example {
        class: "secret.telegram-token",
        source: "Telegram Bot API",
        proof: "none: form",
        finds: &["\u{27e8}110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1\u{27e9}"],
        leaves: &["at 12345678:AA"],
        alike: &["110201543:AAHdqTcvCH1vGWJ"],
    },
    Example {
        class: "secret.mailchimp-key",
        source: "Mailchimp Marketing API",
        proof: "none: form",
        finds: &["\u{27e8}0123456789abcdef0123456789abcdef-us12\u{27e9}"],
        leaves: &["region-us12"],
        alike: &["0123456789abcdef0123456789abcdeX-us12"],
    },
    Example {
        class: "secret.azure-key",
        source: "Azure Storage: shared access signature",
        proof: "none: name and form",
        finds: &[
            "https://x.example/y?sv=1&sig=\u{27e8}kLx5Wv2cJm0oV0b7mXhJm1l0q9f3u0o8V7y6T5r4e3w%3D\u{27e9}",
        ],
        leaves: &["?sig=none"],
        alike: &["https://x.example/y?sv=1&sig=kLx5Wv2cJm0"],
    },
    Example {
        class: "secret.terraform-token",
        source: "Terraform Cloud API",
        proof: "none: form",
        finds: &[
            "\u{27e8}abcdefghij1234.atlasv1.abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789\u{27e9}",
        ],
        leaves: &["x.atlasv1.y"],
        alike: &["abcdefghij1234.atlasv1.abcdefghijk"],
    },
    Example {
        class: "secret.bitcoin-key",
        source: "wallet import format; BIP 32",
        proof: "SHA-256 twice",
        finds: &["\u{27e8}5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ\u{27e9}"],
        leaves: &["5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyT"],
        alike: &["5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTK"],
    },
    Example {
        class: "secret.password",
        source: "the names that announce it",
        proof: "none: name",
        finds: &[
            "password=\u{27e8}hunter2\u{27e9}",
            "\"db_password\": \"\u{27e8}S3cr3t!pw\u{27e9}\"",
            "PWD: \u{27e8}tr0ub4dor\u{27e9}",
        ],
        leaves: &[
            "password: required, the password is wrong",
            "password=$PASSWORD password=${X1} password=get_pw1()",
        ],
        alike: &[
            "password=self.password1",
            "password = changeme",
            "passwords=abc123x",
        ],
    },
    Example {
        class: "secret.named",
        source: "the names that announce it",
        proof: "none: name, and mixed by chance",
        finds: &[
            "api_key=\u{27e8}8f14e45fceea167a5a36dedd4bea2543\u{27e9}",
            "client_secret: \"\u{27e8}a8Kd02Lq9ZxC3vBn7Mm1\u{27e9}\"",
            "token = \u{27e8}123e4567-e89b-12d3-a456-426614174000\u{27e9}",
            "\"apiKey\": \"\u{27e8}x9F2kQ81mZ7pL0aTq3\u{27e9}\"",
        ],
        leaves: &["token = get_token(), secret: my-app-config", "token: next"],
        alike: &[
            "next_page_token=8f14e45fceea167a5a36dedd4bea2543",
            "key=8f14e45fceea167a5a36dedd4bea2543",
            "secret=db-creds-v1-prod-eu2",
        ],
    },
    Example {
        class: "secret.signed-url",
        source: "AWS SigV4, Google V4, CloudFront",
        proof: "none: name and form",
        finds: &[
            "https://b.example/k?X-Amz-Date=1&X-Amz-Signature=\u{27e8}fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024\u{27e9}",
            "https://s.example/o?Expires=1&Signature=\u{27e8}d3Jx-1bKq9Zt0pLm4Nv8Rw2Yc6Ta5Ue7\u{27e9}",
        ],
        leaves: &["Signature= is missing"],
        alike: &["https://b.example/k?X-Amz-Signature=fe5f"],
    },
    Example {
        class: "secret.connection-string",
        source: "ADO.NET, ODBC, libpq",
        proof: "none: name among the settings",
        finds: &[
            "Server=db;User Id=app;Password=\u{27e8}s3cret\u{27e9};",
            "host=db user=app password=\u{27e8}two-words\u{27e9} dbname=x",
            "Driver={X};Server=db;Uid=a;Pwd=\u{27e8}abc\u{27e9};",
        ],
        leaves: &["Server=db;User Id=app;"],
        alike: &["Password=;Server=db", "pwd=/home/bob"],
    },
    Example {
        class: "secret.azure-secret",
        source: "Entra ID",
        proof: "none: form",
        finds: &["\u{27e8}abc8Q~abcdefghijklmnopqrstuvwxyz01234567\u{27e9}"],
        leaves: &["8Q~ alone"],
        alike: &["abc8Q~abcdefghijklmnopqrst"],
    },
    Example {
        class: "secret.private-key",
        source: "RFC 7468, RFC 9580",
        proof: "none: form",
        finds: &[
            "\u{27e8}-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY\n-----END EC PRIVATE KEY-----\u{27e9}",
        ],
        leaves: &["-----BEGIN CERTIFICATE-----"],
        alike: &["-----BEGIN PUBLIC KEY-----\nMHcCAQEE\n-----END PUBLIC KEY-----"],
    },
    Example {
        class: "secret.url-password",
        source: "RFC 3986",
        proof: "none: form",
        finds: &["postgres://app:\u{27e8}s3cret\u{27e9}@db/x"],
        leaves: &["https://example.com:8443/a@b"],
        alike: &["mailto:bob@example.com, https://app@db/x"],
    },
    Example {
        class: "secret.twilio-key",
        source: "Twilio API keys",
        proof: "none: form",
        finds: &["\u{27e8}SK0123456789abcdef0123456789abcdef\u{27e9}"],
        leaves: &["SKU 0123456789, ACME"],
        alike: &[
            "SK0123456789abcdef0123456789abcde",
            "SK0123456789ABCDEF0123456789ABCDEF",
        ],
    },
    Example {
        class: "secret.discord-token",
        source: "Discord: bots",
        proof: "none: form",
        finds: &["\u{27e8}MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs\u{27e9}"],
        leaves: &["a.sixsix.b", "Module.method.call"],
        alike: &["MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKW"],
    },
];
