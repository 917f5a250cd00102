//! What nodes share: how sessions, tickets and revocations are written for Redis and read from it, and
//! what is told to the other nodes.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Gateway;
use super::names::Names;
use super::proof::Proof;
use super::revocations::Entry;
use super::session::{Ended, Key, Membership, Session};
use super::sessions::UNUSED;
use super::tickets::{Bound, Ticket};
use crate::auth::basis::{Basis, optional, time, time_of};
use crate::auth::grant::Grant;
use crate::auth::json;
use crate::auth::realm::Realm;
use crate::auth::revoked::Revoked;
use crate::bus::{Bus, Kind, News, Node, Stamp, Standing, key_of};
use crate::exchange::redis::{Reply, write_command};
use crate::http::Origin;
use crate::hub::SHARED_BYTES;
use crate::secret::Secret;
use crate::time::{Deadline, Now};

/// What another node has left under the key of a session.
pub(crate) enum Left {
    /// The session.
    Session(Box<Proof>, Deadline),
    /// It has ended.
    Ended(Ended, Deadline),
}

/// What is to be sent next, so that the other nodes know what this one knows.
#[derive(Debug)]
pub(crate) enum Telling {
    /// A command whose answer says nothing.
    Command(Vec<u8>),
    /// A command whose answer is what others have left under the key of a session.
    Session(Key, Vec<u8>),
    /// A command whose answer is the last value of a data point.
    Point(Arc<str>, Vec<u8>),
    /// News for the others.
    News(News, Vec<u8>),
}

impl Gateway {
    pub(crate) fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// Says whether it is not known yet what is revoked: nobody new is let in meanwhile.
    pub(crate) fn is_reading(&self) -> bool {
        self.bus().is_some_and(|bus| bus.standing() == Standing::Reading)
    }

