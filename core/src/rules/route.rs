//! From host and canonical path to what is served there.

use super::{Route, Server, Target};
use crate::http::Host;

/// What a look-up found.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// This is served here.
    Here(&'a Target),
    /// It is served, but not through this port.
    OtherPort,
    /// Nothing is.
    Nothing,
}

impl Server {
    /// Finds what is served under a canonical path. A path of its own beats a prefix, a longer prefix a
    /// shorter one, and a route of the very host one of any host.
    pub(crate) fn route(&self, host: Option<&Host>, path: &str, local_port: u16) -> Found<'_> {
        let own = self.routes.get(path).map(Vec::as_slice);
        let prefixes = path.rmatch_indices('/').filter_map(|(at, _)| {
            let prefix = path.get(..=at)?;
            self.prefixes.get(prefix).map(Vec::as_slice)
        });
        for routes in own.into_iter().chain(prefixes) {
            match choose(routes, host, local_port) {
                Found::Nothing => {}
                found @ (Found::Here(_) | Found::OtherPort) => return found,
            }
        }
        Found::Nothing
    }
}

/// Chooses among the routes of one path.
fn choose<'a>(routes: &'a [Route], host: Option<&Host>, local_port: u16) -> Found<'a> {
    let fits = |route: &&Route| match (&route.host, host) {
        (None, _) => true,
        (Some(pattern), Some(host)) => pattern.matches(host, local_port),
        (Some(_), None) => false,
    };
    let mut other_port = false;
    let named = routes.iter().filter(|route| route.host.is_some());
    let unnamed = routes.iter().filter(|route| route.host.is_none());
    for route in named.chain(unnamed).filter(fits) {
        if route.port.is_none_or(|port| port == local_port) {
            return Found::Here(&route.to);
        }
        other_port = true;
    }
    if other_port {
        Found::OtherPort
    } else {
        Found::Nothing
    }
}
