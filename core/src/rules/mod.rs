//! The rules in force: the configuration with every file read and every name resolved. A snapshot
//! that does not change; a reload makes another one.

mod admin;
mod build;
mod bus;
mod proxy;
mod realm_path;
mod remote;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

pub(crate) use admin::{ADMIN, AdminPath, AdminToken};
pub(crate) use build::build;
pub(crate) use proxy::{KeptBack, Proxy};
pub(crate) use realm_path::{PathKind, RealmPath};
pub(crate) use route::Found;

use crate::auth::grant::Grant;
use crate::auth::realm::Realm;
use crate::auth::remote::RemoteKeys;
use crate::auth::revoked::Listed;
use crate::authz::acl::Acl;
use crate::config::{self, Carrier, Entitlement, Limits, Network, Page, ServiceKind};
use crate::http::{Host, HostPattern, Origin, OriginPattern, Status};
use crate::reason::Reason;

/// The rules in force.
#[derive(Debug)]
pub(crate) struct Rules {
    /// How many came before: no two snapshots of one gateway have the same number.
    pub(crate) generation: u64,
    pub(crate) servers: Vec<Server>,
    pub(crate) limits: Limits,
    pub(crate) throttle: config::Throttle,
    pub(crate) drain_grace: Duration,
    /// Who the file of revocations names.
    pub(crate) revocations: Arc<Listed>,
    /// What all nodes share, if there is more than one.
    pub(crate) bus: Option<crate::bus::Settings>,
    /// The names of all realms.
    realms: BTreeSet<String>,
    /// How many verifiers elsewhere may be asked at once; each question takes a descriptor.
    pub(crate) questions: usize,
    /// The names of all data points.
    pub(crate) points: BTreeSet<Arc<str>>,
    /// The names of all broadcast services.
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// The key sets that are fetched from their issuers.
    pub(crate) remote_keys: Vec<Arc<RemoteKeys>>,
    /// What was left out while the rules were built, for the log.
    pub(crate) warnings: Vec<String>,
}

/// One server: what it listens on, whom it answers for, and what it serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: Arc<str>,
    pub(crate) listen: Vec<std::net::SocketAddr>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) unknown_host: Status,
    pub(crate) health: Option<String>,
    pub(crate) hsts: Option<Duration>,
    /// From where a PROXY header comes first.
    pub(crate) balancers: Vec<Network>,
    /// What is served, by canonical path.
    pub(crate) routes: BTreeMap<String, Vec<Route>>,
    /// What is served below a path too, the longest one first.
    pub(crate) below: Vec<(String, Vec<Route>)>,
    /// What changes need at the admin listener; `None` for every other server.
    pub(crate) admin: Option<AdminToken>,
}

/// One way to what is served under a path.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The host that an absolute `accept` names; any host of the server otherwise.
    pub(crate) host: Option<HostPattern>,
    /// The port that an absolute `accept` names: through another one the answer is 403.
    pub(crate) port: Option<u16>,
    pub(crate) to: Target,
}

