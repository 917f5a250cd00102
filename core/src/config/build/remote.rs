//! Verifiers elsewhere: key sets by URL and introspection.

use super::super::endpoint::{self, Endpoint};
use super::super::modules::{Introspection, Verification};
use super::super::view::View;
use super::Builder;
use super::realm::{claims, claims_mode};

impl Builder<'_, '_> {
    /// Reads `url`, `caFile` and `plaintext` of an object.
    fn endpoint(&mut self, view: &View<'_>) -> Option<Endpoint> {
        let item = view.item("url")?;
        let parts = endpoint::url(item.text()?).ok()?;
        let ca_file = view.file("caFile");
        if !parts.tls && !endpoint::is_loopback(&parts.host) && !view.boolean("plaintext") {
            let message = "without TLS credentials and keys would pass in the open: use https://, or say \
                           \"plaintext\": true if nobody else is on the way";
            self.report.add(item.place(), message);
        }
        if let Some(item) = view.item("caFile").filter(|_| !parts.tls) {
            self.report.add(
                item.place(),
                "the URL begins with http://: no certificate is checked",
            );
        }
        Some(Endpoint {
            url: parts.url,
            host: parts.host,
            port: parts.port,
            tls: parts.tls,
            ca_file,
            place: item.place(),
        })
    }

    pub(super) fn introspection(&mut self, view: &View<'_>) -> Option<Introspection> {
        let any_audience = view.boolean("anyAudience");
        match view.item("audience") {
            Some(item) if any_audience => {
                let message = "\"anyAudience\" is true: no audience is compared";
                self.report.add(item.place(), message);
            }
            None if !any_audience => {
                let message = "\"audience\" is required, so that a token for another service is refused; say \
                               \"anyAudience\": true if the issuer's answers name none";
                self.report.add(view.place(), message);
            }
            Some(_) | None => {}
        }
        Some(Introspection {
            endpoint: self.endpoint(view)?,
            client_id: view.owned("clientId")?,
            client_secret: view.file("clientSecretFile")?,
            cache_ttl: view.duration("cacheTtl")?,
            negative_ttl: view.duration("negativeTtl")?,
            timeout: view.duration("timeout")?,
            max_in_flight: view.size("maxInFlight")?,
            jwts: view.boolean("jwts"),
            issuer: view.owned("issuer"),
            audience: view.owned("audience"),
            claims: claims(view),
            claims_mode: claims_mode(view)?,
            roles: view.texts("roles"),
            leeway: view.duration("leeway")?,
        })
    }

    pub(super) fn verification(&mut self, view: &View<'_>) -> Option<Verification> {
        let (name, item) = view.single()?;
        let inner = item.object()?;
        if name == "jwks" {
            return self.jwks(&inner);
        }
        let (algorithm, key) = inner.single()?;
        let key = key.object()?.file("keyFile")?;
        match name {
            "publicKey" => Some(Verification::PublicKey { algorithm, key }),
            "secret" => Some(Verification::Secret { algorithm, key }),
            _ => None,
        }
    }

    fn jwks(&mut self, view: &View<'_>) -> Option<Verification> {
        match (view.file("keyFile"), view.item("url")) {
            (Some(keys), None) => {
                for name in ["refresh", "refetchInterval", "caFile", "plaintext"] {
                    if let Some(item) = view.item(name) {
                        let message = "only beside \"url\": a file is read again when it changes";
                        self.report.add(item.place(), message);
                    }
                }
                Some(Verification::Jwks { keys })
            }
            (None, Some(_)) => {
                let endpoint = self.endpoint(view)?;
                let (refresh, refetch_interval) =
                    (view.duration("refresh")?, view.duration("refetchInterval")?);
                if let Some(item) = view
                    .item("refetchInterval")
                    .filter(|_| refetch_interval > refresh)
                {
                    let message = "longer than \"refresh\", the longest time between two fetches";
                    self.report.add(item.place(), message);
                }
                Some(Verification::RemoteJwks {
                    endpoint,
                    refresh,
                    refetch_interval,
                })
            }
            (Some(_), Some(item)) => {
                let message = "\"keyFile\" and \"url\" exclude each other: which set counts?";
                self.report.add(item.place(), message);
                None
            }
            (None, None) => {
                let message = "\"keyFile\" or \"url\" is required: without keys no token passes";
                self.report.add(view.place(), message);
                None
            }
        }
    }
}
