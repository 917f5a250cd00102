//! Services: where they are reached, and who may enter.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::error::Place;
use super::super::model::{Accept, Access, Carrier, Service, ServiceKind};
use super::super::view::{Item, View};
use super::super::{address, syntax};
use super::{Builder, Known};

/// The longest time from one factor to the next (R6).
const LONGEST_STEP_UP: Duration = Duration::from_secs(30);

/// Members that say something about a credential, which a public service has none of.
const NEED_A_REALM: [&str; 4] = ["carriers", "requireRoles", "requireScopes", "acl"];

impl Builder<'_, '_> {
    pub(super) fn service(&mut self, name: &str, item: &Item<'_>) -> Option<Service> {
        let view = item.clone().object()?;
        let place = view.place();
        let access = self.access(&view, &place);
        let require_roles = self.require_roles(&view);
        let subprotocols = view.texts("subprotocols");
        let require_subprotocol = view.boolean("requireSubprotocol");
        if let Some(item) = view
            .item("requireSubprotocol")
            .filter(|_| require_subprotocol && subprotocols.is_empty())
        {
            self.report.add(
                item.place(),
                "needs \"subprotocols\": without them every client is refused",
            );
        }
        let kind = match view.tag()? {
            "echo" => ServiceKind::Echo,
            "broadcast" => ServiceKind::Broadcast,
            "points" => ServiceKind::Points,
            "proxy" => ServiceKind::Proxy,
            "directory" => ServiceKind::Directory,
            _ => return None,
        };
        let (accept, endpoints) = match kind {
            ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Directory | ServiceKind::Proxy => {
                (self.accept(&view, kind)?, BTreeMap::new())
            }
            ServiceKind::Points => endpoints(&view),
        };
        let proxy = match kind {
            ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Points | ServiceKind::Directory => None,
            ServiceKind::Proxy => Some(self.proxy(&view, &accept)?),
        };
        Some(Service {
            name: name.to_owned(),
            kind,
            accept,
            endpoints,
            mailbox_bytes: match kind {
                ServiceKind::Broadcast => view.size("mailboxBytes")?,
                ServiceKind::Echo | ServiceKind::Points | ServiceKind::Directory | ServiceKind::Proxy => 0,
            },
            directory: match kind {
                ServiceKind::Directory => Some(view.file("directory")?),
                ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Points | ServiceKind::Proxy => None,
            },
            access: access?,
            enabled: view.boolean("enabled"),
            carriers: self.carriers(&view),
            origins: view.item("origins").map(|item| item.texts()),
            allow_missing_origin: view.boolean("allowMissingOrigin"),
            require_roles,
            require_scopes: view.texts("requireScopes"),
            acl: self.acl(&view),
            subprotocols,
            require_subprotocol,
            idle_timeout: view.duration("idleTimeout"),
            ping_interval: view.duration("pingInterval")?,
            step_up_lifetime: self.step_up_lifetime(&view)?,
            proxy,
            place,
        })
    }

    /// Reads the paths of a service. What ends in `/*` stands for everything below, behind a proxy alone.
    fn accept(&mut self, view: &View<'_>, kind: ServiceKind) -> Option<Vec<Accept>> {
        let entries = view.list("accept")?;
        let mut accept: Vec<Accept> = entries.iter().filter_map(accept).collect();
        for accept in accept.iter_mut().filter(|accept| accept.path.ends_with("/*")) {
            accept.below = kind == ServiceKind::Proxy;
            if !accept.below {
                let message = "only the path of a proxy ends in /*";
                self.report.add(accept.place.clone(), message);
            }
        }
        Some(accept)
    }

    /// Reads `stepUpLifetime`: who holds an identity for long holds half a login.
    fn step_up_lifetime(&mut self, view: &View<'_>) -> Option<Duration> {
        let lifetime = view.duration("stepUpLifetime")?;
        if let Some(item) = view.item("stepUpLifetime").filter(|_| lifetime > LONGEST_STEP_UP) {
            let message = format!("at most {} seconds", LONGEST_STEP_UP.as_secs());
            self.report.add(item.place(), message);
        }
        Some(lifetime)
    }

    fn access(&mut self, view: &View<'_>, place: &Place) -> Option<Access> {
        let realm = view.item("realm");
        match (view.boolean("public"), realm) {
            (true, None) => {
                for item in NEED_A_REALM.iter().filter_map(|name| view.item(name)) {
                    self.report.add(
                        item.place(),
                        "needs a \"realm\": a public service takes no credential",
                    );
                }
                Some(Access::Public)
            }
            (true, Some(item)) => {
                self.report
                    .add(item.place(), "\"realm\" and \"public\" exclude each other");
                None
            }
            (false, None) => {
                let message = "needs a \"realm\", or \"public\": true for everybody";
                self.report.add(place.clone(), message);
                None
            }
            (false, Some(_)) => {
                let entries = view.list("realm")?;
                let realms = self.resolve(&entries, "realm", Known::Realms);
                (!realms.is_empty()).then_some(Access::Realms(realms))
            }
        }
    }

    fn require_roles(&mut self, view: &View<'_>) -> Vec<String> {
        let entries = view.list("requireRoles").unwrap_or_default();
        let everybody = entries.iter().find(|entry| entry.text() == Some("*"));
        match everybody {
            Some(_) if entries.len() == 1 => Vec::new(),
            Some(entry) => {
                let message = "\"*\" stands alone: with other roles it would be unclear which are needed";
                self.report.add(entry.place(), message);
                Vec::new()
            }
            None => self.use_roles(&entries),
        }
    }

    /// Reads the member `carriers` of a service or realm. `None` if it is absent.
    pub(super) fn carriers(&mut self, view: &View<'_>) -> Option<Vec<Carrier>> {
        let mut carriers: Vec<Carrier> = Vec::new();
        for entry in view.list("carriers")? {
            let Some(carrier) = entry.text().and_then(|text| syntax::carrier(text).ok()) else {
                continue;
            };
            // Exact repetitions are the list's own error; names of fields also compare regardless of case.
            let same = |other: &Carrier| match (other, &carrier) {
                (Carrier::Header(a), Carrier::Header(b)) => a != b && a.eq_ignore_ascii_case(b),
                (
                    Carrier::Authorization
                    | Carrier::Header(_)
                    | Carrier::Query(_)
                    | Carrier::Cookie(_)
                    | Carrier::Subprotocol(_),
                    _,
                ) => false,
            };
            if let Some(first) = carriers.iter().position(same) {
                self.report.add(
                    entry.place(),
                    format!("repeats entry {first}: field names ignore case"),
                );
            }
            carriers.push(carrier);
        }
        Some(carriers)
    }
}

fn accept(entry: &Item<'_>) -> Option<Accept> {
    let (scheme, host, port, path) = address::accept(entry.text()?).ok()?;
    Some(Accept {
        scheme,
        host,
        port,
        path,
        below: false,
        place: entry.place(),
    })
}

/// Reads the data points of a service, or of a server in short form: where they are, and their names.
pub(super) fn endpoints(view: &View<'_>) -> (Vec<Accept>, BTreeMap<String, String>) {
    let endpoints = view.map("endpoints");
    let place = |(path, item): &(&str, Item<'_>)| Accept {
        scheme: None,
        host: None,
        port: None,
        path: (*path).to_owned(),
        below: false,
        place: item.place(),
    };
    let name = |(path, item): &(&str, Item<'_>)| Some(((*path).to_owned(), item.owned()?));
    (
        endpoints.iter().map(place).collect(),
        endpoints.iter().filter_map(name).collect(),
    )
}
