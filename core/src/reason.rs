//! Why a request was answered as it was: the stable codes of the log and the metrics.

/// The reason in a `decision` line. The wire never shows more than its status and, for a bearer
/// token, `error`; the log and the metrics show this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request was let in.
    Granted,
    /// The head is not a well-formed request, or is too large or too slow.
    BadRequest,
    /// The Host is not served here.
    BadHost,
    /// No service has this path.
    NoRoute,
    /// The method is unknown or not allowed here.
    BadMethod,
    /// The Origin is not allowed, or is missing where it is required.
    BadOrigin,
    /// The WebSocket part of the request is wrong.
    BadUpgrade,
    /// No credential of an enabled scheme was presented.
    NoCredential,
    /// Two explicit carriers hold a credential, or one carrier holds two.
    CarrierConflict,
    /// A credential is not written as its scheme demands.
    MalformedCredential,
    /// A signature does not verify.
    BadSignature,
    /// No key has this `kid`, or none fits; or no session or ticket has this id.
    UnknownKey,
    /// The algorithm is not one that the key is bound to.
    WrongAlgorithm,
    /// Another issuer.
    WrongIssuer,
    /// Another audience.
    WrongAudience,
    /// After `exp` and leeway.
    Expired,
    /// Before `nbf` less leeway.
    NotYetValid,
    /// The password is wrong.
    BadPassword,
    /// There is no such user.
    UnknownUser,
    /// The nonce is too old.
    StaleNonce,
    /// The nonce count was used before.
    ReusedNonce,
    /// None of the required claims has a listed value.
    ClaimsMismatch,
    /// A required role is missing.
    MissingRole,
    /// A required scope is missing.
    MissingScope,
    /// The access control list does not grant the entitlement.
    MissingEntitlement,
    /// The subject or the token was revoked.
    Revoked,
    /// A one-time credential was used before.
    Replayed,
    /// Too many failures from this address.
    Throttled,
    /// A verifier or the budget for verifying is not available.
    Unavailable,
    /// The service is switched off.
    Disabled,
    /// The gateway is shutting down.
    Draining,
    /// A fault of the gateway's own.
    Internal,
}

impl Reason {
    /// Returns the code as it stands in logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::BadRequest => "bad_request",
            Self::BadHost => "bad_host",
            Self::NoRoute => "no_route",
            Self::BadMethod => "bad_method",
            Self::BadOrigin => "bad_origin",
            Self::BadUpgrade => "bad_upgrade",
            Self::NoCredential => "no_credential",
            Self::CarrierConflict => "carrier_conflict",
            Self::MalformedCredential => "malformed_credential",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadPassword => "bad_password",
            Self::UnknownUser => "unknown_user",
            Self::StaleNonce => "stale_nonce",
            Self::ReusedNonce => "reused_nonce",
            Self::ClaimsMismatch => "claims_mismatch",
            Self::MissingRole => "missing_role",
            Self::MissingScope => "missing_scope",
            Self::MissingEntitlement => "missing_entitlement",
            Self::Revoked => "revoked",
            Self::Replayed => "replayed",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Disabled => "disabled",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }
}
