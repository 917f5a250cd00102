//! Makes the model from a file whose shape has been checked, and checks what concerns one object.

mod acl;
mod admin;
mod bus;
mod ldap;
mod proxy;
mod realm;
mod remote;
mod server;
mod service;
mod short;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jsonc_parser::ast::Object;
use jsonc_parser::common::Range;

use super::acl::Acl;
use super::bus::Bus;
use super::error::{Place, hint, quote};
use super::model::{Admin, Limits, Realm, Server, Service, Throttle};
use super::network::Network;
use super::shape::Report;
use super::view::{Item, View};

/// What one file says, as far as it could be understood.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) roles: Vec<String>,
    pub(super) acl: Option<Acl>,
    pub(super) servers: Vec<Server>,
    pub(super) realms: BTreeMap<String, Realm>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) admin: Option<Admin>,
    pub(super) bus: Option<Bus>,
    pub(super) limits: Option<Limits>,
    pub(super) throttle: Option<Throttle>,
    pub(super) drain_grace: Option<Duration>,
    /// Every place that names a role.
    pub(super) role_uses: Vec<(String, Place)>,
    /// The objects that could not be understood. Each has an error of its own, or loading must fail.
    pub(super) unclear: Vec<Place>,
}

/// What the objects of one file refer to, and where they report to.
struct Builder<'r, 's> {
    report: &'r mut Report<'s>,
    realms: BTreeSet<&'r str>,
    services: BTreeSet<&'r str>,
    role_uses: Vec<(String, Place)>,
}

/// Builds the parts of the file whose outermost object is `top`.
pub(super) fn build<'s>(report: &mut Report<'s>, top: &View<'s>) -> Parts {
    let realms = top.map("realms");
    let services = top.map("services");
    let mut builder = Builder {
        report,
        realms: realms.iter().map(|(name, _)| *name).collect(),
        services: services.iter().map(|(name, _)| *name).collect(),
        role_uses: Vec::new(),
    };
    let mut parts = Parts {
        roles: builder.roles(top),
        acl: builder.acl(top),
        admin: builder.admin(top),
        bus: builder.bus(top),
        limits: builder.limits(top),
        throttle: throttle(&top.object_or("throttle", &NO_MEMBERS)),
        drain_grace: top.duration("drainGrace"),
        ..Parts::default()
    };
    for (name, item) in &realms {
        match builder.realm(name, item) {
            Some(realm) => drop(parts.realms.insert((*name).to_owned(), realm)),
            None => parts.unclear.push(item.place()),
        }
    }
    for (name, item) in &services {
        match builder.service(name, item) {
            Some(service) => drop(parts.services.insert((*name).to_owned(), service)),
            None => parts.unclear.push(item.place()),
        }
    }
    let servers = top.list("servers").unwrap_or_default();
    for item in &servers {
        builder.short(item, &mut parts);
    }
    for item in servers {
        match builder.server(&item, &parts.services) {
            Some(server) => parts.servers.push(server),
            None => parts.unclear.push(item.place()),
        }
    }
    parts.role_uses = builder.role_uses;
    parts
}

impl Builder<'_, '_> {
    fn roles(&mut self, top: &View<'_>) -> Vec<String> {
        let entries = top.list("roles").unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.text() == Some("*")) {
            let message = "\"*\" is not a role: requireRoles has it for any authenticated user";
            self.report.add(entry.place(), message);
        }
        entries.iter().filter_map(Item::owned).collect()
    }

    fn limits(&mut self, top: &View<'_>) -> Option<Limits> {
        let none = NO_MEMBERS;
        let view = top.object_or("limits", &none);
        let limits = limits(&view)?;
        if limits.head_bytes < limits.request_line_bytes {
            let member = ["headBytes", "requestLineBytes"].map(|name| view.item(name));
            let place = member
                .into_iter()
                .flatten()
                .next()
                .map_or_else(|| view.place(), |item| item.place());
            let message = format!(
                "headBytes ({}) must not be less than requestLineBytes ({}): a head contains its request line",
                limits.head_bytes, limits.request_line_bytes
            );
            self.report.add(place, message);
        }
        Some(limits)
    }

    /// Notes the roles that `entries` name, to be looked up when all group files are known.
    fn use_roles(&mut self, entries: &[Item<'_>]) -> Vec<String> {
        let named = entries
            .iter()
            .filter_map(|entry| Some((entry.owned()?, entry.place())));
        let named: Vec<_> = named.collect();
        let names = named.iter().map(|(role, _)| role.clone()).collect();
        self.role_uses.extend(named);
        names
    }

    /// Reports the entries that are no name of `known`, and returns the others.
    fn resolve(&mut self, entries: &[Item<'_>], what: &str, known: Known) -> Vec<String> {
        let mut found = Vec::new();
        for entry in entries {
            let names = match known {
                Known::Realms => &self.realms,
                Known::Services => &self.services,
            };
            match entry.text() {
                Some(name) if names.contains(name) => found.push(name.to_owned()),
                Some(name) => {
                    let hint = hint(name, names.iter().copied());
                    let message = format!("unknown {what} {}{hint}", quote(name));
                    self.report.add(entry.place(), message);
                }
                None => {}
            }
        }
        found
    }
}

/// What stands in the place of an absent object: every default applies.
const NO_MEMBERS: Object<'static> = Object {
    range: Range { start: 0, end: 0 },
    properties: Vec::new(),
};

/// What a name refers to.
#[derive(Clone, Copy)]
enum Known {
    Realms,
    Services,
}

fn throttle(view: &View<'_>) -> Option<Throttle> {
    Some(Throttle {
        failures: view.count("failures")?,
        window: view.duration("window")?,
        shared: networks(view, "shared"),
    })
}

/// Returns the networks of the list `name`; empty if the member is absent.
fn networks(view: &View<'_>, name: &str) -> Vec<Network> {
    let texts = view.texts(name);
    texts
        .iter()
        .filter_map(|text| Network::parse(text).ok())
        .collect()
}

fn limits(view: &View<'_>) -> Option<Limits> {
    Some(Limits {
        request_line_bytes: view.size("requestLineBytes")?,
        head_bytes: view.size("headBytes")?,
        head_timeout: view.duration("headTimeout")?,
        attempts_per_connection: view.count("attemptsPerConnection")?,
        keep_alive_timeout: view.duration("keepAliveTimeout")?,
        message_bytes: view.size("messageBytes")?,
        close_timeout: view.duration("closeTimeout")?,
        stall_timeout: view.duration("stallTimeout")?,
        connections: view.size("connections"),
        connections_per_address: view.size("connectionsPerAddress"),
        sockets_per_subject: view.size("socketsPerSubject"),
        message_memory: view.size("messageMemory")?,
        job_bytes: view.size("jobBytes")?,
        sessions: view.size("sessions")?,
        tickets: view.size("tickets")?,
    })
}
