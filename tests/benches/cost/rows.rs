//! What is measured: the rows of the table.

use crate::load::Work;
use crate::material::{Credential, EPHEMERAL, PROXIED};
use crate::programs::Program;

/// Bytes of a small message.
const SMALL: usize = 125;
/// Bytes of a large message.
const LARGE: usize = 16 * 1024;
/// Members that get what one sends.
const MEMBERS: usize = 1000;

/// What the servers are there for in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// They answer themselves.
    Own,
    /// They answer themselves; proxies have nothing of the kind.
    Service,
    /// They pass on to the floor.
    Proxy,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) part: Part,
    pub(crate) tls: bool,
    credential: Credential,
    /// What the floor is asked for instead, where it has nothing of the kind.
    floor: Credential,
    pub(crate) log_level: &'static str,
    /// It differs from another row in what only ours has.
    ours_alone: bool,
}

const fn row(name: &'static str, work: Work, credential: Credential) -> Row {
    Row {
        name,
        work,
        part: Part::Own,
        tls: false,
        credential,
        floor: credential,
        log_level: "info",
        ours_alone: false,
    }
}

impl Row {
    const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    const fn beside(mut self, floor: Credential) -> Self {
        self.floor = floor;
        self
    }

    const fn quiet(mut self) -> Self {
        self.log_level = "warn";
        self.ours_alone = true;
        self
    }

    const fn ours_alone(mut self) -> Self {
        self.ours_alone = true;
        self
    }

    const fn part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// Returns what this program is shown; `None` if the row is none of its business.
    pub(crate) fn asked_of(&self, program: &Program) -> Option<Credential> {
        match program {
            Program::Gateway(_) => Some(self.credential),
            // It has no upstream.
            Program::Floor(_) => (self.part != Part::Proxy).then_some(self.floor),
            Program::Haproxy(_) | Program::Nginx(_) => {
                let credential = match self.credential {
                    Credential::Ephemeral(_) => Credential::Plain,
                    Credential::None => Credential::PlainNone,
                    Credential::PlainNone
                    | Credential::Plain
                    | Credential::User
                    | Credential::Fresh(_)
                    | Credential::Repeated(_)
                    | Credential::Keyed
                    | Credential::Ended(_) => self.credential,
                };
                (self.part != Part::Service && !self.ours_alone).then_some(credential)
            }
            Program::Library(..) => {
                let fits = !self.tls && self.part != Part::Proxy && !self.ours_alone;
                (fits && !matches!(self.work, Work::Broadcast { .. })).then_some(self.credential)
            }
        }
    }
}

const fn echo(name: &'static str, bytes: usize, depth: usize) -> Row {
    row(name, Work::Echo { bytes, depth }, EPHEMERAL).part(Part::Service)
}

const fn proxied(name: &'static str, bytes: usize, depth: usize) -> Row {
    row(name, Work::Echo { bytes, depth }, PROXIED).part(Part::Proxy)
}

const fn broadcast(name: &'static str, outstanding: usize) -> Row {
    let work = Work::Broadcast {
        members: MEMBERS,
        bytes: SMALL,
        outstanding,
    };
    row(name, work, Credential::Ephemeral("/broadcast")).part(Part::Service)
}

pub(crate) static ROWS: &[Row] = &[
    row("upgrade, Basic (HMAC)", Work::Upgrade, EPHEMERAL),
    row("upgrade, Basic (HMAC), log warn", Work::Upgrade, EPHEMERAL).quiet(),
    row(
        "upgrade, Basic (bcrypt), repeated",
        Work::Upgrade,
        Credential::User,
    )
    .beside(EPHEMERAL)
    .ours_alone(),
    row("upgrade, ES256", Work::Upgrade, Credential::Fresh("ES256")),
    row("upgrade, RS256", Work::Upgrade, Credential::Fresh("RS256")),
    row(
        "upgrade, ES256, repeated (floor: Basic)",
        Work::Upgrade,
        Credential::Repeated("ES256"),
    )
    .beside(EPHEMERAL),
    row("401, new connection", Work::Refusal, Credential::None),
    row("401, new connection, log warn", Work::Refusal, Credential::None).quiet(),
    row("401, kept alive", Work::KeptRefusal, Credential::None),
    row("401, kept alive, log warn", Work::KeptRefusal, Credential::None).quiet(),
    row("upgrade, TLS 1.3, Basic (HMAC)", Work::Upgrade, EPHEMERAL).tls(),
    row(
        "upgrade, TLS 1.3, ES256",
        Work::Upgrade,
        Credential::Fresh("ES256"),
    )
    .tls(),
    echo("echo 125 B, depth 1", SMALL, 1),
    echo("echo 125 B, depth 16", SMALL, 16),
    echo("echo 16 KiB, depth 4", LARGE, 4),
    echo("echo 125 B, depth 1, TLS", SMALL, 1).tls(),
    echo("echo 16 KiB, depth 4, TLS", LARGE, 4).tls(),
    proxied("proxied echo 125 B, depth 1", SMALL, 1),
    proxied("proxied echo 125 B, depth 16", SMALL, 16),
    proxied("proxied echo 16 KiB, depth 4", LARGE, 4),
    broadcast("broadcast to 1,000, 1 outstanding", 1),
    broadcast("broadcast to 1,000, 16 outstanding", 16),
    row("idle", Work::Idle, EPHEMERAL).part(Part::Own),
    row("idle, TLS", Work::Idle, EPHEMERAL).tls(),
];
