//! Servers in short form: one object that brings its realm and its data points along. It loads as one
//! realm and one points service, both of which have the server's id for a name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::error::{Place, quote};
use super::super::model::{
    Access, Carrier, Challenge, Compat, Digest, DigestAlgorithm, Realm, Scheme, Service, ServiceKind,
};
use super::super::modules::{ClaimsMode, Flag, Jwt, LoginModule, ModuleKind, Verification};
use super::super::syntax;
use super::super::view::{Item, View};
use super::service::endpoints;
use super::{Builder, Parts};

/// What a full configuration has by default, where the short form has no member.
const LEEWAY: Duration = Duration::from_secs(30);
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const STEP_UP_LIFETIME: Duration = Duration::from_secs(30);

/// The members by which a server is one in short form.
const MEMBERS: [&str; 3] = ["portNumber", "authentication", "endpoints"];

/// Says whether a server is in short form.
pub(super) fn is_short(server: &View<'_>) -> bool {
    MEMBERS.iter().any(|name| server.item(name).is_some())
}

impl Builder<'_, '_> {
    /// Adds the realm and the service of a server in short form; other servers have none of their own.
    pub(super) fn short(&mut self, item: &Item<'_>, parts: &mut Parts) {
        let Some(view) = item.clone().object().filter(is_short) else {
            return;
        };
        for name in ["authentication", "endpoints"] {
            if view.item(name).is_none() {
                let message = format!("\"{name}\" is required: this is a server in short form");
                self.report.add(view.place(), message);
            }
        }
        match view.text("id").zip(self.own_realm(&view)) {
            Some((id, realm)) => {
                self.check_name(&view, id);
                let service = own_service(&view, id);
                parts.realms.insert(id.to_owned(), realm);
                parts.services.insert(id.to_owned(), service);
            }
            None => parts.unclear.push(view.place()),
        }
    }

    /// The server's id names its realm and its service, so nothing else may have that name.
    fn check_name(&mut self, server: &View<'_>, id: &str) {
        let place = server
            .item("id")
            .map_or_else(|| server.place(), |item| item.place());
        for (what, names) in [("realm", &self.realms), ("service", &self.services)] {
            if names.contains(id) {
                let message = format!(
                    "there is a {what} {} already: the short form makes another one of this name",
                    quote(id)
                );
                self.report.add(place.clone(), message);
            }
        }
    }

    fn own_realm(&mut self, server: &View<'_>) -> Option<Realm> {
        let id = server.text("id")?;
        let (_, tokens) = server.object("authentication")?.single()?;
        let view = tokens.object()?;
        let description = view.owned("realm").unwrap_or_else(|| id.to_owned());
        if view.item("realm").is_none()
            && let Err(message) = syntax::description(&description)
        {
            let message = format!("the id is the challenge's text here, and {message}; set \"realm\"");
            self.report.add(view.place(), message);
        }
        let claims = view.map("claims");
        let jwt = Jwt {
            issuer: view.owned("issuer"),
            audience: view.owned("audience"),
            claims: claims
                .into_iter()
                .map(|(name, values)| (name.to_owned(), values.texts()))
                .collect(),
            claims_mode: ClaimsMode::Any,
            roles: Vec::new(),
            leeway: LEEWAY,
            require_expiry: true,
            token_type: None,
            algorithms: Vec::new(),
            verification: verification(&view.object("verification")?)?,
        };
        let place = view.place();
        Some(realm(id, description, view.texts("scope"), jwt, place))
    }
}

fn realm(id: &str, description: String, scope: Vec<String>, jwt: Jwt, place: Place) -> Realm {
    Realm {
        name: id.to_owned(),
        description,
        authorization_timeout: None,
        renewal: None,
        challenges: vec![Challenge {
            scheme: Scheme::Bearer,
            application_prefix: false,
        }],
        digest: Digest {
            algorithms: vec![DigestAlgorithm::Sha256],
            nonce_lifetime: NONCE_LIFETIME,
        },
        scope,
        acr_values: Vec::new(),
        carriers: vec![Carrier::Authorization],
        anonymous: None,
        session_timeout: None,
        origins: None,
        form: None,
        tickets: None,
        modules: vec![LoginModule {
            success: Flag::Required,
            kind: ModuleKind::Jwt(Box::new(jwt)),
            place: place.clone(),
        }],
        same_token_ok: false,
        ignore_authorization_from_proxy: false,
        suppress_browser_prompt: false,
        lenient_subprotocol_token: false,
        compat: Compat::default(),
        place,
    }
}

fn own_service(server: &View<'_>, id: &str) -> Service {
    let (accept, endpoints) = match server.item("endpoints") {
        Some(_) => endpoints(server),
        None => (Vec::new(), BTreeMap::new()),
    };
    Service {
        name: id.to_owned(),
        kind: ServiceKind::Points,
        accept,
        endpoints,
        mailbox_bytes: 0,
        directory: None,
        access: Access::Realms(vec![id.to_owned()]),
        enabled: true,
        carriers: None,
        // No browser sends a bearer token by itself.
        origins: None,
        allow_missing_origin: false,
        require_roles: Vec::new(),
        require_scopes: Vec::new(),
        acl: None,
        subprotocols: Vec::new(),
        require_subprotocol: false,
        idle_timeout: None,
        ping_interval: PING_INTERVAL,
        step_up_lifetime: STEP_UP_LIFETIME,
        proxy: None,
        place: server.place(),
    }
}

/// Reads the one method of verification; the shape check knows no other names.
fn verification(view: &View<'_>) -> Option<Verification> {
    let (name, item) = view.single()?;
    let key = item.object()?.file("keyFile")?;
    Some(match name.strip_prefix('@')? {
        "JWKS" => Verification::Jwks { keys: key },
        algorithm @ ("HS256" | "HS384" | "HS512") => Verification::Secret { algorithm, key },
        algorithm => Verification::PublicKey { algorithm, key },
    })
}
