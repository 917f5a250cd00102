//! What SPEC says of a described request: the first failure in the order of R1, or a grant.

use std::collections::BTreeSet;

use super::config::{Carrier, Config, Entry, MARKER, Realm, Scheme, Service};
use super::login::{Credential, Principal, login};
use super::request::{Authorization, Bare, Basic, Item, Request};
use crate::client::KEY;
use crate::sim::PORT;

/// One answer that the documents allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: u16,
    /// Reasons of which one is logged.
    pub reasons: Vec<&'static str>,
    /// The schemes of the challenges, in order.
    pub challenges: Vec<&'static str>,
    /// The error parameter of the Bearer line.
    pub error: Option<&'static str>,
    /// Its description.
    pub description: Option<&'static str>,
    /// Whether Digest lines say `stale=true`.
    pub stale: bool,
    /// The subprotocol.
    pub subprotocol: Option<String>,
    /// Who was let in.
    pub subject: Option<String>,
    /// By which carrier.
    pub carrier: Option<String>,
}

/// Which part of R1 a fault belongs to, from the first to the last that the documents allow.
type Rank = (u8, u8);

/// A credential in a carrier, or that it is malformed.
struct Presented {
    carrier: Carrier,
    ambient: bool,
    scheme: Scheme,
    credential: Option<Credential>,
}

/// What the carriers hold.
struct Presentation {
    found: Vec<Presented>,
    /// Carriers that hold two.
    twice: bool,
}

