//! What all connections share: rules, limits, budgets, bells, counters.

mod admission;
mod lookups;
mod meters;
mod names;
mod outside;
mod proof;
mod reload;
mod renewals;
mod revocations;
mod session;
mod sessions;
mod shared;
mod sockets;
mod stepups;
pub(crate) mod throttle;
mod tickets;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

pub use admission::Admission;
pub use lookups::{Lookup, Lookups};
pub(crate) use meters::CONTENT_TYPE as METRICS_TYPE;
pub(crate) use outside::{Asked, Errand, Outside, Waiting};
pub(crate) use proof::{Foreign, Proof, Redeemed, Redeeming};
pub(crate) use renewals::{Order, Registration, Renewals, Renewed};
pub(crate) use session::{Ended, Key as SessionKey, Membership, Session};
pub(crate) use sessions::{Looked, Sessions};
pub(crate) use shared::Telling;
pub(crate) use sockets::OpenSocket;
pub(crate) use stepups::StepUp;
pub(crate) use tickets::{Bound, NoTicket, Place, Tickets};

use crate::auth::grant::Grant;
use crate::auth::nonces::Nonces;
use crate::auth::verdicts::Verdicts;
use crate::bell::Bells;
use crate::budget::{Memory, Slots};
use crate::bus::Bus;
use crate::config::{Config, ConfigErrors, ServiceKind};
use crate::entropy::{Entropy, Seed};
use crate::hub::Hub;
use crate::note::Note;
use crate::rules::{self, Rules};
use crate::service::relay::Unread;
use crate::service::{Broadcast, Echo, Ended as NoService, Points, Service, ServiceFactory};
use crate::time::Now;

/// Descriptors that a process needs beside its connections: listeners, log, files that are read.
const DESCRIPTORS_BESIDE: u64 = 64;

/// Connections to the admin listener beyond the limit: who floods the gateway is not to keep its
/// operator out.
const ADMIN_RESERVE: usize = 16;
/// Fewer connections than this are worth a warning even where nobody asked for more: a browser opens
/// several, and the usual limit of 1,024 descriptors is soon reached.
const FEW_CONNECTIONS: usize = 1_000;

/// What the runtime tells of itself and its machine.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Processors that the process may use.
    pub cores: usize,
    /// The default of `limits.connections` for this runtime.
    pub connections: usize,
    /// How many descriptors one connection takes, at most.
    pub descriptors_per_connection: usize,
}

/// An address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The index of the server, for [`Peer::server`](crate::connection::Peer::server).
    pub server: usize,
    /// The id of the server.
    pub id: Arc<str>,
    /// The address to bind; port 0 asks the operating system for a free one.
    pub address: SocketAddr,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

/// Figures of a gateway at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open connections, whatever their state.
    pub connections: usize,
    /// Open WebSockets.
    pub sockets: usize,
    /// Heavy jobs that run.
    pub jobs_running: usize,
    /// Heavy jobs that wait for their turn.
    pub jobs_waiting: usize,
    /// Checks that wait for an answer from elsewhere.
    pub asking: usize,
    /// Bytes of `messageMemory` that are not claimed.
    pub message_memory_free: usize,
}

