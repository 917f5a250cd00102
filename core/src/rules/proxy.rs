//! Upstreams: how they are reached, what they are told, and what never gets there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::build::Builder;
use crate::config::{
    self, Access, CSRF_COOKIE, Carrier, Forward, TICKET_PARAMETER, UpstreamProtocol, comparable,
};
use crate::leg::Destination;

/// What a proxy service relays to.
pub(crate) struct Proxy {
    pub(crate) protocol: UpstreamProtocol,
    pub(crate) to: Destination,
    /// The upstream's Host.
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) forward: Forward,
    pub(crate) kept_back: KeptBack,
    /// From the dial to the upstream's 101.
    pub(crate) timeout: Duration,
}

/// Shows where it leads, without the URL's query: some upstreams have a key there.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("protocol", &self.protocol)
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What the upstream never sees of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptBack {
    /// Fields, as [`comparable`] writes them: identities that a client claims, and carriers.
    pub(crate) fields: BTreeSet<String>,
    /// Parameters by their decoded names.
    pub(crate) params: BTreeSet<String>,
    pub(crate) cookies: BTreeSet<String>,
    /// Subprotocols that announce a token.
    pub(crate) markers: BTreeSet<String>,
}

impl KeptBack {
    /// What no upstream of `config` may see. The credentials of every realm are among it: a browser
    /// sends a cookie to all services of a host, and one upstream must not learn what opens another.
    fn of(config: &config::Config, service: &config::Service) -> Self {
        let mut kept_back = Self::default();
        let proxies = config
            .services
            .values()
            .filter_map(|service| service.proxy.as_ref());
        let names = proxies.flat_map(|proxy| proxy.forward.names());
        kept_back.fields.extend(names.map(comparable));
        let of_realms = config.realms.values().map(|realm| realm.carriers.as_slice());
        let of_services = config
            .services
            .values()
            .filter_map(|service| service.carriers.as_deref());
        for carrier in of_realms.chain(of_services).flatten() {
            match carrier {
                Carrier::Authorization => kept_back.fields.insert("authorization".to_owned()),
                Carrier::Header(name) => kept_back.fields.insert(comparable(name)),
                Carrier::Query(name) => kept_back.params.insert(name.clone()),
                Carrier::Cookie(name) => kept_back.cookies.insert(name.clone()),
                Carrier::Subprotocol(marker) => kept_back.markers.insert(marker.clone()),
            };
        }
        for realm in config.realms.values() {
            if let Some(form) = &realm.form {
                let cookies = [form.cookie.clone(), CSRF_COOKIE.to_owned()];
                kept_back.cookies.extend(cookies);
            }
            if realm.tickets.is_some() {
                kept_back.params.insert(TICKET_PARAMETER.to_owned());
            }
        }
        match service.access {
            Access::Public => {}
            // Meant for this gateway, be it that another carrier counts here.
            Access::Realms(_) => {
                kept_back.fields.insert("authorization".to_owned());
            }
        }
        kept_back
    }
}

impl Builder<'_> {
    /// Builds what a proxy service relays to; `None` for other services.
    pub(super) fn proxy(&mut self, service: &config::Service) -> Option<Arc<Proxy>> {
        let proxy = service.proxy.as_ref()?;
        let (callee, _) = self.callee(&proxy.upstream)?;
        let url = &proxy.upstream.url;
        Some(Arc::new(Proxy {
            protocol: proxy.protocol,
            to: callee.to,
            authority: url
                .authority()
                .map_or("", |authority| authority.as_str())
                .to_owned(),
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            forward: proxy.forward.clone(),
            kept_back: KeptBack::of(self.config, service),
            timeout: proxy.timeout,
        }))
    }
}
