//! The members of realms and of their login modules.

use super::super::table::{Format, Kind, Row, State, Tagged, Variant, Word, refused, row};
use super::ldap::LDAP;
use super::values::*;

static MODULE_OBJECT: Kind = Kind::Tagged(&MODULE);

/// One of `realms`.
pub(super) static REALM: &[Row] = &[
    row(
        "description",
        Kind::Text(&DESCRIPTION),
        "Text of the challenge; default the realm's name",
    ),
    row(
        "challenges",
        some(&CHALLENGE_NAME),
        "Schemes in order; default what the login modules can judge",
    ),
    row("digest", Kind::Object(DIGEST), "Algorithms and nonces of Digest").or("{}"),
    row("scope", list(&SCOPE_TOKEN), "Scopes that the challenge announces").or("[]"),
    row("carriers", some(&CARRIER_NAME), "Where a credential may travel").or("[\"authorization\"]"),
    row(
        "anonymous",
        Kind::Object(ANONYMOUS),
        "Lets clients without a credential pass",
    ),
    row("sessionTimeout", POSITIVE, "Longest life of a socket"),
    row(
        "authorizationTimeout",
        POSITIVE,
        "Longest life of a socket that is not renewed",
    ),
    row("renewal", Kind::Text(&PATH), "Where a POST renews open sockets"),
    row(
        "origins",
        list(&ORIGIN_NAME),
        "Origins that may use the realm's own paths; default those that all its services allow",
    ),
    row("form", Kind::Object(FORM), "HTML form login"),
    row("tickets", Kind::Object(TICKETS), "One-time tickets"),
    row(
        "acrValues",
        Kind::OneOrMany(&SCOPE_TOKEN),
        "What the Bearer challenge asks for where the realm is a further factor",
    ),
    row("loginModules", some(&MODULE_OBJECT), "The login chain").required(),
    row(
        "sameTokenOk",
        Kind::Boolean,
        "Lets two carriers hold the same token",
    )
    .or("false"),
    row(
        "ignoreAuthorizationFromProxy",
        Kind::Boolean,
        "A proxy in front writes its own Authorization field",
    )
    .or("false"),
    row(
        "suppressBrowserPrompt",
        Kind::Boolean,
        "Leaves out Basic and Digest challenges for requests with an Origin",
    )
    .or("false"),
    row(
        "lenientSubprotocolToken",
        Kind::Boolean,
        "Lets a subprotocol token hold / and =",
    )
    .or("false"),
    row("compat", Kind::Object(COMPAT), "Behaviour of older gateways").or("{}"),
];

/// `digest`.
static DIGEST: &[Row] = &[
    row("algorithms", some(&DIGEST_WORD), "Algorithms that are offered").or("[\"SHA-256\"]"),
    row("nonceLifetime", POSITIVE, "How long a nonce is good for").or("\"5 minutes\""),
];

static DIGEST_WORD: Kind = Kind::Word(&[Word::built("SHA-256"), Word::built("MD5")]);

static ANONYMOUS: &[Row] = &[row("roles", list(&ROLE_NAME), "Roles besides Anonymous").or("[]")];

static FORM: &[Row] = &[
    row("path", Kind::Text(&PATH), "Where the login page is").or("\"/login\""),
    row("logout", Kind::Text(&PATH), "Where a POST ends the session").or("\"/logout\""),
    row(
        "cookie",
        Kind::Text(&SESSION_COOKIE),
        "The session's cookie; its name begins with __Host-",
    )
    .or("\"__Host-session\""),
];

static TICKETS: &[Row] = &[
    row("path", Kind::Text(&PATH), "Where a POST makes a ticket").or("\"/ticket\""),
    row(
        "lifetime",
        Kind::Duration { min: 1_000 },
        "How long a ticket waits to be used, at most 30 seconds",
    )
    .or("\"30 seconds\""),
];

static COMPAT: &[Row] = &[
    row("kaazing403", Kind::Boolean, "403 where a login fails").or("false"),
    row(
        "applicationPrefix",
        Kind::Boolean,
        "Writes the Application prefix of challenges",
    )
    .or("false"),
];

