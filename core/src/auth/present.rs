//! Which credential counts: the carriers of R3 and the subprotocol forms of R9.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::digest::DigestCredentials;
use crate::config::{Carrier, Scheme, TICKET_PARAMETER};
use crate::http::RequestHead;
use crate::http::credentials::{Authorization, Rest, is_b64token};
use crate::http::syntax::is_token;
use crate::reason::Reason;
use crate::secret::{Secret, constant_time_eq};

/// The credential that counts, and how it came.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    /// The carrier that held it.
    pub(crate) carrier: Carrier,
    /// Its scheme; bare tokens are judged as Bearer.
    pub(crate) scheme: Scheme,
    /// Whether a browser may have attached it unasked.
    pub(crate) ambient: bool,
    /// The credential itself.
    pub(crate) credential: Credential,
}

/// A credential as its scheme writes it. `Debug` shows the kind alone: what stands where the user's
/// name belongs may be a password.
#[derive(Clone)]
pub(crate) enum Credential {
    /// User and password of RFC 7617.
    Basic { user: String, password: Secret<Vec<u8>> },
    /// The parameters of RFC 7616, well-formed and for this very request.
    Digest(Box<DigestCredentials>),
    /// A bearer token of RFC 6750, or one of a custom scheme. Shared, since what it opens goes on holding it.
    Token(Arc<Secret<String>>),
    /// What this gateway has issued itself.
    Pass(Pass),
}

/// The id of something that this gateway has issued and remembers.
#[derive(Clone)]
pub(crate) enum Pass {
    /// A session of a form login.
    Session(Secret<Vec<u8>>),
    /// A ticket for one connection.
    Ticket(Secret<Vec<u8>>),
}

impl Presented {
    /// Returns carrier and scheme as the log names them.
    pub(crate) fn logged(&self) -> (Cow<'static, str>, Option<Cow<'static, str>>) {
        match &self.credential {
            Credential::Pass(Pass::Session(_)) => ("session".into(), None),
            Credential::Pass(Pass::Ticket(_)) => (TICKET_PARAMETER.into(), None),
            Credential::Basic { .. } | Credential::Digest(_) | Credential::Token(_) => {
                (self.carrier.text(), Some(self.scheme.text()))
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(***)",
            Self::Digest(_) => "Digest(***)",
            Self::Token(_) => "Token(***)",
            Self::Pass(Pass::Session(_)) => "Session(***)",
            Self::Pass(Pass::Ticket(_)) => "Ticket(***)",
        })
    }
}

/// Why the request is refused before any credential is judged; always 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Two carriers, one carrier twice, or a credential that is not written as it should be.
    pub(crate) reason: Reason,
    /// Whether the fault is one of a bearer token or of carriers, which a Bearer challenge may tell.
    pub(crate) bearer: bool,
}

impl Conflict {
    const fn carriers() -> Self {
        Self {
            reason: Reason::CarrierConflict,
            bearer: true,
        }
    }

    const fn malformed(bearer: bool) -> Self {
        Self {
            reason: Reason::MalformedCredential,
            bearer,
        }
    }
}

/// How a realm looks for credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways<'a> {
    /// The carriers, in order.
    pub(crate) carriers: &'a [Carrier],
    /// The schemes that count in `Authorization`.
    pub(crate) schemes: &'a [Scheme],
    /// The cookie that holds a session.
    pub(crate) session: Option<&'a str>,
    /// Takes tickets, wherever else a credential may travel.
    pub(crate) ticket: bool,
    /// Lets two explicit carriers hold the same token.
    pub(crate) same_token_ok: bool,
    /// Treats `Authorization` as absent.
    pub(crate) ignore_authorization: bool,
}

/// What the carriers of a request hold, and what is left of its subprotocols.
#[derive(Debug, Default)]
pub(crate) struct Presentation {
    /// The credential that counts.
    pub(crate) presented: Option<Presented>,
    /// The subprotocols that are not part of a credential, in the client's order.
    pub(crate) protocols: Vec<String>,
    /// What has to be echoed if no common subprotocol is found.
    pub(crate) marker: Marker,
}

/// The form in which a token came as a subprotocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Marker {
    /// It did not.
    #[default]
    None,
    /// As the item behind this marker, which may be echoed.
    Pair(String),
    /// As the rest of one item: there is nothing that may be echoed.
    Single,
}

impl Presentation {
    /// A request to a service that asks for no credential.
    pub(crate) fn of_protocols(protocols: Vec<String>) -> Self {
        Self {
            protocols,
            ..Self::default()
        }
    }
}