    /// Has the gateway do without its bus, as while Redis is away: nobody is going to dial it.
    pub(crate) fn on_its_own(&self) {
        if let Some(bus) = self.bus() {
            bus.desk().stand(Standing::Away);
        }
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            entropy: &self.entropy,
            bus: self.bus(),
        }
    }

    /// Returns the value that belongs to `message` on a login page: every node takes another's.
    pub(crate) fn csrf_tag(&self, message: &[u8]) -> [u8; 32] {
        match self.bus() {
            Some(bus) => bus.name(Kind::Csrf, message),
            None => self.entropy.tagged(crate::entropy::Label::CsrfField, message),
        }
    }

    /// Begins a session for `proof` and returns its id. `replaced` is the id that the browser had.
    pub(crate) fn open_session(
        &self,
        realm: &Realm,
        proof: Proof,
        replaced: Option<&[u8]>,
        now: Now,
    ) -> Secret<String> {
        let limit = self.rules().limits.sessions;
        let (id, key) = self
            .sessions
            .open(self.names(), realm, proof, replaced, limit, now);
        if let Some(bus) = self.bus() {
            if let Some(session) = self.sessions.own(&key, now)
                && let Some(value) = self.session_value(bus, &session)
            {
                let life = millis(session.ends(), now);
                bus.tell(&[b"SET", &key_of(&key), &value, b"PX", life.as_bytes()]);
            }
            bus.desk().ring();
        }
        id
    }

    /// Ends a session, and its sockets here and on the other nodes.
    pub(crate) fn close_session(&self, session: &Arc<Session>, now: Now) {
        self.sessions.log_out(session, now);
        if let Some(bus) = self.bus() {
            bus.desk().ring();
        }
    }

    /// Takes note that a socket of a session is in use.
    pub(crate) fn session_used(&self, membership: &Membership, now: Now) {
        let used = self.sessions.used(membership, now);
        if let (Some(bus), Some((key, ends))) = (self.bus(), used) {
            bus.tell(&[b"PEXPIRE", &key_of(&key), millis(ends, now).as_bytes()]);
        }
    }

    /// Takes in what was left under the key of a session; `None` if that is no session any more.
    pub(crate) fn session_found(&self, key: Key, left: &Reply, now: Now) -> Option<Arc<Session>> {
        let bus = self.bus()?;
        match self.read_session(bus, &key, left, now)? {
            Left::Session(proof, ends) => {
                let limit = self.rules().limits.sessions;
                let session = self.sessions.take_in(key, (*proof, ends), limit, now)?;
                bus.tell(&[b"PEXPIRE", &key_of(&key), millis(ends, now).as_bytes()]);
                Some(session)
            }
            Left::Ended(why, until) => {
                self.sessions.ended_elsewhere(key, why, until, now);
                None
            }
        }
    }

    /// Takes in what others have left under the key of a session that this node knows.
    pub(crate) fn session_checked(&self, key: Key, left: &Reply, now: Now) {
        let Some(bus) = self.bus() else { return };
        if let Some(Left::Ended(why, until)) = self.read_session(bus, &key, left, now) {
            self.sessions.ended_elsewhere(key, why, until, now);
        }
    }

    fn session_value(&self, bus: &Bus, session: &Session) -> Option<Vec<u8>> {
        let value = json!({"ends": time(session.ends().unix), "proof": carried(session.proof())});
        self.seal(bus, &key_of(&session.key()), &value)
    }

    fn read_session(&self, bus: &Bus, key: &Key, left: &Reply, now: Now) -> Option<Left> {
        let Reply::Bulk(sealed) = left else {
            return None;
        };
        let (_, value) = bus.open(&key_of(key), sealed)?;
        let value = json::object(&value).ok()?;
        if let Some((why, until)) = ended_of(&value, now) {
            return Some(Left::Ended(why, until));
        }
        let ends = Deadline::at_unix(time_of(value.get("ends")?)?, now);
        let proof = proof_of(value.get("proof")?, now)?;
        Some(Left::Session(Box::new(proof), ends))
    }

    /// Returns the command that stores an unspent ticket, if it is shared with other nodes.
    pub(crate) fn ticket_words(&self, ticket: &str, now: Now) -> Option<Vec<Vec<u8>>> {
        let bus = self.bus()?;
        let key = &self.names().ticket(ticket.as_bytes());
        let (value, life) = self.tickets.with(key, |ticket| {
            let bound = &ticket.bound;
            let sessions = ticket.proof.sessions.iter();
            let value = json!({
                "ends": time(ticket.ends.unix),
                "server": &*bound.server,
                "endpoint": bound.endpoint,
                "origin": bound.origin.as_ref().map(ToString::to_string),
                "proof": carried(&ticket.proof),
                "sessions": sessions.map(|session| text(&session.key())).collect::<Vec<_>>(),
            });
            (value, millis(ticket.ends, now))
        })?;
        let name = key_of(key);
        let sealed = self.seal(bus, &name, &value)?;
        Some(vec![
            b"SET".to_vec(),
            name,
            sealed,
            b"PX".to_vec(),
            life.into_bytes(),
        ])
    }

    /// Reads the ticket that was taken from Redis, which is spent by that, and the keys of the sessions
    /// that it depends on. `None`: there is no such ticket; the flag says that it was used already.
    pub(super) fn ticket_found(&self, key: &Key, left: &Reply, now: Now) -> Result<(Ticket, Vec<Key>), bool> {
        let known = self.tickets.spent(key);
        let read = || {
            let bus = self.bus()?;
            let Reply::Bulk(sealed) = left else {
                return None;
            };
            let (_, value) = bus.open(&key_of(key), sealed)?;
            let value = Value::Object(json::object(&value).ok()?);
            bus.tell_news(News::TicketSpent, key);
            let origin = |text: &Value| Origin::parse(text.as_str()?.as_bytes()).ok();
            let ticket = Ticket {
                proof: proof_of(value.get("proof")?, now)?,
                bound: Bound {
                    server: value.get("server")?.as_str()?.into(),
                    endpoint: optional(&value, "endpoint", |path| path.as_str().map(str::to_owned))?,
                    origin: optional(&value, "origin", origin)?,
                },
                ends: Deadline::at_unix(time_of(value.get("ends")?)?, now),
            };
            let sessions = value.get("sessions")?.as_array()?.iter();
            Some((ticket, sessions.map(key_from).collect::<Option<_>>()?))
        };
        // Whoever stands between could hand out a ticket twice: not at the node that knows it is spent.
        if known {
            return Err(true);
        }
        read().ok_or(false)
    }

    fn seal(&self, bus: &Bus, place: &[u8], value: &Value) -> Option<Vec<u8>> {
        let text = Zeroizing::new(serde_json::to_vec(value).ok()?);
        bus.seal(place, &text, &self.entropy)
    }

    /// Has everything told to the other nodes that is not found to be known there.
    pub(crate) fn tell_all(&self) {
        self.revocations.tell_all();
        self.sessions.tell_all();
        self.hub.begin_telling();
    }

    /// Returns the questions for the last values of all data points.
    pub(crate) fn points(&self) -> Vec<Telling> {
        let Some(bus) = self.bus() else {
            return Vec::new();
        };
        let ask = |point: &Arc<str>| {
            let key = key_of(&bus.name(Kind::Point, point.as_bytes()));
            Telling::Point(Arc::clone(point), command(&[b"GET", &key]))
        };
        self.rules().points.iter().map(ask).collect()
    }

    /// Takes in what Redis says about a data point.
    pub(crate) fn point_said(&self, point: &Arc<str>, said: &Reply) {
        let Some(bus) = self.bus() else { return };
        let said = match said {
            Reply::Bulk(sealed) => {
                let key = key_of(&bus.name(Kind::Point, point.as_bytes()));
                bus.open(&key, sealed).and_then(|(_, value)| {
                    let (stamp, state) = Stamp::take(&value)?;
                    Some((Bytes::copy_from_slice(state), stamp))
                })
            }
            Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Array(_) | Reply::Nil => None,
        };
        self.hub.take_in(point, said);
    }

    /// Adds the writes that the other nodes are to be told of, some megabyte of them.
    fn untold_points(&self, bus: &Bus, tellings: &mut Vec<Telling>) {
        let mut bytes = 0;
        while bytes < POINTS_AT_ONCE
            && let Some(write) = self.hub.take_untold()
        {
            let key = key_of(&bus.name(Kind::Point, write.point.as_bytes()));
            let value = [&write.stamp.to_bytes()[..], &write.state].concat();
            let sealed = bus.seal(&key, &value, &self.entropy);
            let Some(sealed) = sealed.filter(|_| write.state.len() <= SHARED_BYTES) else {
                bus.desk().drop_one();
                continue;
            };
            bytes += sealed.len();
            tellings.push(Telling::Command(command(&[b"SET", &key, &sealed])));
            let length = u32::try_from(write.point.len()).unwrap_or(u32::MAX).to_be_bytes();
            let news = [&length[..], write.point.as_bytes(), &sealed].concat();
            tellings.push(Telling::News(News::Point, news));
        }
    }

    /// Acts on a write of another node to a data point that is served here too.
    fn point_written(&self, body: &[u8]) -> Option<()> {
        let (length, rest) = body.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (name, sealed) = rest.split_at_checked(length)?;
        let name = str::from_utf8(name).ok()?;
        let point = self.rules().points.get(name).map(Arc::clone)?;
        let key = key_of(&self.bus()?.name(Kind::Point, point.as_bytes()));
        let (_, value) = self.bus()?.open(&key, sealed)?;
        let (stamp, state) = Stamp::take(&value)?;
        self.hub
            .take_in(&point, Some((Bytes::copy_from_slice(state), stamp)));
        Some(())
    }

    /// Returns the key of all revocations.
    pub(crate) fn revocations_key(bus: &Bus) -> Vec<u8> {
        key_of(&bus.name(Kind::Revocations, b""))
    }

    /// Returns what the other nodes are to be told next, some `limit` things of each kind.
    pub(crate) fn tellings(&self, limit: usize, now: Now) -> Vec<Telling> {
        let Some(bus) = self.bus() else {
            return Vec::new();
        };
        let mut tellings = Vec::new();
        let revocations = Self::revocations_key(bus);
        for (revoked, entry) in self.revocations.take_untold(limit) {
            let members = Value::Object(revoked.members());
            let field = field(bus, &members);
            let value = json!({
                "what": members,
                "until": time(entry.until.unix),
                "lifted": entry.lifted,
                "time": time(entry.stamp.time),
                "node": text(&entry.stamp.node.0),
            });
            let place = [&revocations[..], &field].concat();
            let Some(sealed) = self.seal(bus, &place, &value) else {
                continue;
            };
            let words = command(&[b"HSET", &revocations, &field, &sealed]);
            tellings.push(Telling::Command(words));
            let news = [&field[..], &sealed].concat();
            tellings.push(Telling::News(News::Revocation, news));
        }
        for (key, why, until) in self.sessions.take_graves(limit) {
            let value = json!({"ended": why.name(), "until": time(until.unix)});
            let name = key_of(&key);
            let Some(sealed) = self.seal(bus, &name, &value) else {
                continue;
            };
            let life = at_least_one(until.unix.since(now.unix));
            tellings.push(Telling::Command(command(&[
                b"SET",
                &name,
                &sealed,
                b"PX",
                life.as_bytes(),
            ])));
            tellings.push(Telling::News(News::SessionEnded, [&key[..], &sealed].concat()));
        }
        for (key, session) in self.sessions.take_lost(limit, now) {
            let name = key_of(&key);
            if let Some(sealed) = self.session_value(bus, &session) {
                let life = millis(session.ends(), now);
                let words = [b"SET", &name[..], &sealed, b"NX", b"PX", life.as_bytes()];
                tellings.push(Telling::Command(command(&words)));
                tellings.push(Telling::Session(key, command(&[b"GET", &name])));
            }
        }
        self.untold_points(bus, &mut tellings);
        tellings
    }

    /// Returns the questions whether the sessions of other nodes that have sockets here still live.
    pub(crate) fn foreign_sessions(&self) -> Vec<Telling> {
        let ask = |key: Key| Telling::Session(key, command(&[b"GET", &key_of(&key)]));
        self.sessions.foreign().into_iter().map(ask).collect()
    }

    /// Returns the command that removes revocations that are long over from Redis.
    pub(crate) fn sweep_revocations(&self, now: Now) -> Option<Vec<u8>> {
        let bus = self.bus()?;
        let over = self.revocations.take_over(now);
        if over.is_empty() {
            return None;
        }
        let fields = over
            .iter()
            .map(|revoked| field(bus, &Value::Object(revoked.members())));
        let fields: Vec<_> = fields.collect();
        let key = Self::revocations_key(bus);
        let words = [&b"HDEL"[..], &key].into_iter();
        let words: Vec<_> = words.chain(fields.iter().map(Vec::as_slice)).collect();
        Some(command(&words))
    }

    /// Takes in a page of revocations: fields and values in turn. Returns whether all had room.
    pub(crate) fn take_page(&self, page: &[Reply], now: Now) -> bool {
        let (mut news, mut fits) = (false, true);
        for pair in page.chunks_exact(2) {
            if let [Reply::Bulk(field), Reply::Bulk(sealed)] = pair {
                match self.take_revocation(field, sealed, now) {
                    Ok(new) => news |= new,
                    Err(()) => fits = false,
                }
            }
        }
        if news {
            self.end_revoked(now);
            self.ring_all();
        }
        fits
    }

    fn take_revocation(&self, field: &[u8], sealed: &[u8], now: Now) -> Result<bool, ()> {
        let Some((revoked, entry)) = self.read_revocation(field, sealed, now) else {
            return Ok(false);
        };
        let taken = self.revocations.take_in(revoked, entry, now);
        taken.map_err(|_| ())
    }

    fn read_revocation(&self, field: &[u8], sealed: &[u8], now: Now) -> Option<(Revoked, Entry)> {
        let bus = self.bus()?;
        let place = [&Self::revocations_key(bus)[..], field].concat();
        let (_, value) = bus.open(&place, sealed)?;
        let mut value = json::object(&value).ok()?;
        let what = value.get_mut("what")?.as_object_mut()?;
        let revoked = Revoked::take(what).ok().filter(|_| what.is_empty())?;
        let node = URL_SAFE_NO_PAD.decode(value.get("node")?.as_str()?).ok()?;
        let entry = Entry {
            until: Deadline::at_unix(time_of(value.get("until")?)?, now),
            lifted: value.get("lifted")?.as_bool()?,
            stamp: Stamp {
                time: time_of(value.get("time")?)?,
                node: Node(node.try_into().ok()?),
            },
        };
        Some((revoked, entry))
    }

    /// Acts on what another node tells. Returns whether there was room for it.
    pub(crate) fn hear_news(&self, news: News, body: &[u8], now: Now) -> bool {
        match news {
            News::Revocation => {
                let Some((field, sealed)) = body.split_at_checked(FIELD_BYTES) else {
                    return true;
                };
                match self.take_revocation(field, sealed, now) {
                    Ok(true) => {
                        self.end_revoked(now);
                        self.ring_all();
                    }
                    Ok(false) => {}
                    Err(()) => return false,
                }
            }
            News::SessionEnded => {
                if let Some((key, sealed)) = body.split_first_chunk::<32>() {
                    self.session_checked(*key, &Reply::Bulk(sealed.to_vec()), now);
                }
            }
            News::Point => {
                // A point that is not served here is nobody's.
                let _ = self.point_written(body);
            }
            // The link has the topics, and does not ask here.
            News::Said => {}
            News::TicketSpent => {
                if let Ok(key) = body.try_into() {
                    self.tickets.spent(&key);
                }
            }
        }
        true
    }
}