fn refused(status: u16, reasons: &[&'static str]) -> Verdict {
    Verdict {
        status,
        reasons: reasons.to_vec(),
        ..Verdict::default()
    }
}

/// Returns every answer that the documents allow.
pub fn judge(config: &Config, request: &Request) -> Vec<Verdict> {
    let mut faults: Vec<(Rank, Verdict)> = Vec::new();
    let served = match request.hosts.as_slice() {
        [host] if host.starts_with('[') || !host.contains(['@', '/']) => serves(config, host),
        // HTTP/1.0 may leave it out: only who serves every Host serves that.
        [] if request.old => config.hosts.contains(&"*"),
        _ => {
            faults.push(((1, 1), refused(400, &["bad_host", "bad_request"])));
            false
        }
    };
    if faults.is_empty() && !served {
        faults.push(((2, 2), refused(config.unknown_host, &["bad_host"])));
    }
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    if !known.contains(&request.method) {
        faults.push(((1, 3), refused(501, &["bad_method"])));
    }
    if request.origins.len() > 1 {
        faults.push(((1, 6), refused(400, &["bad_origin", "bad_request"])));
    }
    let canonical = !request.path.contains("//") && !request.path.contains("/../");
    if !canonical {
        faults.push(((1, 4), refused(404, &["no_route"])));
    }
    let service = route(config, request);
    let Some(service) = service.filter(|_| served && canonical) else {
        if served && canonical {
            faults.push(((4, 4), refused(404, &["no_route"])));
        }
        return first(faults);
    };
    if !service.enabled {
        faults.push(((4, 8), refused(503, &["disabled"])));
    }
    if request.method != "GET" {
        faults.push(((5, 5), refused(405, &["bad_method"])));
    }
    if let [origin] = request.origins.as_slice()
        && !passes(config, service, origin)
    {
        faults.push(((6, 6), refused(403, &["bad_origin"])));
    }
    handshake(request, &mut faults);
    let presentation = present(config, service, request);
    let tokens_at_all = config.carriers(service).contains(&Carrier::Subprotocol);
    for item in &request.items {
        // Without the carrier a marker and what follows are subprotocols like others, which may hold
        // anything that a token of RFC 9110 may; an empty item is none (section 5.6.1.2).
        if matches!(item, Item::NoToken) {
            faults.push((
                (7, 8),
                refused(400, &["bad_upgrade", "bad_request", "malformed_credential"]),
            ));
        }
    }
    let bearer_line = service
        .realm
        .is_some_and(|realm| config.realms[realm].challenges.contains(&Scheme::Bearer));
    let malformed = |reasons: &[&'static str], told: bool| Verdict {
        challenges: if told && bearer_line {
            vec!["Bearer"]
        } else {
            vec![]
        },
        error: (told && bearer_line).then_some("invalid_request"),
        ..refused(400, reasons)
    };
    let explicit: Vec<_> = presentation.found.iter().filter(|one| !one.ambient).collect();
    let same = config.realms.get(service.realm.unwrap_or(0));
    let same = same.is_some_and(|realm| realm.same_token_ok) && same_token(&explicit);
    if presentation.twice || (explicit.len() > 1 && !same) {
        faults.push(((8, 8), malformed(&["carrier_conflict"], true)));
    }
    for one in &presentation.found {
        // A credential that a browser attaches decides nothing beside an explicit one (R3c).
        if one.credential.is_none() && (!one.ambient || explicit.is_empty()) {
            let told = one.scheme == Scheme::Bearer;
            faults.push(((8, 8), malformed(&["malformed_credential"], told)));
        }
    }
    if tokens_at_all && request.items.iter().any(|item| matches!(item, Item::Marker)) {
        faults.push(((8, 8), malformed(&["malformed_credential"], true)));
    }
    if !faults.is_empty() {
        return first(faults);
    }
    let winner = explicit.first().copied().or_else(|| presentation.found.first());
    if winner.is_some_and(|one| one.carrier == Carrier::Cookie)
        && request.origins.is_empty()
        && !service.allow_missing_origin
    {
        return vec![refused(403, &["bad_origin"])];
    }
    let Some(realm) = service.realm else {
        return choose(service, request, false, Verdict::default());
    };
    admit(config, service, &config.realms[realm], request, winner)
}

/// Returns the verdicts on those faults before which no other must be found.
fn first(faults: Vec<(Rank, Verdict)>) -> Vec<Verdict> {
    let bound = faults
        .iter()
        .map(|((_, last), _)| *last)
        .min()
        .expect("there is a fault");
    let mut verdicts: Vec<_> = faults
        .into_iter()
        .filter(|((first, _), _)| *first <= bound)
        .collect();
    verdicts.sort_by_key(|(rank, _)| *rank);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

fn same_name(a: &str, b: &str) -> bool {
    let plain = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    plain(a) == plain(b)
}

fn all_hosts(config: &Config) -> impl Iterator<Item = &'static str> {
    let own = config.services.iter().filter_map(|service| service.host);
    config.hosts.iter().copied().chain(own)
}

fn serves(config: &Config, host: &str) -> bool {
    let (name, port) = split_port(host);
    all_hosts(config).any(|entry| {
        let (wanted, wanted_port) = split_port(entry);
        // Without a port the Host means the scheme's own.
        entry == "*"
            || (same_name(wanted, name) && wanted_port.is_none_or(|wanted| port.unwrap_or(80) == wanted))
    })
}

fn route<'c>(config: &'c Config, request: &Request) -> Option<&'c Service> {
    let (name, _) = split_port(request.hosts.first().copied().unwrap_or_default());
    let fits = |service: &&Service| {
        service.path == request.path && service.host.is_none_or(|host| same_name(host, name))
    };
    config.services.iter().find(fits)
}

/// Scheme, host and port; default ports made explicit.
fn origin_parts(origin: &str) -> Option<(String, String, u16)> {
    let (scheme, rest) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (name, port) = split_port(rest);
    let default = if scheme == "https" { 443 } else { 80 };
    Some((scheme, name.to_ascii_lowercase(), port.unwrap_or(default)))
}

fn passes(config: &Config, service: &Service, origin: &str) -> bool {
    let Some(list) = &service.origins else {
        return true;
    };
    let listed = |entry: &&'static str| {
        if *entry == "null" || origin == "null" {
            return *entry == origin;
        }
        let (Some(wanted), Some(found)) = (origin_parts(entry), origin_parts(origin)) else {
            return false;
        };
        let host = match wanted.1.strip_prefix("*.") {
            Some(parent) => found.1.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => wanted.1 == found.1,
        };
        host && wanted.0 == found.0 && wanted.2 == found.2
    };
    if list.iter().any(listed) {
        return true;
    }
    // The same origin: a configured host, at the port of its entry or else the listener's.
    let Some((scheme, name, port)) = origin_parts(origin) else {
        return false;
    };
    all_hosts(config).filter(|entry| *entry != "*").any(|entry| {
        let (wanted, wanted_port) = split_port(entry);
        scheme == "http" && same_name(wanted, &name) && wanted_port.unwrap_or(PORT) == port
    })
}

