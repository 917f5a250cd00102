//! Checks that concern several objects: origins, routes, addresses, roles.

use std::collections::{BTreeMap, BTreeSet};

use super::build::Parts;
use super::error::{ConfigError, Place, ROOT, hint, quote};
use super::model::{Accept, Access, Carrier, Realm, Server, Service};
use super::shape::Report;
use super::{Config, FileRef, own_paths};

/// The roles that exist in every configuration.
pub const BUILT_IN_ROLES: [&str; 2] = ["Everyone", "Anonymous"];

pub(super) fn check(report: &mut Report<'_>, parts: &Parts) {
    for service in parts.services.values() {
        check_origins(report, service, &parts.realms);
        check_markers(report, service, &parts.realms);
        check_factors(report, service, &parts.realms);
    }
    check_servers(report, &parts.servers);
    for server in &parts.servers {
        check_routes(report, server, &parts.services);
    }
    own_paths::check(report, parts);
}

/// SPEC R11: where browsers send credentials by themselves, the allowed origins must be written down.
fn check_origins(report: &mut Report<'_>, service: &Service, realms: &BTreeMap<String, Realm>) {
    if service.origins.is_some() {
        return;
    }
    let ambient = realms_of(service, realms).find_map(|realm| ambient(service, realm));
    if let Some(what) = ambient {
        let message = format!(
            "\"origins\" is required: browsers send {what} by themselves, whatever page asks them to. \
             \"origins\": [] allows the server's own pages only"
        );
        report.add(service.place.clone(), message);
    }
}

/// Names a credential of `service` that browsers send unasked.
fn ambient(service: &Service, realm: &Realm) -> Option<String> {
    let carriers = carriers(service, realm);
    let carrier = carriers.iter().find(|carrier| carrier.is_ambient());
    let challenge = || {
        let mut ambient = realm.challenges.iter().map(|challenge| &challenge.scheme);
        ambient.find(|scheme| scheme.is_ambient())
    };
    carrier.map_or_else(
        || challenge().map(|scheme| format!("{} credentials", scheme.name())),
        |carrier| Some(format!("what \"{carrier}\" carries")),
    )
}

/// A marker announces that a token follows, so it cannot be a subprotocol as well.
fn check_markers(report: &mut Report<'_>, service: &Service, realms: &BTreeMap<String, Realm>) {
    for realm in realms_of(service, realms) {
        let marker = carriers(service, realm).iter().find(|carrier| match carrier {
            Carrier::Subprotocol(marker) => service.subprotocols.contains(marker),
            Carrier::Authorization | Carrier::Header(_) | Carrier::Query(_) | Carrier::Cookie(_) => false,
        });
        if let Some(marker) = marker {
            let message = format!("the marker of \"{marker}\" cannot be one of \"subprotocols\" too");
            report.add(service.place.clone(), message);
        }
    }
}

/// Every factor has to prove the same subject, which a client without a credential cannot.
fn check_factors(report: &mut Report<'_>, service: &Service, realms: &BTreeMap<String, Realm>) {
    let several = realms_of(service, realms).nth(1).is_some();
    if let Some(realm) = realms_of(service, realms).find(|realm| several && realm.anonymous.is_some()) {
        let message = format!(
            "realm {} lets anonymous clients pass: it cannot be one of several factors",
            quote(&realm.name)
        );
        report.add(service.place.clone(), message);
    }
}

pub(super) fn realms_of<'r>(
    service: &'r Service,
    realms: &'r BTreeMap<String, Realm>,
) -> impl Iterator<Item = &'r Realm> {
    let names = match &service.access {
        Access::Public => &[],
        Access::Realms(names) => names.as_slice(),
    };
    names.iter().filter_map(|name| realms.get(name))
}

/// Returns where a credential of `realm` may travel to `service`.
pub(super) fn carriers<'r>(service: &'r Service, realm: &'r Realm) -> &'r [Carrier] {
    service.carriers.as_deref().unwrap_or(&realm.carriers)
}

fn check_servers(report: &mut Report<'_>, servers: &[Server]) {
    let mut ids = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for server in servers {
        if !ids.insert(&server.id) {
            let message = format!("another server has the id {} already", quote(&server.id));
            report.add(server.place.clone(), message);
        }
        // Port 0 is another port every time.
        for address in server.listen.iter().filter(|address| address.port() != 0) {
            if !addresses.insert(address) {
                report.add(server.place.clone(), format!("two listeners for {address}"));
            }
        }
    }
}

/// Reports paths of `server` that two services, or one service twice, would answer.
fn check_routes(report: &mut Report<'_>, server: &Server, services: &BTreeMap<String, Service>) {
    let mut routes: BTreeMap<&str, Vec<(&Accept, &str)>> = BTreeMap::new();
    let named = server.services.iter().filter_map(|name| services.get(name));
    for (accept, name) in named.flat_map(|s| s.accept.iter().map(|accept| (accept, s.name.as_str()))) {
        let id = quote(&server.id);
        if server.health.as_deref() == Some(&accept.path) {
            let message = format!("\"health\" of server {id} has the same path");
            report.add(accept.place.clone(), message);
        }
        let others = routes.entry(&accept.path).or_default();
        let same_host = |other: &Accept| match (&other.host, &accept.host) {
            (Some(a), Some(b)) => a == b,
            (None, _) | (_, None) => true,
        };
        match others.iter().find(|(other, _)| same_host(other)) {
            Some((_, other)) => {
                let message = format!(
                    "service {} has the same host and path on server {id} already",
                    quote(other)
                );
                report.add(accept.place.clone(), message);
            }
            // One representative per host is enough: whatever clashes with another one clashes with it.
            None => others.push((accept, name)),
        }
    }
}

impl Config {
    /// Checks that every role that is named exists: among `roles`, [`BUILT_IN_ROLES`] or `groups`,
    /// the names of all group files.
    #[must_use]
    pub fn check_roles(&self, groups: &BTreeSet<String>) -> Vec<ConfigError> {
        let known: BTreeSet<&str> = BUILT_IN_ROLES
            .into_iter()
            .chain(self.roles.iter().map(String::as_str))
            .chain(groups.iter().map(String::as_str))
            .collect();
        let unknown = self
            .role_uses
            .iter()
            .filter(|(role, _)| !known.contains(role.as_str()));
        unknown
            .map(|(role, place)| {
                let hint = hint(role, known.iter().copied());
                let message = format!("unknown role {}{hint}", quote(role));
                ConfigError::new(&self.path, place.clone(), message)
            })
            .collect()
    }

    /// The error `message` about line `line` (counted from 1, `None` for the whole) of a named file.
    /// The error's path is the member that names the file.
    #[must_use]
    pub fn file_error(&self, file: &FileRef, line: Option<usize>, message: impl Into<String>) -> ConfigError {
        let place = Place {
            line: u32::try_from(line.unwrap_or(1)).unwrap_or(u32::MAX),
            column: 1,
            path: file.place.path.clone(),
        };
        ConfigError::new(&file.path, place, message)
    }
}

/// The place of an error about the configuration file itself.
pub(super) fn whole_file() -> Place {
    Place {
        line: 1,
        column: 1,
        path: ROOT.to_owned(),
    }
}