/// Bytes of values of data points that are told at once.
const POINTS_AT_ONCE: usize = 1024 * 1024;

/// Bytes of the field of a revocation: a name as text.
const FIELD_BYTES: usize = 43;

/// Returns the field of a revocation.
fn field(bus: &Bus, members: &Value) -> Vec<u8> {
    // Maps are written in the order of their names: the same on every node.
    let about = serde_json::to_vec(members).unwrap_or_default();
    text(&bus.name(Kind::Revocation, &about)).into_bytes()
}

fn carried(proof: &Proof) -> Value {
    json!({"grant": proof.grant.carried(), "basis": proof.basis.carried()})
}

fn proof_of(value: &Value, now: Now) -> Option<Proof> {
    Some(Proof {
        grant: Arc::new(Grant::from_carried(value.get("grant")?, now)?),
        basis: Basis::from_carried(value.get("basis")?, now)?,
        sessions: Vec::new(),
    })
}

fn ended_of(value: &Map<String, Value>, now: Now) -> Option<(Ended, Deadline)> {
    let why = Ended::from_name(value.get("ended")?.as_str()?)?;
    let until = Deadline::at_unix(time_of(value.get("until")?)?, now);
    Some((why, until))
}

/// Returns how long Redis keeps a session that is used now, in milliseconds.
fn millis(ends: Deadline, now: Now) -> String {
    at_least_one(ends.unix.since(now.unix).min(UNUSED))
}

fn at_least_one(life: Duration) -> String {
    life.as_millis().max(1).to_string()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key_from(value: &Value) -> Option<Key> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut command = Vec::new();
    write_command(&mut command, words);
    command
}