/// One of a realm's `loginModules`.
static MODULE: Tagged = Tagged {
    common: &[row("success", Kind::Word(FLAGS), "What the verdict does to the chain").required()],
    variants: &[
        Variant {
            name: "users",
            doc: "User files",
            rows: &[
                row("passwords", Kind::File, "htpasswd file, for Basic"),
                row("digests", Kind::File, "htdigest file, for Digest"),
                row("groups", Kind::File, "Group file"),
            ],
            state: State::Built,
        },
        Variant {
            name: "jwt",
            doc: "JSON Web Tokens",
            rows: JWT,
            state: State::Built,
        },
        Variant {
            name: "introspection",
            doc: "Opaque tokens, RFC 7662",
            rows: INTROSPECTION,
            state: State::Built,
        },
        Variant {
            name: "ldap",
            doc: "An LDAP directory",
            rows: LDAP,
            state: State::Built,
        },
        Variant {
            name: "ephemeral",
            doc: "HMAC credentials that expire",
            rows: &[
                row("secrets", some(&FILE), "Secret files, the newest first").required(),
                row("algorithm", Kind::Word(HMAC_HASHES), "Hash of the HMAC").or("\"SHA-256\""),
            ],
            state: State::Built,
        },
        Variant {
            name: "callout",
            doc: "An HTTP service that decides",
            rows: &[],
            state: State::Later,
        },
        Variant {
            name: "certificate",
            doc: "Client certificates",
            rows: &[],
            state: State::Later,
        },
    ],
};

static FILE: Kind = Kind::File;

/// The words of an `ephemeral` module's `algorithm`.
static HMAC_HASHES: &[Word] = &[
    Word::built("SHA-1"),
    Word::built("SHA-256"),
    Word::built("SHA-384"),
    Word::built("SHA-512"),
];

/// The words of `success`.
static FLAGS: &[Word] = &[
    Word::built("required"),
    Word::built("requisite"),
    Word::built("sufficient"),
    Word::built("optional"),
];

/// Claims with their accepted values.
pub(super) const CLAIMS: Kind = Kind::Map {
    of: &CLAIM_VALUES,
    name: &PLAIN,
    min: 1,
};

static CLAIM_VALUES: Kind = some(&CLAIM_VALUE);
static CLAIM_VALUE: Kind = Kind::Text(&Format {
    check: |_| Ok(()),
    pattern: "",
});
static RSA_WORD: Kind = Kind::Word(RSA_ALGORITHMS);

static JWT: &[Row] = &[
    row("issuer", NAME, "What iss must be"),
    row("audience", NAME, "What aud must be or contain"),
    row("claims", CLAIMS, "Claims with their accepted values"),
    row("claimsMode", CLAIMS_MODE, "How many of the claims must hold").or("\"any\""),
    row("roles", list(&NAME), "Claims whose values become roles").or("[]"),
    row("leeway", ANY_LENGTH, "How far clocks may differ").or("\"30 seconds\""),
    row("requireExpiry", Kind::Boolean, "Refuses tokens without exp").or("true"),
    row("tokenType", NAME, "What typ must be"),
    row(
        "algorithms",
        some(&RSA_WORD),
        "Algorithms of RSA keys of a JWKS that name none",
    ),
    row(
        "verification",
        Kind::Single(VERIFICATION),
        "What verifies the signature",
    )
    .required(),
];

const CA_FILE: &str = "Trusted certificates in PEM; default the system's";
const PLAINTEXT: &str = "Allows a URL without TLS beyond loopback";

/// The members of an `introspection` module.
static INTROSPECTION: &[Row] = &[
    row("url", Kind::Text(&URL), "Who is asked").required(),
    row("clientId", NAME, "Who asks").required(),
    row("clientSecretFile", Kind::File, "Password for asking").required(),
    row("caFile", Kind::File, CA_FILE),
    row("plaintext", Kind::Boolean, PLAINTEXT).or("false"),
    row("cacheTtl", ANY_LENGTH, "How long an active token counts unasked").or("\"60 seconds\""),
    row(
        "negativeTtl",
        ANY_LENGTH,
        "How long an inactive one is refused unasked",
    )
    .or("\"5 seconds\""),
    row("timeout", QUESTION, "How long an answer may take").or("\"5 seconds\""),
    row("maxInFlight", IN_FLIGHT, "Questions at once").or("64"),
    row("jwts", Kind::Boolean, "Asks about tokens of three parts too").or("false"),
    row("issuer", NAME, "What iss must be"),
    row(
        "audience",
        NAME,
        "What aud must be or contain; this or anyAudience",
    ),
    row("anyAudience", Kind::Boolean, "Takes tokens for any audience").or("false"),
    row("claims", CLAIMS, "Claims with their accepted values"),
    row("claimsMode", CLAIMS_MODE, "How many of the claims must hold").or("\"any\""),
    row("roles", list(&NAME), "Claims whose values become roles").or("[]"),
    row("leeway", ANY_LENGTH, "How far clocks may differ").or("\"30 seconds\""),
];

