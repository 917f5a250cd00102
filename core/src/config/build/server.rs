//! Servers: addresses, certificate, hosts and the services behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};

use super::super::address;
use super::super::error::Place;
use super::super::model::{Accept, HostEntry, Server, Service};
use super::super::view::{Item, View};
use super::short::is_short;
use super::{Builder, Known, networks};

/// The hosts of a server that listens on loopback addresses and names none.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The name that the log gives to the admin listener.
const ADMIN: &str = "admin";

impl Builder<'_, '_> {
    pub(super) fn server(&mut self, item: &Item<'_>, services: &BTreeMap<String, Service>) -> Option<Server> {
        let view = item.clone().object()?;
        let place = view.place();
        let id = view.owned("id")?;
        if let Some(item) = view.item("id").filter(|_| id == ADMIN) {
            self.report
                .add(item.place(), "this id is the admin listener's in the log");
        }
        let short = is_short(&view);
        let listen = self.listen(&view, short)?;
        let loopback = listen.iter().all(|(address, _)| is_loopback(*address));
        let plaintext = view.boolean("plaintext");
        let certificate = view.file("serverCertificate");
        match (plaintext, view.item("serverCertificate")) {
            (true, Some(_)) => {
                let at = view
                    .item("plaintext")
                    .map_or_else(|| place.clone(), |item| item.place());
                self.report
                    .add(at, "\"plaintext\" and \"serverCertificate\" exclude each other");
            }
            (false, None) => {
                let message =
                    "\"serverCertificate\" is required (or \"plaintext\": true on loopback addresses)";
                self.report.add(place.clone(), message);
            }
            (true, None) => {
                for (_, entry) in listen.iter().filter(|(address, _)| !is_loopback(*address)) {
                    let message = "\"plaintext\" is for loopback addresses only: credentials would travel in the \
                                   clear. Use 127.0.0.1 or [::1], or a serverCertificate";
                    self.report.add(entry.clone(), message);
                }
            }
            (false, Some(_)) => {}
        }
        let mut services_named = match view.list("services") {
            Some(entries) => self.resolve(&entries, "service", Known::Services),
            // Whoever is in short form brings its own.
            None if short => Vec::new(),
            None => self.services.iter().map(|name| (*name).to_owned()).collect(),
        };
        if short {
            services_named.push(id.clone());
        }
        let own = services_named.iter().filter_map(|name| services.get(name));
        let mut hosts = match view.list("hosts") {
            Some(entries) => entries
                .iter()
                .filter_map(|entry| {
                    Some(HostEntry {
                        text: entry.owned()?,
                        place: entry.place(),
                    })
                })
                .collect(),
            None if short => vec![HostEntry {
                text: "*".to_owned(),
                place: place.clone(),
            }],
            None if loopback => {
                let entry = |text: &str| HostEntry {
                    text: text.to_owned(),
                    place: place.clone(),
                };
                LOOPBACK_HOSTS.map(entry).to_vec()
            }
            None => {
                let message = "\"hosts\" is required: a server beyond loopback must know its names";
                self.report.add(place.clone(), message);
                Vec::new()
            }
        };
        add_hosts(&mut hosts, own.flat_map(|service| &service.accept));
        if let Some(item) = view.item("hosts").filter(|_| hosts.is_empty()) {
            self.report.add(
                item.place(),
                "the list must not be empty: no request would be served",
            );
        }
        Some(Server {
            id,
            uuid: view.text("uuid").map(str::to_ascii_lowercase),
            listen: listen.iter().map(|(address, _)| *address).collect(),
            certificate,
            plaintext,
            hosts,
            services: services_named,
            unknown_host_status: u16::try_from(view.count("unknownHostStatus")?).ok()?,
            health: view.owned("health"),
            hsts: view.duration("hsts"),
            proxy_protocol: networks(&view, "proxyProtocol"),
            place,
        })
    }
}

impl Builder<'_, '_> {
    /// Reads where a server listens: `listen`, or in the short form `portNumber` in its place.
    fn listen(&mut self, view: &View<'_>, short: bool) -> Option<Vec<(SocketAddr, Place)>> {
        match (view.list("listen"), view.item("portNumber")) {
            (None, Some(item)) => {
                let port = u16::try_from(view.count("portNumber")?).ok()?;
                // IPv4 clients arrive here too, under mapped addresses.
                let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
                Some(vec![(every, item.place())])
            }
            (None, None) => {
                let message = match short {
                    true => "\"portNumber\" is required (or \"listen\" in its place)",
                    false => "\"listen\" is required",
                };
                self.report.add(view.place(), message);
                None
            }
            (Some(entries), number) => {
                if let Some(item) = number {
                    let message = "\"listen\" stands in place of \"portNumber\": leave one of them out";
                    self.report.add(item.place(), message);
                }
                let read = entries
                    .iter()
                    .filter_map(|entry| Some((address::listen(entry.text()?).ok()?, entry.place())));
                Some(read.collect())
            }
        }
    }
}

/// Adds the hosts of absolute `accept` URLs that the list does not have. They are added without
/// their port: a request for another port is 403 (SPEC R2), not a host that is unknown.
fn add_hosts<'a>(hosts: &mut Vec<HostEntry>, accepts: impl Iterator<Item = &'a Accept>) {
    let plain = |entry: &HostEntry| match address::host(&entry.text) {
        Ok((name, None)) => Some(name),
        Ok((_, Some(_))) | Err(_) => None,
    };
    let mut known: BTreeSet<String> = hosts.iter().filter_map(plain).collect();
    for accept in accepts {
        if let Some(host) = &accept.host
            && known.insert(host.clone())
        {
            let text = host.clone();
            let place = accept.place.clone();
            hosts.push(HostEntry { text, place });
        }
    }
}

/// Says whether only this machine reaches `address`.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