/// Finds the credential that counts. `protocols` are the items of `Sec-WebSocket-Protocol`.
///
/// # Errors
/// Two explicit credentials, one carrier that holds two, or one that is malformed.
pub(crate) fn present(
    head: &RequestHead,
    protocols: Vec<String>,
    ways: Ways<'_>,
) -> Result<Presentation, Conflict> {
    let with_origin = head.fields().has("origin");
    let mut found = Presentation {
        protocols,
        ..Presentation::default()
    };
    let (mut explicit, mut ambient): (Option<Presented>, Option<Presented>) = (None, None);
    let ticket = ways.ticket.then(|| Carrier::Query(TICKET_PARAMETER.to_owned()));
    // What a browser has attached and nobody can read.
    let mut malformed = None;
    for carrier in ways.carriers.iter().chain(&ticket) {
        let presented = match carrier {
            Carrier::Authorization if ways.ignore_authorization => None,
            Carrier::Authorization => match authorization(head, ways.schemes)? {
                Some((scheme, read)) => {
                    let ambient = with_origin && scheme.is_ambient();
                    match read {
                        Ok(credential) => Some(Presented {
                            carrier: Carrier::Authorization,
                            scheme,
                            ambient,
                            credential,
                        }),
                        Err(conflict) if ambient => {
                            malformed.get_or_insert(conflict);
                            None
                        }
                        Err(conflict) => return Err(conflict),
                    }
                }
                None => None,
            },
            Carrier::Header(name) => bare(carrier, one(head.fields().get_all(name))?)?,
            Carrier::Query(name) => {
                let mut params = head
                    .target()
                    .params()
                    .filter(|param| param.name.as_ref() == name.as_bytes());
                let first = params.next();
                if params.next().is_some() {
                    return Err(Conflict::carriers());
                }
                let value = first.as_ref().map(|param| param.value.expose().as_slice());
                if ticket.as_ref() == Some(carrier) {
                    pass(carrier, value, Pass::Ticket)
                } else {
                    bare(carrier, value)?
                }
            }
            Carrier::Cookie(name) if ways.session == Some(name) => {
                let value = one(crate::http::cookie::cookies(head.fields(), name))?;
                pass(carrier, value, Pass::Session)
            }
            Carrier::Cookie(name) => {
                let value = one(crate::http::cookie::cookies(head.fields(), name))?;
                match bare(carrier, value) {
                    Ok(presented) => presented,
                    Err(conflict) => {
                        malformed.get_or_insert(conflict);
                        None
                    }
                }
            }
            Carrier::Subprotocol(marker) => subprotocol(carrier, marker, &mut found)?,
        };
        let Some(presented) = presented else { continue };
        if presented.ambient {
            ambient.get_or_insert(presented);
        } else if let Some(other) = &explicit {
            if !(ways.same_token_ok && same_token(other, &presented)) {
                return Err(Conflict::carriers());
            }
        } else {
            explicit = Some(presented);
        }
    }
    // The lenient form is for a token alone: any other subprotocol is an RFC 9110 token.
    if !found.protocols.iter().all(|item| is_token(item.as_bytes())) {
        return Err(Conflict::malformed(false));
    }
    // An explicit credential decides alone: a bad one is not made good by a cookie, nor a good one bad
    // by what a sibling domain has planted or a browser has attached (R3c).
    if let Some(conflict) = malformed.filter(|_| explicit.is_none()) {
        return Err(conflict);
    }
    found.presented = explicit.or(ambient);
    Ok(found)
}

fn same_token(a: &Presented, b: &Presented) -> bool {
    match (&a.credential, &b.credential) {
        (Credential::Token(a), Credential::Token(b)) => {
            constant_time_eq(a.expose().as_bytes(), b.expose().as_bytes())
        }
        (Credential::Basic { .. } | Credential::Digest(_) | Credential::Pass(_), _)
        | (_, Credential::Basic { .. } | Credential::Digest(_) | Credential::Pass(_)) => false,
    }
}

/// Returns the only value; two are a conflict.
fn one<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, Conflict> {
    let first = values.next();
    if values.next().is_some() {
        return Err(Conflict::carriers());
    }
    Ok(first)
}

/// Reads a bare token; an empty value is an absent one (R3f).
fn bare(carrier: &Carrier, value: Option<&[u8]>) -> Result<Option<Presented>, Conflict> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    Ok(Some(Presented {
        carrier: carrier.clone(),
        scheme: Scheme::Bearer,
        ambient: carrier.is_ambient(),
        credential: token(value)?,
    }))
}

