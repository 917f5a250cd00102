//! The members of a server in short form: its realm and its data points, written where they are used.

use super::super::table::{Kind, Row, row};
use super::realm::{CLAIMS, KEY_FILE};
use super::values::*;

/// `authentication`: the one way to log in.
pub(super) static AUTHENTICATION: &[Row] = &[row("@JWT", Kind::Object(TOKENS), "JSON Web Tokens")];

static TOKENS: &[Row] = &[
    row(
        "realm",
        Kind::Text(&DESCRIPTION),
        "Text of the challenge; default the server's id",
    ),
    row("scope", list(&SCOPE_TOKEN), "Scopes that the challenge announces").or("[]"),
    row("issuer", NAME, "What iss must be"),
    row("audience", NAME, "What aud must be or contain"),
    row(
        "claims",
        CLAIMS,
        "Claims with their accepted values, one of which is enough",
    ),
    row(
        "verification",
        Kind::Single(VERIFICATION),
        "What verifies the signature",
    )
    .required(),
];

const fn key(algorithm: &'static str) -> Row {
    row(algorithm, KEY_FILE, "The PEM public key of this algorithm")
}

const fn secret(algorithm: &'static str) -> Row {
    row(
        algorithm,
        KEY_FILE,
        "The shared secret of this algorithm, never PEM",
    )
}

/// The methods of verification: an algorithm with `@` before it, or a key set.
static VERIFICATION: &[Row] = &[
    key("@RS256"),
    key("@RS384"),
    key("@RS512"),
    key("@PS256"),
    key("@PS384"),
    key("@PS512"),
    key("@ES256"),
    key("@ES384"),
    key("@ES512"),
    key("@ES256K"),
    key("@EdDSA"),
    secret("@HS256"),
    secret("@HS384"),
    secret("@HS512"),
    row("@JWKS", KEY_FILE, "A JSON Web Key Set"),
];
