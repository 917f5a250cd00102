//! Proxy services: the upstream, and what it is told of the client.

use std::collections::BTreeSet;

use super::super::endpoint::{self, Endpoint};
use super::super::model::Accept;
use super::super::upstream::{self, Forward, Proxy, UpstreamProtocol, comparable};
use super::super::view::View;
use super::Builder;

impl Builder<'_, '_> {
    /// Reads what a proxy service adds to the members of every service.
    pub(super) fn proxy(&mut self, view: &View<'_>, accept: &[Accept]) -> Option<Proxy> {
        let item = view.item("connect")?;
        let (protocol, parts) = upstream::url(item.text()?).ok()?;
        let ca_file = view.file("caFile");
        if !parts.tls && !endpoint::is_loopback(&parts.host) && !view.boolean("plaintext") {
            let message = "without TLS everything would pass in the open: use wss://, or say \"plaintext\": true \
                           if nobody else is on the way";
            self.report.add(item.place(), message);
        }
        if let Some(item) = view.item("caFile").filter(|_| !parts.tls) {
            let message = "only beside wss://: no certificate is checked without TLS";
            self.report.add(item.place(), message);
        }
        let forward = self.forward(view);
        if protocol == UpstreamProtocol::Tcp {
            if let Some(item) = view.item("forward") {
                let message = "only beside ws:// and wss://: in a stream of bytes there are no fields";
                self.report.add(item.place(), message);
            }
            for accept in accept.iter().filter(|accept| accept.prefix().is_some()) {
                let message = "a path to tcp:// does not end in /*: there is no path to append the rest to";
                self.report.add(accept.place.clone(), message);
            }
        }
        Some(Proxy {
            protocol,
            upstream: Endpoint {
                url: parts.url,
                host: parts.host,
                port: parts.port,
                tls: parts.tls,
                ca_file,
                place: item.place(),
            },
            forward,
            timeout: view.duration("timeout")?,
        })
    }

    fn forward(&mut self, view: &View<'_>) -> Forward {
        let Some(view) = view.object("forward") else {
            return Forward::default();
        };
        let claims = view.map("claims");
        let single = ["subject", "issuer", "roles"];
        let items = single.iter().filter_map(|name| view.item(name));
        let mut names = BTreeSet::new();
        for item in items.chain(claims.iter().map(|(_, item)| item.clone())) {
            let Some(name) = item.text() else { continue };
            if !names.insert(comparable(name)) {
                let message = "another member has the same field already: case and _ or - make no difference";
                self.report.add(item.place(), message);
            }
        }
        Forward {
            subject: view.owned("subject"),
            issuer: view.owned("issuer"),
            roles: view.owned("roles"),
            claims: claims
                .iter()
                .filter_map(|(claim, item)| Some(((*claim).to_owned(), item.owned()?)))
                .collect(),
        }
    }
}
