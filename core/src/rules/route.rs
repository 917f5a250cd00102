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
    /// Finds what is served under a canonical path. A route of the very path beats one that serves what
    /// is below its own, a longer one of those beats a shorter one, and a route of the very host beats one
    /// of any host.
    pub(crate) fn route(&self, host: Option<&Host>, path: &str, local_port: u16) -> Found<'_> {
        let exact = self.routes.get(path);
        let below = self.below.iter().filter(|(above, _)| is_below(path, above));
        let all = exact.into_iter().chain(below.map(|(_, routes)| routes));
        all.map(|routes| choose(routes, host, local_port))
            .find(|found| !matches!(found, Found::Nothing))
            .unwrap_or(Found::Nothing)
    }
}

/// Says whether `path` is `above` or something below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above.ends_with('/'))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m17_a_path_is_below_whole_segments_alone() {
        for (path, above, expected) in [
            ("/", "/", true),
            ("/a", "/", true),
            ("/site", "/site", true),
            ("/site/", "/site", true),
            ("/site/a/b", "/site", true),
            ("/sites", "/site", false),
            ("/sit", "/site", false),
            ("/site", "/site/", false),
            ("/site/a", "/site/", true),
        ] {
            assert_eq!(is_below(path, above), expected, "{path} below {above}");
        }
    }
}
