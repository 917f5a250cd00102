//! Checks of what a realm answers itself: login, logout and tickets.

use std::collections::BTreeMap;

use super::build::Parts;
use super::error::quote;
use super::model::{Carrier, Realm, Server, Service, TICKET_PARAMETER};
use super::relations::{carriers, realms_of};
use super::shape::Report;

/// The entry of `hosts` that is every host.
const ANY_HOST: &str = "*";

pub(super) fn check(report: &mut Report<'_>, parts: &Parts) {
    for realm in parts.realms.values() {
        check_cookie(report, realm, parts);
        check_parameter(report, realm, parts);
    }
    for server in &parts.servers {
        check_paths(report, server, parts);
        check_login(report, server, parts);
    }
}

/// A login needs an `Origin` that is allowed. A server that answers for every host has none of its own,
/// so that somebody has to name one.
fn check_login(report: &mut Report<'_>, server: &Server, parts: &Parts) {
    if server.hosts.iter().any(|host| host.text != ANY_HOST) {
        return;
    }
    for realm in parts.realms.values().filter(|realm| realm.form.is_some()) {
        let here = |service: &&Service| server.services.contains(&service.name);
        if !services_of(realm, parts).any(|service| here(&service)) {
            continue;
        }
        let lists: Vec<_> = match &realm.origins {
            Some(list) => vec![list],
            None => services_of(realm, parts)
                .filter_map(|service| service.origins.as_ref())
                .collect(),
        };
        if lists.is_empty() || lists.iter().any(|list| list.is_empty()) {
            let message = format!(
                "nobody could log in on server {}: with \"hosts\": [\"*\"] no origin is its own. Name its hosts, \
                 or \"origins\" of this realm, like [\"https://example.com\"]",
                quote(&server.id)
            );
            report.add(realm.place.clone(), message);
        }
    }
}

/// Returns the services whose clients `realm` judges.
fn services_of<'p>(realm: &'p Realm, parts: &'p Parts) -> impl Iterator<Item = &'p Service> {
    let all = parts.services.values();
    all.filter(|service| realms_of(service, &parts.realms).any(|other| other.name == realm.name))
}

/// A session that no carrier reads would let nobody in.
fn check_cookie(report: &mut Report<'_>, realm: &Realm, parts: &Parts) {
    let Some(form) = &realm.form else { return };
    let reads = |carriers: &[Carrier]| carriers.contains(&Carrier::Cookie(form.cookie.clone()));
    let read =
        reads(&realm.carriers) || services_of(realm, parts).any(|service| reads(carriers(service, realm)));
    if !read {
        let message = format!(
            "\"form\" needs {} among \"carriers\": without it nothing reads its sessions",
            quote(&format!("cookie:{}", form.cookie))
        );
        report.add(realm.place.clone(), message);
    }
}

/// A parameter that holds tickets cannot hold tokens as well.
fn check_parameter(report: &mut Report<'_>, realm: &Realm, parts: &Parts) {
    if realm.tickets.is_none() {
        return;
    }
    let taken = |carriers: &[Carrier]| carriers.contains(&Carrier::Query(TICKET_PARAMETER.to_owned()));
    let message = "\"query:ticket\" holds the realm's tickets: give tokens another parameter";
    if taken(&realm.carriers) {
        report.add(realm.place.clone(), message);
    }
    let own = services_of(realm, parts).filter(|service| service.carriers.as_deref().is_some_and(taken));
    for service in own {
        report.add(service.place.clone(), message);
    }
}

/// Reports paths of `server` that a realm and somebody else would answer.
fn check_paths(report: &mut Report<'_>, server: &Server, parts: &Parts) {
    let id = quote(&server.id);
    let services = || server.services.iter().filter_map(|name| parts.services.get(name));
    let mut realms: BTreeMap<&str, &Realm> = BTreeMap::new();
    for realm in services().flat_map(|service| realms_of(service, &parts.realms)) {
        realms.insert(&realm.name, realm);
    }
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    if let Some(health) = &server.health {
        taken.insert(health, "\"health\"".to_owned());
    }
    for realm in realms.into_values() {
        for (member, path) in realm.own_paths() {
            let what = format!("\"{member}\" of realm {}", quote(&realm.name));
            if let Some(other) = taken.get(path) {
                let message = format!(
                    "{what} is {}, which is {other} on server {id} already",
                    quote(path)
                );
                report.add(realm.place.clone(), message);
            } else {
                taken.insert(path, what);
            }
        }
    }
    for accept in services().flat_map(|service| &service.accept) {
        if let Some(other) = taken.get(accept.path.as_str())
            && server.health.as_deref() != Some(&accept.path)
        {
            report.add(
                accept.place.clone(),
                format!("{other} has the same path on server {id}"),
            );
        }
    }
}

impl Realm {
    /// Returns the paths that the realm answers itself, with the members that name them.
    fn own_paths(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let form = self.form.iter().flat_map(|form| {
            [
                ("form.path", form.path.as_str()),
                ("form.logout", form.logout.as_str()),
            ]
        });
        let tickets = self.tickets.iter();
        let renewal = self.renewal.iter().map(|path| ("renewal", path.as_str()));
        form.chain(tickets.map(|tickets| ("tickets.path", tickets.path.as_str())))
            .chain(renewal)
    }
}