fn handshake(request: &Request, faults: &mut Vec<(Rank, Verdict)>) {
    let mut fault = |status| faults.push(((7, 7), refused(status, &["bad_upgrade"])));
    if !request.upgrade || request.old {
        // What is not an upgrade has no other fault of one.
        return fault(426);
    }
    match request.versions.as_slice() {
        ["13"] => {}
        [one] if !one.contains(',') => fault(426),
        _ => fault(400),
    }
    if request.keys != [KEY] {
        fault(400);
    }
}

fn bare(carrier: Carrier, scheme: Scheme, value: &Bare) -> Option<Presented> {
    let credential = match value {
        Bare::Empty => return None,
        Bare::Malformed => None,
        Bare::Jwt(_) | Bare::Opaque => Some(Credential::Token(value.clone())),
    };
    Some(Presented {
        carrier,
        ambient: carrier == Carrier::Cookie,
        scheme,
        credential,
    })
}

fn present(config: &Config, service: &Service, request: &Request) -> Presentation {
    let mut found = Vec::new();
    let mut twice = false;
    let Some(realm) = service.realm.map(|realm| &config.realms[realm]) else {
        return Presentation { found, twice };
    };
    for carrier in config.carriers(service) {
        match carrier {
            Carrier::Authorization if realm.ignore_authorization => {}
            Carrier::Authorization => {
                twice |= request.authorization.len() > 1;
                found.extend(
                    request
                        .authorization
                        .iter()
                        .filter_map(|line| authorization(realm, request, line)),
                );
            }
            Carrier::Header => {
                twice |= request.header.len() > 1;
                let values = request.header.iter();
                found.extend(values.filter_map(|value| bare(*carrier, Scheme::Bearer, value)));
            }
            Carrier::Query => {
                twice |= request.query.len() > 1;
                let values = request.query.iter();
                found.extend(values.filter_map(|(_, value)| bare(*carrier, Scheme::Bearer, value)));
            }
            Carrier::Cookie => {
                twice |= request.cookie.len() > 1;
                let values = request.cookie.iter();
                found.extend(values.filter_map(|value| bare(*carrier, Scheme::Bearer, value)));
            }
            Carrier::Subprotocol => {
                let tokens = request.items.iter().filter_map(|item| match item {
                    Item::Pair(value) | Item::Single(value) => Some(value),
                    Item::Real(_) | Item::Marker | Item::NoToken => None,
                });
                let tokens: Vec<_> = tokens.collect();
                twice |= tokens.len() > 1;
                found.extend(
                    tokens
                        .into_iter()
                        .filter_map(|value| bare(*carrier, Scheme::Bearer, value)),
                );
            }
        }
    }
    Presentation { found, twice }
}

fn authorization(realm: &Realm, request: &Request, line: &Authorization) -> Option<Presented> {
    let (scheme, credential) = match line {
        Authorization::Empty | Authorization::Other => return None,
        Authorization::Bearer(value) => (Scheme::Bearer, token(value)),
        Authorization::Custom(value) => (Scheme::Custom, token(value)),
        Authorization::Basic(basic) => {
            let readable = !matches!(basic, Basic::Garbage | Basic::NoColon | Basic::Nothing);
            (Scheme::Basic, readable.then(|| Credential::Basic(basic.clone())))
        }
        Authorization::Digest(answer) => {
            let readable = answer.uri && !answer.cut;
            (
                Scheme::Digest,
                readable.then(|| Credential::Digest(answer.clone())),
            )
        }
    };
    // A scheme that is not enabled here is as good as none (R3d).
    if !realm.challenges.contains(&scheme) {
        return None;
    }
    let attached = matches!(scheme, Scheme::Basic | Scheme::Digest);
    Some(Presented {
        carrier: Carrier::Authorization,
        ambient: attached && !request.origins.is_empty(),
        scheme,
        credential,
    })
}

