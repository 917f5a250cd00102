//! The paths that a realm answers itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Server;
use super::build::Builder;
use crate::auth::origins::PathOrigins;
use crate::auth::realm::Realm;
use crate::config::{self, Access, Carrier, TICKET_PARAMETER};
use crate::http::{Origin, OriginPattern};

/// A path that a realm answers itself.
#[derive(Clone, Debug)]
pub(crate) struct RealmPath {
    pub(crate) realm: Arc<Realm>,
    pub(crate) kind: PathKind,
}

/// What a realm does at one of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathKind {
    Login,
    Logout,
    Ticket,
    Renewal,
}

impl PathKind {
    /// Returns the methods, as `Allow` lists them.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Login => "GET, HEAD, POST",
            Self::Logout => "POST",
            Self::Ticket | Self::Renewal => "POST, OPTIONS",
        }
    }
}

impl Server {
    /// Says whether a page of `origin` may use the own paths of `realm` on this server.
    pub(crate) fn allows_at(&self, realm: &Realm, origin: &Origin, local_port: u16) -> bool {
        realm.origins.allow(origin) || self.is_own(origin, local_port)
    }
}

impl Builder<'_> {
    /// Returns the own paths of every realm that judges the clients of a service of `server`.
    pub(super) fn realm_paths(
        &self,
        server: &config::Server,
        realms: &BTreeMap<&str, Arc<Realm>>,
    ) -> Vec<(String, RealmPath)> {
        let services = server
            .services
            .iter()
            .filter_map(|name| self.config.services.get(name));
        let named: BTreeSet<&str> = services.flat_map(realm_names).collect();
        let realms = named.into_iter().filter_map(|name| realms.get(name));
        realms.flat_map(own_paths).collect()
    }

    fn services_of(&self, realm: &config::Realm) -> impl Iterator<Item = &config::Service> {
        let all = self.config.services.values();
        all.filter(|service| realm_names(service).any(|name| name == realm.name))
    }

    /// Returns who may use the own paths of `realm`.
    pub(super) fn path_origins(&self, realm: &config::Realm) -> PathOrigins {
        let parse = |list: &Vec<String>| {
            let patterns = list.iter().filter_map(|text| OriginPattern::parse(text).ok());
            patterns.collect::<Vec<_>>()
        };
        if let Some(list) = &realm.origins {
            return PathOrigins::Listed(parse(list));
        }
        let lists: Vec<_> = self
            .services_of(realm)
            .filter_map(|service| service.origins.as_ref().map(parse))
            .collect();
        let ambient = realm.form.is_some()
            || realm.carriers.iter().any(Carrier::is_ambient)
            || realm
                .challenges
                .iter()
                .any(|challenge| challenge.scheme.is_ambient());
        if lists.is_empty() && !ambient {
            return PathOrigins::Any;
        }
        PathOrigins::Common(lists)
    }

    /// Returns the names of all query parameters that may hold a credential of `realm`.
    pub(super) fn query_names(&self, realm: &config::Realm) -> Vec<String> {
        let own = self
            .services_of(realm)
            .filter_map(|service| service.carriers.as_ref());
        let carriers = own.chain([&realm.carriers]).flatten();
        let mut names: BTreeSet<String> = carriers
            .filter_map(|carrier| match carrier {
                Carrier::Query(name) => Some(name.clone()),
                Carrier::Authorization
                | Carrier::Header(_)
                | Carrier::Cookie(_)
                | Carrier::Subprotocol(_) => None,
            })
            .collect();
        if realm.tickets.is_some() {
            names.insert(TICKET_PARAMETER.to_owned());
        }
        names.into_iter().collect()
    }
}

fn realm_names(service: &config::Service) -> impl Iterator<Item = &str> {
    let names = match &service.access {
        Access::Public => &[],
        Access::Realms(names) => names.as_slice(),
    };
    names.iter().map(String::as_str)
}

fn own_paths(realm: &Arc<Realm>) -> Vec<(String, RealmPath)> {
    let form = realm
        .form
        .iter()
        .flat_map(|form| [(&form.path, PathKind::Login), (&form.logout, PathKind::Logout)]);
    let tickets = realm
        .tickets
        .iter()
        .map(|tickets| (&tickets.path, PathKind::Ticket));
    let renewal = realm.renewal.iter().map(|path| (path, PathKind::Renewal));
    form.chain(tickets)
        .chain(renewal)
        .map(|(path, kind)| {
            let realm = Arc::clone(realm);
            (path.clone(), RealmPath { realm, kind })
        })
        .collect()
}
