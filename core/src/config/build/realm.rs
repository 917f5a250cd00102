//! Realms and their login modules.

use std::time::Duration;

use super::super::members::RSA_ALGORITHMS;
use super::super::model::{
    Anonymous, Carrier, Challenge, Compat, Digest, DigestAlgorithm, Form, Realm, Scheme, Tickets,
};
use super::super::modules::{
    ClaimsMode, Ephemeral, Flag, HmacHash, Jwt, LoginModule, ModuleKind, Users, Verification,
};
use super::super::syntax;
use super::super::view::{Item, View};
use super::{Builder, NO_MEMBERS};

/// The most secrets of one `ephemeral` module: each costs an HMAC per login, and a rotation needs two.
const SECRETS_LIMIT: usize = 16;

/// Longest life of a ticket: the time between asking for it and connecting with it.
const LONGEST_TICKET: Duration = Duration::from_secs(30);

impl Builder<'_, '_> {
    pub(super) fn realm(&mut self, name: &str, item: &Item<'_>) -> Option<Realm> {
        let view = item.clone().object()?;
        let place = view.place();
        let description = view.owned("description").unwrap_or_else(|| name.to_owned());
        if view.item("description").is_none()
            && let Err(message) = syntax::description(&description)
        {
            let message =
                format!("the name is the challenge's text here, and {message}; set \"description\"");
            self.report.add(place.clone(), message);
        }
        let anonymous = view
            .object("anonymous")
            .map(|anonymous| self.anonymous(&anonymous));
        let entries = view.list("loginModules")?;
        let modules: Vec<_> = entries.iter().map(|entry| self.module(entry)).collect();
        let modules = modules.into_iter().collect::<Option<Vec<_>>>()?;
        let challenges = match view.list("challenges") {
            Some(entries) => self.challenges(&entries),
            None => default_challenges(&modules),
        };
        self.check_digest(&view, &challenges, &modules);
        let compat = view.object("compat").map(|compat| Compat {
            kaazing403: compat.boolean("kaazing403"),
            application_prefix: compat.boolean("applicationPrefix"),
        });
        Some(Realm {
            name: name.to_owned(),
            description,
            challenges,
            digest: digest(&view)?,
            scope: view.texts("scope"),
            acr_values: view.texts("acrValues"),
            carriers: self
                .carriers(&view)
                .unwrap_or_else(|| vec![Carrier::Authorization]),
            anonymous,
            session_timeout: view.duration("sessionTimeout"),
            authorization_timeout: view.duration("authorizationTimeout"),
            renewal: view.owned("renewal"),
            origins: view.item("origins").map(|item| item.texts()),
            form: self.form(&view, &modules),
            tickets: self.tickets(&view),
            modules,
            same_token_ok: view.boolean("sameTokenOk"),
            ignore_authorization_from_proxy: view.boolean("ignoreAuthorizationFromProxy"),
            suppress_browser_prompt: view.boolean("suppressBrowserPrompt"),
            lenient_subprotocol_token: view.boolean("lenientSubprotocolToken"),
            compat: compat.unwrap_or_default(),
            place,
        })
    }

    fn form(&mut self, realm: &View<'_>, modules: &[LoginModule]) -> Option<Form> {
        let view = realm.object("form")?;
        if !judge_passwords(modules) {
            let message = "no login module judges passwords: nobody could log in here";
            self.report.add(view.place(), message);
        }
        Some(Form {
            path: view.text_or_default("path")?,
            logout: view.text_or_default("logout")?,
            cookie: view.text_or_default("cookie")?,
        })
    }

    fn tickets(&mut self, realm: &View<'_>) -> Option<Tickets> {
        let view = realm.object("tickets")?;
        let lifetime = view.duration("lifetime")?;
        if let Some(item) = view.item("lifetime").filter(|_| lifetime > LONGEST_TICKET) {
            let message = "at most \"30 seconds\": a ticket is for one connection that is about to be made";
            self.report.add(item.place(), message);
        }
        Some(Tickets {
            path: view.text_or_default("path")?,
            lifetime,
        })
    }

