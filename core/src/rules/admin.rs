//! The admin listener as a server of its own kind: its hosts are loopback names, its paths fixed.

use std::collections::BTreeMap;

use super::build::Builder;
use super::{Route, Server, Target};
use crate::auth::revoked::Listed;
use crate::config::{self, FileRef};
use crate::http::{HostPattern, Status};
use crate::secret::{Secret, constant_time_eq};

/// The name of the admin listener in the log. No other server may have it.
pub(crate) const ADMIN: &str = "admin";

/// The length in bytes under which a token is called guessable: 16 random characters of base64 are 96 bits.
const GOOD_TOKEN_BYTES: usize = 16;

/// The hosts that the admin listener answers for, on whatever port: a page that has rebound its name
/// to a loopback address names another one.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the admin listener has at one of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminPath {
    Health,
    Metrics,
    Revoke,
}

impl AdminPath {
    const ALL: [(&'static str, Self); 3] = [
        ("/healthz", Self::Health),
        ("/metrics", Self::Metrics),
        ("/revoke", Self::Revoke),
    ];

    /// Returns the methods, as `Allow` lists them.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Health | Self::Metrics => "GET, HEAD",
            Self::Revoke => "POST",
        }
    }
}

/// What an administrator has to present.
#[derive(Debug)]
pub(crate) struct AdminToken(Secret<Vec<u8>>);

impl AdminToken {
    /// Takes the token out of a file. White space around it is not a part of it.
    fn parse(file: &[u8]) -> Result<Self, &'static str> {
        let token = file.trim_ascii();
        if token.is_empty() {
            return Err("the token is empty: put some random characters into the file");
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err("the token has to be one line of printable ASCII characters without spaces");
        }
        Ok(Self(Secret::new(token.to_vec())))
    }

    /// Says whether `presented` is the token, in a time that depends on its length alone.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        constant_time_eq(self.0.expose(), presented)
    }
}

impl Builder<'_> {
    /// Builds the server of the admin listener.
    pub(super) fn admin(&mut self, admin: &config::Admin) -> Option<Server> {
        if admin.revocations.is_none() && self.config.bus.is_none() {
            self.warnings.push(
                "admin: what is posted to /revoke is forgotten at a restart: name a file in \
                 \"revocations\", and copy the revocation lines of the log into it"
                    .to_owned(),
            );
        }
        let token = AdminToken::parse(self.bytes(&admin.token))
            .map_err(|error| self.fault(&admin.token, None, error))
            .ok()?;
        if token.0.expose().len() < GOOD_TOKEN_BYTES {
            self.warnings.push(format!(
                "{}: the token is shorter than {GOOD_TOKEN_BYTES} characters, and whoever guesses it closes \
                 sockets: make one with openssl rand -hex 32",
                admin.token.path.display()
            ));
        }
        let route = |(path, kind): (&str, AdminPath)| {
            let route = Route {
                host: None,
                port: None,
                to: Target::Admin(kind),
            };
            (path.to_owned(), vec![route])
        };
        Some(Server {
            id: ADMIN.into(),
            listen: admin.listen.clone(),
            tls: None,
            hosts: HOSTS
                .iter()
                .filter_map(|host| HostPattern::parse(host).ok())
                .collect(),
            unknown_host: Status::MisdirectedRequest,
            health: None,
            hsts: None,
            balancers: Vec::new(),
            routes: AdminPath::ALL.into_iter().map(route).collect::<BTreeMap<_, _>>(),
            below: Vec::new(),
            admin: Some(token),
        })
    }

    /// Reads the file of revocations.
    pub(super) fn listed(&mut self, file: Option<&FileRef>) -> Listed {
        let Some(file) = file else {
            return Listed::default();
        };
        Listed::parse(self.bytes(file)).unwrap_or_else(|errors| {
            for (line, error) in errors {
                self.fault(file, Some(line), error);
            }
            Listed::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_one_line_without_its_end() {
        let is = |file: &[u8], token: &[u8]| AdminToken::parse(file).is_ok_and(|known| known.is(token));
        assert!(is(b"s3cret\r\n", b"s3cret") && is(b"s3cret", b"s3cret"));
        assert!(!is(b"s3cret", b"s3cre") && !is(b"s3cret", b"s3creT") && !is(b"s3cret", b""));
        for bad in [&b""[..], b"\n", b"two words", b"two\nlines", b"\xff", b"a\0"] {
            assert!(AdminToken::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