/// What all connections of a process share.
pub struct Gateway {
    entropy: Entropy,
    rules: RwLock<Arc<Rules>>,
    /// The generation of `rules`, to be looked at often.
    generation: AtomicU64,
    reload: Mutex<reload::Reload>,
    services: RwLock<BTreeMap<String, Arc<ServiceFactory>>>,
    admissions: admission::Admissions,
    /// The most connections that the descriptor limit allows.
    connections_that_fit: AtomicUsize,
    capacity: Capacity,
    lookups: Arc<Lookups>,
    bells: Bells,
    slots: Arc<Slots>,
    memory: Arc<Memory>,
    sockets: Arc<sockets::Sockets>,
    sessions: Sessions,
    bus: Option<Bus>,
    tickets: Tickets,
    throttle: throttle::Throttle,
    revocations: revocations::Revocations,
    renewals: Arc<Renewals>,
    meters: meters::Meters,
    nonces: Nonces,
    verdicts: Verdicts,
    outside: Arc<Outside>,
    /// Connections that were closed for want of a PROXY header since the last look.
    unproxied: AtomicU64,
    step_ups: stepups::StepUps,
    hub: Hub,
    draining: AtomicBool,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("stats", &self.stats())
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Builds a gateway from a loaded configuration.
    ///
    /// # Errors
    /// Everything that is wrong in the files that the configuration names, each with its place.
    pub fn new(config: Config, seed: Seed, capacity: Capacity) -> Result<Arc<Self>, ConfigErrors> {
        let mut rules = rules::build(&config, &[])?;
        let warnings = std::mem::take(&mut rules.warnings);
        let limits = &rules.limits;
        let entropy = Entropy::new(&seed);
        let bus = rules.bus.as_ref().map(|bus| Bus::new(bus.clone(), &entropy));
        let hub = Hub::default();
        if let Some(bus) = &bus {
            hub.share(bus.node(), bus.desk());
        }
        Ok(Arc::new(Self {
            entropy,
            services: RwLock::default(),
            admissions: admission::Admissions::default(),
            connections_that_fit: AtomicUsize::new(usize::MAX),
            capacity,
            lookups: Arc::default(),
            bells: Bells::default(),
            // One processor is left to the IO path, if there is another.
            slots: Slots::new(capacity.cores.saturating_sub(1), limits.job_bytes),
            memory: Memory::new(limits.message_memory),
            sockets: Arc::default(),
            sessions: Sessions::new(bus.is_some()),
            bus,
            tickets: Tickets::default(),
            throttle: throttle::Throttle::default(),
            revocations: revocations::Revocations::default(),
            renewals: Arc::default(),
            meters: meters::Meters::default(),
            nonces: Nonces::default(),
            verdicts: Verdicts::default(),
            outside: Arc::default(),
            unproxied: AtomicU64::new(0),
            step_ups: stepups::StepUps::default(),
            hub,
            draining: AtomicBool::new(false),
            reload: Mutex::new(reload::Reload::new(config, warnings)),
            rules: RwLock::new(Arc::new(rules)),
            generation: AtomicU64::new(0),
        }))
    }

    /// Lets `factory` make the sockets' service where the configuration has `service`, in place of
    /// the type that is written there: how an embedder serves by itself what the gateway lets in.
    pub fn replace_service(
        &self,
        service: &str,
        factory: impl Fn(&Grant) -> Box<dyn Service> + Send + Sync + 'static,
    ) {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        services.insert(service.to_owned(), Arc::new(factory));
    }

    /// Says whether an embedder serves `service` by itself.
    pub(crate) fn is_replaced(&self, service: &str) -> bool {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.contains_key(service)
    }

    /// Returns the addresses to listen on, in the order of the configuration.
    pub fn listeners(&self) -> Vec<Listener> {
        let rules = self.rules();
        let servers = rules.servers.iter().enumerate();
        servers
            .flat_map(|(index, server)| {
                server.listen.iter().map(move |address| Listener {
                    server: index,
                    id: Arc::clone(&server.id),
                    address: *address,
                    tls: server.tls.is_some(),
                })
            })
            .collect()
    }

    /// Lowers the connection limit to what `descriptors` allow. Says so if the configuration asked for
    /// more, or if what is left is little. To be called once, before the first accept, with the soft
    /// limit after it was raised.
    pub fn fit_descriptors(&self, descriptors: u64) -> Option<Note> {
        let rules = self.rules();
        let own = u64::try_from(self.capacity.descriptors_per_connection.max(1)).unwrap_or(u64::MAX);
        // A relayed connection has its upstream's stream too, and a file that is being sent is one more.
        let with_files = rules.servers.iter().any(|server| server.has_files());
        let each = own
            .saturating_mul(if rules.has_proxies() { 2 } else { 1 })
            .saturating_add(u64::from(with_files));
        let questions = u64::try_from(rules.questions).unwrap_or(u64::MAX);
        let beside = DESCRIPTORS_BESIDE.saturating_add(questions);
        let fit = descriptors.saturating_sub(beside) / each;
        let fit = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
        let wanted = self.connection_limit(&rules);
        self.connections_that_fit.store(fit, Ordering::Relaxed);
        let matters = rules.limits.connections.is_some() || fit < FEW_CONNECTIONS;
        (wanted > fit && matters).then(|| Note::Warning {
            message: format!(
                "limits.connections is {fit} instead of {wanted}: {descriptors} descriptors are allowed and \
                 each connection takes {each}; raise the hard limit of open files (ulimit -Hn) or lower \
                 limits.connections"
            ),
        })
    }

    /// Begins the shutdown: open sockets get Close 1001, new upgrades 503. The adapter ends the
    /// process when no connection is open, at the latest when the returned time has passed.
    pub fn drain(&self, _now: Now) -> Duration {
        self.draining.store(true, Ordering::Release);
        self.bells.ring_all();
        self.rules().drain_grace
    }