/// How long somebody else may take to answer: more than a minute no client waits for.
const QUESTION: Kind = Kind::Duration { min: 1 };

/// How many questions may be open at once; each holds a descriptor.
const IN_FLIGHT: Kind = Kind::Count { min: 1, max: 4096 };

const CLAIMS_MODE: Kind = Kind::Word(&[Word::built("any"), Word::built("all")]);

static VERIFICATION: &[Row] = &[
    row(
        "publicKey",
        Kind::Single(PUBLIC_KEYS),
        "One PEM public key, by algorithm",
    ),
    row("jwks", Kind::Object(JWKS), "A JSON Web Key Set"),
    row("secret", Kind::Single(SECRETS), "A shared secret, by algorithm"),
];

static JWKS: &[Row] = &[
    row("keyFile", Kind::File, "JWKS file; this or url"),
    row("url", Kind::Text(&URL), "Where the key set is fetched"),
    row(
        "refresh",
        Kind::Duration { min: 1_000 },
        "Longest time between two fetches",
    )
    .or("\"15 minutes\""),
    row(
        "refetchInterval",
        Kind::Duration { min: 1_000 },
        "Shortest time between two fetches, as for unknown keys",
    )
    .or("\"30 seconds\""),
    row("caFile", Kind::File, CA_FILE),
    row("plaintext", Kind::Boolean, PLAINTEXT).or("false"),
];

pub(super) static KEY_FILE: Kind = Kind::Object(&[row("keyFile", Kind::File, "The key's file").required()]);

const fn key(algorithm: &'static str) -> Row {
    row(algorithm, KEY_FILE, "The key of this algorithm")
}

const NEEDS_SECRET: &str = "HMAC with a public key lets everybody sign: use \"secret\" with a secret file";
const NEEDS_PUBLIC_KEY: &str = "a public-key algorithm has no shared secret: use \"publicKey\"";
const RSA_ONLY: &str = "only the algorithms of RSA keys are listed here: other keys tell theirs";

/// The members of `publicKey`.
static PUBLIC_KEYS: &[Row] = &[
    key("RS256"),
    key("RS384"),
    key("RS512"),
    key("PS256"),
    key("PS384"),
    key("PS512"),
    key("ES256"),
    key("ES384"),
    key("ES512"),
    key("ES256K"),
    key("EdDSA"),
    refused("HS256", NEEDS_SECRET),
    refused("HS384", NEEDS_SECRET),
    refused("HS512", NEEDS_SECRET),
];

/// The members of `secret`.
static SECRETS: &[Row] = &[
    key("HS256"),
    key("HS384"),
    key("HS512"),
    refused("RS256", NEEDS_PUBLIC_KEY),
    refused("RS384", NEEDS_PUBLIC_KEY),
    refused("RS512", NEEDS_PUBLIC_KEY),
    refused("PS256", NEEDS_PUBLIC_KEY),
    refused("PS384", NEEDS_PUBLIC_KEY),
    refused("PS512", NEEDS_PUBLIC_KEY),
    refused("ES256", NEEDS_PUBLIC_KEY),
    refused("ES384", NEEDS_PUBLIC_KEY),
    refused("ES512", NEEDS_PUBLIC_KEY),
    refused("ES256K", NEEDS_PUBLIC_KEY),
    refused("EdDSA", NEEDS_PUBLIC_KEY),
];

/// The words of a `jwt` module's `algorithms`.
pub(in crate::config) static RSA_ALGORITHMS: &[Word] = &[
    Word::built("RS256"),
    Word::built("RS384"),
    Word::built("RS512"),
    Word::built("PS256"),
    Word::built("PS384"),
    Word::built("PS512"),
    Word::refused("ES256", RSA_ONLY),
    Word::refused("ES384", RSA_ONLY),
    Word::refused("ES512", RSA_ONLY),
    Word::refused("ES256K", RSA_ONLY),
    Word::refused("EdDSA", RSA_ONLY),
    Word::refused("HS256", NEEDS_SECRET),
    Word::refused("HS384", NEEDS_SECRET),
    Word::refused("HS512", NEEDS_SECRET),
];