/// Reads the id of something that the gateway has issued. Whatever it says, it is known or not.
fn pass(carrier: &Carrier, value: Option<&[u8]>, kind: fn(Secret<Vec<u8>>) -> Pass) -> Option<Presented> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(Presented {
        carrier: carrier.clone(),
        scheme: Scheme::Bearer,
        ambient: carrier.is_ambient(),
        credential: Credential::Pass(kind(Secret::new(value.to_vec()))),
    })
}

fn token(value: &[u8]) -> Result<Credential, Conflict> {
    let text = std::str::from_utf8(value).map_err(|_| Conflict::malformed(true))?;
    if !is_b64token(text) {
        return Err(Conflict::malformed(true));
    }
    Ok(Credential::Token(Arc::new(Secret::new(text.to_owned()))))
}

/// An enabled scheme, and the credential behind it, if it can be read.
type Read = (Scheme, Result<Credential, Conflict>);

/// Reads `Authorization`. Whether what cannot be read counts, the caller decides.
fn authorization(head: &RequestHead, schemes: &[Scheme]) -> Result<Option<Read>, Conflict> {
    let Some(value) = one(head.fields().get_all("authorization"))?.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    // A scheme that is not enabled here is as good as none: browsers attach Basic by themselves (R3d).
    let name = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let scheme = schemes
        .iter()
        .find(|scheme| scheme.name().as_bytes().eq_ignore_ascii_case(name));
    Ok(scheme.map(|scheme| (scheme.clone(), credential(head, scheme, value))))
}

fn credential(head: &RequestHead, scheme: &Scheme, value: &[u8]) -> Result<Credential, Conflict> {
    let malformed = Conflict::malformed(*scheme == Scheme::Bearer);
    let parsed = Authorization::parse(value).map_err(|_| malformed)?;
    match (scheme, parsed.rest) {
        (Scheme::Basic, Rest::Token68(text)) => basic(text),
        // The characters of a token68 are those of a bearer token (RFC 6750 section 2.1).
        (Scheme::Bearer | Scheme::Custom(_), Rest::Token68(text)) => {
            Ok(Credential::Token(Arc::new(Secret::new(text.to_owned()))))
        }
        (Scheme::Digest, Rest::Params(params)) => {
            let read = DigestCredentials::parse(&params, head.method().as_str(), head.target().as_str());
            Ok(Credential::Digest(Box::new(read.map_err(|_| malformed)?)))
        }
        (Scheme::Digest, Rest::Token68(_)) | (_, Rest::Empty | Rest::Params(_) | Rest::Other) => {
            Err(malformed)
        }
    }
}

/// Reads the user-pass of RFC 7617 section 2: the password may hold colons, the user may not.
fn basic(text: &str) -> Result<Credential, Conflict> {
    let malformed = Conflict::malformed(false);
    let decoded = Secret::new(STANDARD.decode(text).map_err(|_| malformed)?);
    let pair = std::str::from_utf8(decoded.expose()).map_err(|_| malformed)?;
    let (user, password) = pair.split_once(':').ok_or(malformed)?;
    Ok(Credential::Basic {
        user: user.to_owned(),
        password: Secret::new(password.as_bytes().to_vec()),
    })
}

/// Takes a token out of the subprotocols (R9): the item behind the marker, or `marker.BASE64URL`.
fn subprotocol(
    carrier: &Carrier,
    marker: &str,
    found: &mut Presentation,
) -> Result<Option<Presented>, Conflict> {
    let single = |item: &str| {
        item.strip_prefix(marker)
            .and_then(|rest| rest.strip_prefix('.'))
            .map(str::to_owned)
    };
    let mut credential = None;
    let mut left = Vec::with_capacity(found.protocols.len());
    let mut items = std::mem::take(&mut found.protocols).into_iter();
    while let Some(item) = items.next() {
        let (text, form) = if item == marker {
            // A marker without a token behind it says nothing that could be answered.
            let token = items.next().ok_or(Conflict::malformed(true))?;
            (Secret::new(token), Marker::Pair(item))
        } else if let Some(encoded) = single(&item) {
            let item = Secret::new(item);
            let decoded = URL_SAFE_NO_PAD
                .decode(&encoded)
                .map_err(|_| Conflict::malformed(true))?;
            drop((item, Secret::new(encoded)));
            let text = String::from_utf8(decoded).map_err(|_| Conflict::malformed(true))?;
            (Secret::new(text), Marker::Single)
        } else {
            left.push(item);
            continue;
        };
        if credential.replace(token(text.expose().as_bytes())?).is_some() {
            return Err(Conflict::carriers());
        }
        found.marker = form;
    }
    found.protocols = left;
    Ok(credential.map(|credential| Presented {
        carrier: carrier.clone(),
        scheme: Scheme::Bearer,
        ambient: false,
        credential,
    }))
}

#[cfg(test)]
mod tests;