    /// Takes a slot for a connection from `peer` to the server with the index `server`, before any
    /// TLS work; `None` over a limit, and then the adapter closes the stream. The slot is given back
    /// when the `Admission` is dropped. A balancer's connections count in all only, until each of
    /// them has said whose it is.
    pub fn admit(self: &Arc<Self>, server: usize, peer: IpAddr, _now: Now) -> Option<Admission> {
        let rules = self.rules();
        let server = rules.servers.get(server);
        let balancer = server.is_some_and(|server| server.is_balancer(peer));
        let reserve = server
            .filter(|server| server.admin.is_some())
            .map_or(0, |_| ADMIN_RESERVE);
        let limit = self.connection_limit(&rules).saturating_add(reserve);
        let per_address = self.limit_per_address(&rules);
        Admission::new(self, (!balancer).then_some(peer), limit, per_address)
    }

    /// Returns the connection limit in force: what the configuration says, or what fits.
    fn connection_limit(&self, rules: &Rules) -> usize {
        let configured = rules.limits.connections.unwrap_or(self.capacity.connections);
        configured.min(self.connections_that_fit.load(Ordering::Relaxed))
    }

    /// Returns how many connections one address may have.
    fn limit_per_address(&self, rules: &Rules) -> usize {
        let tenth = || (self.connection_limit(rules) / 10).max(1);
        rules.limits.connections_per_address.unwrap_or_else(tenth)
    }

    /// Counts a connection from a declared network that did not begin with a right PROXY header.
    pub(crate) fn count_unproxied(&self) {
        self.unproxied.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns who counts the names that the runtime looks up for a dial.
    pub const fn lookups(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// Returns figures for the operator.
    pub fn stats(&self) -> Stats {
        let (jobs_running, jobs_waiting) = self.slots.load();
        Stats {
            connections: self.admissions.open(),
            sockets: self.sockets.open(),
            jobs_running,
            jobs_waiting,
            asking: self.outside.waiting(),
            message_memory_free: self.memory.free(),
        }
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether `rules` are still those in force.
    pub(crate) fn is_in_force(&self, rules: &Rules) -> bool {
        rules.generation == self.generation.load(Ordering::Acquire)
    }

    pub(crate) const fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    pub(crate) const fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Has every connection look whether something is new.
    pub(crate) fn ring_all(&self) {
        self.bells.ring_all();
    }

    pub(crate) const fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    pub(crate) const fn outside(&self) -> &Arc<Outside> {
        &self.outside
    }

    pub(crate) const fn step_ups(&self) -> &stepups::StepUps {
        &self.step_ups
    }

    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) const fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(crate) const fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(crate) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) const fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    pub(crate) const fn renewals(&self) -> &Arc<Renewals> {
        &self.renewals
    }

    pub(crate) const fn throttle(&self) -> &throttle::Throttle {
        &self.throttle
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Makes the service of one socket, which was asked for at `path`.
    pub(crate) fn service(
        &self,
        rules: &Arc<rules::Service>,
        grant: &Grant,
        path: &str,
        admission: &Admission,
    ) -> Box<dyn Service> {
        let factory = {
            let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
            services.get(&*rules.name).map(Arc::clone)
        };
        match (factory, rules.kind) {
            (Some(factory), _) => factory(grant),
            (None, ServiceKind::Echo) => Box::new(Echo),
            // A proxy is relayed, never served.
            (None, ServiceKind::Proxy) => Box::new(Unread),
            (None, ServiceKind::Broadcast) => {
                let who = (admission.number(), admission.bell());
                let member = self.hub.enter(&rules.name, who, rules.mailbox_bytes);
                Box::new(Broadcast::new(member))
            }
            // No upgrade leads here: what has files alone is read.
            (None, ServiceKind::Directory) => Box::new(NoService),
            (None, ServiceKind::Points) => {
                let point = rules.points.get(path);
                let reader = point.map(|name| self.hub.join(name, admission.number(), admission.bell()));
                let limit = self.rules().limits.message_bytes;
                let memory = (Arc::clone(&self.memory), Arc::clone(admission.bell()));
                Box::new(Points::new(reader, limit, memory))
            }
        }
    }

    /// Counts an open socket until the returned value is dropped; `None` if the identity has `limit`
    /// sockets already.
    pub(crate) fn open_socket(&self, grant: &Grant, limit: Option<usize>) -> Option<OpenSocket> {
        self.sockets.enter(grant.identity.as_ref(), limit)
    }
}