/// What a route leads to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Service(Arc<Service>),
    /// A service that has everything below this many segments of the path.
    Below(Arc<Service>, usize),
    /// A service of files, reached at so many first bytes of the path.
    Directory(Arc<Service>, usize),
    Page(Page),
    /// A path that a realm answers itself.
    Realm(RealmPath),
    /// A path of the admin listener.
    Admin(AdminPath),
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ServiceKind,
    /// The data points of a points service, by canonical path.
    pub(crate) points: BTreeMap<String, Arc<str>>,
    /// The most that waits for one member of a broadcast, in bytes.
    pub(crate) mailbox_bytes: usize,
    /// The folder of a directory.
    pub(crate) directory: Option<PathBuf>,
    /// Who judges credentials; `None` for a public service.
    pub(crate) realm: Option<Arc<Realm>>,
    /// The realms of further factors, in order.
    pub(crate) further: Vec<Arc<Realm>>,
    /// How long a client may take from one factor to the next.
    pub(crate) step_up_lifetime: Duration,
    pub(crate) carriers: Option<Vec<Carrier>>,
    pub(crate) enabled: bool,
    /// The allowed origins besides the server's own; `None` lets every Origin pass.
    pub(crate) origins: Option<Vec<OriginPattern>>,
    pub(crate) allow_missing_origin: bool,
    pub(crate) require_roles: Vec<String>,
    pub(crate) require_scopes: Vec<String>,
    pub(crate) acl: Acl,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) require_subprotocol: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) ping_interval: Duration,
    /// What a proxy relays to.
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl Rules {
    /// Says whether some path leads to a proxy.
    pub(crate) fn has_proxies(&self) -> bool {
        let proxied = |route: &Route| match &route.to {
            Target::Service(service) | Target::Below(service, _) => service.kind == ServiceKind::Proxy,
            Target::Directory(..) | Target::Page(_) | Target::Realm(_) | Target::Admin(_) => false,
        };
        let servers = self.servers.iter();
        let routes = servers.flat_map(|server| {
            let below = server.below.iter().map(|(_, routes)| routes);
            server.routes.values().chain(below)
        });
        routes.flatten().any(proxied)
    }

    /// Says whether there is a realm of this name.
    pub(crate) fn has_realm(&self, name: &str) -> bool {
        self.realms.contains(name)
    }

    /// Returns the service of this name on the server with the index `server`, if it is served there.
    pub(crate) fn service(&self, server: usize, name: &str) -> Option<&Arc<Service>> {
        let server = self.servers.get(server)?;
        let below = server.below.iter().flat_map(|(_, routes)| routes);
        let routes = server.routes.values().flatten().chain(below);
        routes
            .filter_map(|route| match &route.to {
                Target::Service(service) | Target::Below(service, _) | Target::Directory(service, _) => {
                    Some(service)
                }
                Target::Page(_) | Target::Realm(_) | Target::Admin(_) => None,
            })
            .find(|service| &*service.name == name)
    }
}

impl Server {
    /// Says whether it serves files.
    pub(crate) fn has_files(&self) -> bool {
        let mut routes = self.below.iter().flat_map(|(_, routes)| routes);
        routes.any(|route| matches!(route.to, Target::Directory(..)))
    }

    /// Returns the port that a Host or Origin without one means here.
    const fn default_port(&self) -> u16 {
        if self.tls.is_some() { 443 } else { 80 }
    }

    /// Says whether connections from `address` begin with a PROXY header.
    pub(crate) fn is_balancer(&self, address: IpAddr) -> bool {
        self.balancers.iter().any(|network| network.contains(address))
    }

    /// Says whether the server answers for `host`. HTTP/1.0 may come without one, and then only a
    /// server that answers for every host does.
    pub(crate) fn serves(&self, host: Option<&Host>) -> bool {
        match host {
            Some(host) => self
                .hosts
                .iter()
                .any(|entry| entry.matches(host, self.default_port())),
            None => self.hosts.iter().any(|entry| matches!(entry, HostPattern::Any)),
        }
    }

    /// Says whether `origin` is one of the server's own: its scheme fits the listener, its host is a
    /// configured one, its port that entry's or else the one that was reached. The request's Host
    /// has no say: it is the attacker's word (R11).
    fn is_own(&self, origin: &Origin, local_port: u16) -> bool {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.hosts
            .iter()
            .any(|entry| origin.is_own(entry, scheme, local_port))
    }
}

impl Service {
    /// Returns every realm that a client has to pass, in order.
    pub(crate) fn realms(&self) -> impl Iterator<Item = &Arc<Realm>> {
        self.realm.iter().chain(&self.further)
    }

    /// Returns the realm of the factor `index`, counted from 0.
    pub(crate) fn factor(&self, index: usize) -> Option<&Arc<Realm>> {
        self.realms().nth(index)
    }

    /// Returns what `grant` lacks where it needs these entitlements; `None` if it is enough.
    pub(crate) fn lacks(&self, grant: &Grant, needed: &[Entitlement]) -> Option<Reason> {
        self.realm.as_ref()?;
        let has_roles = self.require_roles.iter().all(|role| grant.roles.contains(role));
        if !has_roles {
            return Some(Reason::MissingRole);
        }
        let entitled = needed
            .iter()
            .all(|entitlement| self.acl.holds(&grant.roles, *entitlement));
        if !entitled {
            return Some(Reason::MissingEntitlement);
        }
        let has_scopes = self
            .require_scopes
            .iter()
            .all(|scope| grant.scopes.contains(scope));
        (!has_scopes).then_some(Reason::MissingScope)
    }

    /// Says whether a page of `origin` may open a socket here (R11).
    pub(crate) fn allows(&self, origin: &Origin, server: &Server, local_port: u16) -> bool {
        self.origins.as_ref().is_none_or(|allowed| {
            allowed.iter().any(|pattern| pattern.matches(origin)) || server.is_own(origin, local_port)
        })
    }
}
