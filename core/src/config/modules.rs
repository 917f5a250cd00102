//! The login modules of a realm as plain data.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::error::Place;
use super::ldap::Ldap;
use super::model::FileRef;

/// One link of the login chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginModule {
    /// What its success and its failure do to the chain.
    pub success: Flag,
    /// What it judges.
    pub kind: ModuleKind,
    /// Where it stands in the file.
    pub place: Place,
}

/// What a module's verdict does to the login chain (SPEC R15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Failure fails the chain, which goes on.
    Required,
    /// Failure fails the chain at once.
    Requisite,
    /// Success ends the chain unless a required module failed.
    Sufficient,
    /// Neither ends the chain.
    Optional,
}

/// What a login module judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// User files.
    Users(Users),
    /// JSON Web Tokens.
    Jwt(Box<Jwt>),
    /// Opaque tokens, judged by who issued them.
    Introspection(Box<Introspection>),
    /// An LDAP directory.
    Ldap(Box<Ldap>),
    /// HMAC credentials that expire.
    Ephemeral(Ephemeral),
}

/// A `users` module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// The htpasswd file, for Basic.
    pub passwords: Option<FileRef>,
    /// The htdigest file, for Digest; there is this or `passwords`, or both.
    pub digests: Option<FileRef>,
    /// The group file, whose groups are roles.
    pub groups: Option<FileRef>,
}

/// An `ephemeral` module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// The files of the secrets, the newest first; never empty.
    pub secrets: Vec<FileRef>,
    /// The hash of the HMAC.
    pub algorithm: HmacHash,
}

/// The hash of an `ephemeral` module's HMAC (FIPS 180-4, FIPS 198-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacHash {
    /// For clients that know no other; an HMAC of it is not broken.
    Sha1,
    /// The default.
    Sha256,
    /// A longer one.
    Sha384,
    /// The longest one.
    Sha512,
}

/// A `jwt` module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// What `iss` must be; a token of another issuer is left to other modules.
    pub issuer: Option<String>,
    /// What `aud` must be or contain.
    pub audience: Option<String>,
    /// Claims, each with the values of which one must be there; in the file's order.
    pub claims: Vec<(String, Vec<String>)>,
    /// How many of `claims` must hold.
    pub claims_mode: ClaimsMode,
    /// The claims whose values become roles.
    pub roles: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Refuses tokens without `exp`.
    pub require_expiry: bool,
    /// What `typ` must be.
    pub token_type: Option<String>,
    /// The algorithms of RSA keys of a JWKS that name none; empty: RS256 alone.
    pub algorithms: Vec<&'static str>,
    /// What verifies the signature.
    pub verification: Verification,
}

/// How many of a `jwt` module's `claims` must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsMode {
    /// One is enough.
    Any,
    /// Every one.
    All,
}

/// What verifies a token's signature. Algorithms are names of RFC 7518 and RFC 8037.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// One public key, bound to one algorithm, never one of `HS*`.
    PublicKey {
        /// `RS*`, `PS*`, `ES256`, `ES384`, `ES512`, `ES256K` or `EdDSA`.
        algorithm: &'static str,
        /// The PEM file.
        key: FileRef,
    },
    /// A JSON Web Key Set.
    Jwks {
        /// The JWKS file.
        keys: FileRef,
    },
    /// A JSON Web Key Set that its issuer publishes.
    RemoteJwks {
        /// Where it is fetched.
        endpoint: Endpoint,
        /// The longest time between two fetches.
        refresh: Duration,
        /// The shortest time between two fetches.
        refetch_interval: Duration,
    },
    /// A shared secret: the exact bytes of a file.
    Secret {
        /// `HS256`, `HS384` or `HS512`.
        algorithm: &'static str,
        /// The file.
        key: FileRef,
    },
}

/// An `introspection` module (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// Who is asked.
    pub endpoint: Endpoint,
    /// Who asks.
    pub client_id: String,
    /// The file of the password for asking.
    pub client_secret: FileRef,
    /// How long a token that was active counts as active unasked.
    pub cache_ttl: Duration,
    /// How long one that was not is refused unasked.
    pub negative_ttl: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many questions may be open at once.
    pub max_in_flight: usize,
    /// Asks about tokens of three parts too.
    pub jwts: bool,
    /// What the answer's `iss` must be.
    pub issuer: Option<String>,
    /// What its `aud` must be or contain; `None` only where the file says that any will do.
    pub audience: Option<String>,
    /// Claims, each with the values of which one must be there.
    pub claims: Vec<(String, Vec<String>)>,
    /// How many of `claims` must hold.
    pub claims_mode: ClaimsMode,
    /// The claims whose values become roles.
    pub roles: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
}