fn token(value: &Bare) -> Option<Credential> {
    match value {
        Bare::Empty | Bare::Malformed => None,
        Bare::Jwt(_) | Bare::Opaque => Some(Credential::Token(value.clone())),
    }
}

fn same_token(found: &[&Presented]) -> bool {
    let texts: BTreeSet<_> = found
        .iter()
        .map(|one| match &one.credential {
            Some(Credential::Token(value)) => Some(value.text()),
            Some(Credential::Basic(_) | Credential::Digest(_)) | None => None,
        })
        .collect();
    texts.len() == 1 && !texts.contains(&None)
}

/// The challenges of a 401.
fn challenges(realm: &Realm, request: &Request) -> Vec<&'static str> {
    let prompts = |scheme: &Scheme| matches!(scheme, Scheme::Basic | Scheme::Digest);
    let suppressed = realm.suppress_browser_prompt && !request.origins.is_empty();
    let mut lines = Vec::new();
    for scheme in realm
        .challenges
        .iter()
        .filter(|scheme| !(suppressed && prompts(scheme)))
    {
        lines.push(scheme.name());
        if *scheme == Scheme::Digest && realm.md5 {
            lines.push(scheme.name());
        }
    }
    if lines.is_empty() {
        lines.push("Bearer");
    }
    lines
}

/// From the verifier on.
fn admit(
    config: &Config,
    service: &Service,
    realm: &Realm,
    request: &Request,
    winner: Option<&Presented>,
) -> Vec<Verdict> {
    let unauthorized = |reasons: &[&'static str]| Verdict {
        challenges: challenges(realm, request),
        ..refused(401, reasons)
    };
    let Some(winner) = winner else {
        let Some(roles) = &realm.anonymous else {
            return vec![unauthorized(&["no_credential"])];
        };
        let mut principal = Principal {
            subject: Some("anonymous".to_owned()),
            ..Principal::default()
        };
        principal.roles.extend(roles.iter().copied());
        principal.roles.insert("Anonymous");
        let lacking = lacking(config, service, &principal);
        if !lacking.is_empty() {
            return vec![unauthorized(&[lacking.as_slice(), &["no_credential"]].concat())];
        }
        let granted = Verdict {
            subject: principal.subject,
            ..Verdict::default()
        };
        return choose(service, request, false, granted);
    };
    let credential = winner.credential.as_ref().expect("malformed ones were refused");
    let principal = match login(config, realm, credential) {
        Ok(principal) => principal,
        Err(failed) if failed.claims => {
            let reasons = [failed.reasons.as_slice(), &["claims_mismatch"]].concat();
            return vec![refused(403, &reasons)];
        }
        Err(failed) if realm.kaazing403 && !failed.stale => return vec![refused(403, &failed.reasons)],
        Err(failed) => {
            let lines = challenges(realm, request);
            let told = winner.scheme == Scheme::Bearer && lines.contains(&"Bearer");
            let described = match failed.reasons.as_slice() {
                ["expired"] => Some("token expired"),
                ["not_yet_valid"] => Some("token not yet valid"),
                _ => None,
            };
            let mut verdict = Verdict {
                error: told.then_some("invalid_token"),
                description: described.filter(|_| told),
                stale: failed.stale && lines.contains(&"Digest"),
                ..unauthorized(&failed.reasons)
            };
            let several = failed.reasons.len() > 1;
            if told && several && failed.reasons.iter().any(|reason| reason.ends_with("d")) {
                // Which of several faults is described is open, as is whether one is.
                let mut all = vec![verdict.clone()];
                for text in ["token expired", "token not yet valid"] {
                    verdict.description = Some(text);
                    all.push(verdict.clone());
                }
                return all;
            }
            return vec![verdict];
        }
    };
    let lacking = lacking(config, service, &principal);
    let mut refusals = Vec::new();
    for reason in lacking {
        let told = reason == "missing_scope" && realm.challenges.contains(&Scheme::Bearer);
        refusals.push(Verdict {
            challenges: if told { vec!["Bearer"] } else { vec![] },
            error: told.then_some("insufficient_scope"),
            ..refused(403, &[reason])
        });
    }
    if !refusals.is_empty() {
        return refusals;
    }
    let by_item = winner.carrier == Carrier::Subprotocol
        || request
            .items
            .iter()
            .any(|item| matches!(item, Item::Pair(_) | Item::Single(_)))
            && config.carriers(service).contains(&Carrier::Subprotocol);
    let granted = Verdict {
        subject: principal.subject,
        carrier: Some(winner.carrier.name()),
        ..Verdict::default()
    };
    choose(service, request, by_item, granted)
}