    fn anonymous(&mut self, view: &View<'_>) -> Anonymous {
        let entries = view.list("roles").unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.text() == Some("Everyone")) {
            let message = "\"Everyone\" is the role of authenticated clients: an anonymous one never has it";
            self.report.add(entry.place(), message);
        }
        let roles = self.use_roles(&entries);
        Anonymous { roles }
    }

    fn challenges(&mut self, entries: &[Item<'_>]) -> Vec<Challenge> {
        let mut challenges: Vec<Challenge> = Vec::new();
        for entry in entries {
            let Some(challenge) = entry.text().and_then(|text| syntax::challenge(text).ok()) else {
                continue;
            };
            let name = challenge.scheme.name();
            let same = |other: &Challenge| other.scheme.name().eq_ignore_ascii_case(name);
            if let Some(first) = challenges.iter().position(same) {
                self.report.add(
                    entry.place(),
                    format!("the same scheme as entry {first}: schemes ignore case"),
                );
            }
            challenges.push(challenge);
        }
        challenges
    }

    fn module(&mut self, item: &Item<'_>) -> Option<LoginModule> {
        let view = item.clone().object()?;
        let success = match view.text("success")? {
            "required" => Flag::Required,
            "requisite" => Flag::Requisite,
            "sufficient" => Flag::Sufficient,
            "optional" => Flag::Optional,
            _ => return None,
        };
        let kind = match view.tag()? {
            "users" => ModuleKind::Users(self.users(&view)),
            "jwt" => ModuleKind::Jwt(Box::new(self.jwt(&view)?)),
            "ldap" => ModuleKind::Ldap(Box::new(self.ldap(&view)?)),
            "introspection" => ModuleKind::Introspection(Box::new(self.introspection(&view)?)),
            "ephemeral" => ModuleKind::Ephemeral(self.ephemeral(&view)?),
            _ => return None,
        };
        let place = view.place();
        Some(LoginModule { success, kind, place })
    }

    fn ephemeral(&mut self, view: &View<'_>) -> Option<Ephemeral> {
        let entries = view.list("secrets")?;
        if let Some(entry) = entries.get(SECRETS_LIMIT) {
            let message = format!("more than {SECRETS_LIMIT} secrets: each is tried at every login");
            self.report.add(entry.place(), message);
        }
        Some(Ephemeral {
            secrets: entries.iter().filter_map(Item::file).collect(),
            algorithm: match view.text("algorithm") {
                Some("SHA-1") => HmacHash::Sha1,
                None | Some("SHA-256") => HmacHash::Sha256,
                Some("SHA-384") => HmacHash::Sha384,
                Some("SHA-512") => HmacHash::Sha512,
                Some(_) => return None,
            },
        })
    }

    fn users(&mut self, view: &View<'_>) -> Users {
        if view.item("passwords").is_none() && view.item("digests").is_none() {
            let message = "\"passwords\" or \"digests\" is required: without users nobody can log in";
            self.report.add(view.place(), message);
        }
        Users {
            passwords: view.file("passwords"),
            digests: view.file("digests"),
            groups: view.file("groups"),
        }
    }

    /// A challenge that no module can judge the answer of, and a file that no challenge asks for,
    /// are mistakes: each refuses everybody who has the right password.
    fn check_digest(&mut self, view: &View<'_>, challenges: &[Challenge], modules: &[LoginModule]) {
        let file = modules.iter().find_map(|module| match &module.kind {
            ModuleKind::Users(users) => users.digests.as_ref(),
            ModuleKind::Jwt(_)
            | ModuleKind::Introspection(_)
            | ModuleKind::Ldap(_)
            | ModuleKind::Ephemeral(_) => None,
        });
        let challenge = challenges
            .iter()
            .position(|challenge| challenge.scheme == Scheme::Digest);
        match (challenge, file) {
            (Some(index), None) => {
                let entries = view.list("challenges").unwrap_or_default();
                let place = entries.get(index).map_or_else(|| view.place(), Item::place);
                let message =
                    "no login module of this realm has \"digests\": nobody can answer this challenge";
                self.report.add(place, message);
            }
            (None, Some(file)) => {
                let message = "\"Digest\" is not among the realm's \"challenges\": this file is never used";
                self.report.add(file.place.clone(), message);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn jwt(&mut self, view: &View<'_>) -> Option<Jwt> {
        let verification = view
            .object("verification")
            .and_then(|view| self.verification(&view));
        if let (Some(item), Some(Verification::PublicKey { .. } | Verification::Secret { .. })) =
            (view.item("algorithms"), &verification)
        {
            let message = "only for \"jwks\": every other key is bound to its algorithm";
            self.report.add(item.place(), message);
        }
        let algorithms = view.texts("algorithms");
        let built = RSA_ALGORITHMS.iter().map(|word| word.text);
        Some(Jwt {
            issuer: view.owned("issuer"),
            audience: view.owned("audience"),
            claims: claims(view),
            claims_mode: claims_mode(view)?,
            roles: view.texts("roles"),
            leeway: view.duration("leeway")?,
            require_expiry: view.boolean("requireExpiry"),
            token_type: view.owned("tokenType"),
            algorithms: built
                .filter(|name| algorithms.iter().any(|named| named == name))
                .collect(),
            verification: verification?,
        })
    }
}

fn digest(realm: &View<'_>) -> Option<Digest> {
    let none = NO_MEMBERS;
    let view = realm.object_or("digest", &none);
    let named = view.texts("algorithms");
    let named = |algorithm: &DigestAlgorithm| match named.is_empty() {
        true => *algorithm == DigestAlgorithm::Sha256,
        false => named.iter().any(|name| name == algorithm.name()),
    };
    Some(Digest {
        // RFC 7616 section 3.7: clients take the first that they know, so the stronger comes first.
        algorithms: DigestAlgorithm::ALL.into_iter().filter(named).collect(),
        nonce_lifetime: view.duration("nonceLifetime")?,
    })
}

pub(super) fn claims(view: &View<'_>) -> Vec<(String, Vec<String>)> {
    let claims = view.map("claims").into_iter();
    claims
        .map(|(name, values)| (name.to_owned(), values.texts()))
        .collect()
}

pub(super) fn claims_mode(view: &View<'_>) -> Option<ClaimsMode> {
    match view.text("claimsMode") {
        None | Some("any") => Some(ClaimsMode::Any),
        Some("all") => Some(ClaimsMode::All),
        Some(_) => None,
    }
}

/// Returns the challenges that the modules of a realm can judge, the stronger first.
fn default_challenges(modules: &[LoginModule]) -> Vec<Challenge> {
    let bearer = modules.iter().any(|module| match &module.kind {
        ModuleKind::Jwt(_) | ModuleKind::Introspection(_) => true,
        ModuleKind::Users(_) | ModuleKind::Ldap(_) | ModuleKind::Ephemeral(_) => false,
    });
    let digest = modules.iter().any(|module| match &module.kind {
        ModuleKind::Users(users) => users.digests.is_some(),
        ModuleKind::Jwt(_)
        | ModuleKind::Introspection(_)
        | ModuleKind::Ldap(_)
        | ModuleKind::Ephemeral(_) => false,
    });
    let schemes = [
        (Scheme::Bearer, bearer),
        (Scheme::Digest, digest),
        (Scheme::Basic, judge_passwords(modules)),
    ];
    let wanted = schemes.into_iter().filter(|(_, wanted)| *wanted);
    wanted
        .map(|(scheme, _)| Challenge {
            scheme,
            application_prefix: false,
        })
        .collect()
}

/// Says whether some module judges a user and a password.
fn judge_passwords(modules: &[LoginModule]) -> bool {
    modules.iter().any(|module| match &module.kind {
        ModuleKind::Users(users) => users.passwords.is_some(),
        ModuleKind::Ldap(_) | ModuleKind::Ephemeral(_) => true,
        ModuleKind::Jwt(_) | ModuleKind::Introspection(_) => false,
    })
}