/// What `principal` lacks for `service`.
fn lacking(config: &Config, service: &Service, principal: &Principal) -> Vec<&'static str> {
    let mut lacking = Vec::new();
    let has_role = |role: &&str| *role == "*" || principal.roles.contains(role);
    if !service.require_roles.iter().all(has_role) {
        lacking.push("missing_role");
    }
    if !service
        .require_scopes
        .iter()
        .all(|scope| principal.scopes.contains(scope))
    {
        lacking.push("missing_scope");
    }
    if !is_entitled(config, service, principal) {
        lacking.push("missing_entitlement");
    }
    lacking
}

fn is_entitled(config: &Config, service: &Service, principal: &Principal) -> bool {
    const CONNECT: &str = "websocket.connect";
    let (inherit, own): (bool, &[Entry]) = match &service.acl {
        Some((inherit, entries)) => (*inherit, entries),
        None => (true, &[]),
    };
    let inherited = config.acl.as_deref().filter(|_| inherit);
    if service.acl.is_none() && inherited.is_none() {
        return true;
    }
    let said = |entries: &[Entry], role: &str| {
        let of_role = || entries.iter().filter(|entry| entry.role == role);
        if of_role().any(|entry| entry.deny.contains(&CONNECT)) {
            Some(false)
        } else if of_role().any(|entry| entry.allow.contains(&CONNECT)) {
            Some(true)
        } else {
            None
        }
    };
    let mut roles = principal.roles.iter();
    roles.any(|role| {
        let said_by_own = said(own, role);
        said_by_own.or_else(|| said(inherited.unwrap_or_default(), role)) == Some(true)
    })
}

/// The last step: a grant with its subprotocol, or a refusal because there is none to answer.
fn choose(service: &Service, request: &Request, by_item: bool, granted: Verdict) -> Vec<Verdict> {
    let unmet = Verdict {
        subprotocol: Some(service.subprotocols.join(", ")),
        ..refused(400, &["bad_upgrade"])
    };
    let offers = |wanted: &&&str| {
        request.items.iter().any(|item| match item {
            Item::Real(name) => name == *wanted,
            // Without the carrier the marker is a name like others.
            Item::Pair(_) | Item::Marker => !by_item && **wanted == MARKER,
            Item::Single(_) | Item::NoToken => false,
        })
    };
    let common = service.subprotocols.iter().find(offers);
    let pair = request.items.iter().any(|item| matches!(item, Item::Pair(_)));
    let subprotocol = match common {
        Some(name) => Some((*name).to_owned()),
        None if by_item && pair => Some(MARKER.to_owned()),
        None if by_item && !service.require_subprotocol => {
            return vec![refused(400, &["bad_upgrade", "malformed_credential"])];
        }
        None if service.require_subprotocol => return vec![unmet],
        None => None,
    };
    let chosen = Verdict {
        status: 101,
        reasons: vec!["granted"],
        subprotocol,
        ..granted
    };
    // Whether a marker is enough where a subprotocol is required, R9 does not say.
    if service.require_subprotocol && common.is_none() {
        vec![chosen, unmet]
    } else {
        vec![chosen]
    }
}
