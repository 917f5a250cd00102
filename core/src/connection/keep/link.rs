//! The way to Redis: two streams, one for commands and one for news. Both are there or neither is; one
//! that is lost is dialed again, a little later every time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::bridge::Bridge;
use crate::bell::Bell;
use crate::bus::{Bus, Expected, News, Order, Standing};
use crate::entropy::Label;
use crate::exchange::redis::{Reply, Wire, send, write_command};
use crate::exchange::{Fault, Line};
use crate::gateway::{Gateway, Telling};
use crate::leg::{Leg, LegEvent};
use crate::legs::Legs;
use crate::note::Note;
use crate::time::{Moment, Now};

/// How long it may take from the dial until everything that was revoked is known.
const OPENING: Duration = Duration::from_secs(5);

/// How often Redis is asked whether it is there, on both streams.
const PING: Duration = Duration::from_secs(10);

/// How long an answer may take before the streams are given up.
const SILENCE: Duration = Duration::from_secs(5);

/// First pause before a lost Redis is dialed again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause between two dials.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How often revocations that are long over are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Commands that are sent before the first of them is answered.
const PIPELINE: usize = 1024;

/// Bytes that wait to be sent before no more commands are taken.
const HIGH_WATER: usize = 1024 * 1024;

/// Revocations that are asked for at once, about.
const PAGE: &[u8] = b"128";

/// Things of one kind that are told at once.
const BATCH: usize = 128;

/// How things stand with Redis.
#[derive(Debug)]
pub(super) struct Link {
    /// The number of its connection, and its bell.
    own: (u64, Arc<Bell>),
    streams: Option<Streams>,
    /// When it is dialed again.
    dial: Moment,
    /// Dials in a row that led to nothing.
    failures: u32,
    /// What the operator was told last.
    told: Option<bool>,
    /// The operator knows that the table is full.
    told_full: bool,
    sweep: Moment,
}

/// Both streams.
#[derive(Debug)]
struct Streams {
    commands: Stream,
    news: Stream,
    stage: Stage,
    /// What the answers to commands are for, in order.
    expected: VecDeque<Expected>,
    /// When the streams are given up, unless something is answered before.
    until: Option<Moment>,
    /// When Redis is asked whether it is there.
    ping: Moment,
    /// The generation of the rules whose data points are known.
    points: u64,
    /// Its places in the topics of broadcast services, once everything is there.
    bridge: Bridge,
}

#[derive(Debug)]
struct Stream {
    leg: Leg,
    wire: Wire,
    /// Something was sent to which there is no answer yet, since then.
    asked: Option<Moment>,
}

/// How far the streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The streams are opened, and logins are under way.
    Opening,
    /// The channel is being subscribed.
    Subscribing,
    /// Revocations are being read.
    Reading,
    /// The last values of data points are being read.
    Loading,
    /// Everything is there.
    Up,
}

/// What happens beside.
struct Around<'a> {
    gateway: &'a Gateway,
    bus: &'a Bus,
    legs: &'a mut Legs,
    now: Now,
}

impl Link {
    pub(super) const fn new(own: (u64, Arc<Bell>), now: Now) -> Self {
        Self {
            own,
            streams: None,
            dial: now.at,
            failures: 0,
            told: None,
            told_full: false,
            sweep: now.at.after(SWEEP),
        }
    }

    /// Says whether `leg` is one of its streams.
    pub(super) fn is_on(&self, leg: Leg) -> bool {
        self.streams
            .as_ref()
            .is_some_and(|streams| streams.commands.leg == leg || streams.news.leg == leg)
    }

    /// Dials, sends what waits, and gives up what takes too long. Returns when to look again.
    pub(super) fn tick(
        &mut self,
        gateway: &Gateway,
        legs: &mut Legs,
        notes: &mut VecDeque<Note>,
        now: Now,
    ) -> Option<Moment> {
        let bus = gateway.bus()?;
        if self.streams.as_ref().is_some_and(|streams| streams.is_late(now)) {
            self.lose(gateway, legs, notes, (Fault::Late, now));
        }
        if self.streams.is_none() && now.at >= self.dial {
            self.streams = Streams::dial(bus, legs, self.own.clone(), now);
            if self.streams.is_none() {
                self.lose(gateway, legs, notes, (Fault::Unreachable, now));
            }
        }
        let (sweeps, mut next_said) = (now.at >= self.sweep, None);
        if let Some(streams) = &mut self.streams {
            let mut around = Around {
                gateway,
                bus,
                legs,
                now,
            };
            if streams.stage == Stage::Up {
                if sweeps && let Some(command) = gateway.sweep_revocations(now) {
                    streams.command(&mut around, &command, Expected::Nothing);
                }
                if streams.points != gateway.rules().generation {
                    streams.load(&mut around);
                }
                streams.send_orders(&mut around);
                streams.ping(&mut around);
                next_said = streams.bridge.go_on(now);
                streams.bridge.tell_lost(bus, notes, now);
            }
        }
        if sweeps {
            self.sweep = now.at.after(SWEEP);
        }
        let next = match &self.streams {
            None => self.dial,
            Some(streams) => streams.next(),
        };
        Some(next.min(self.sweep).min(next_said.unwrap_or(next)))
    }

    /// Takes in what happened on one of the streams.
    pub(super) fn hear(
        &mut self,
        gateway: &Gateway,
        legs: &mut Legs,
        notes: &mut VecDeque<Note>,
        (leg, event): (Leg, LegEvent<'_>),
        now: Now,
    ) {
        let (Some(bus), Some(streams)) = (gateway.bus(), &mut self.streams) else {
            return;
        };
        let mut around = Around {
            gateway,
            bus,
            legs,
            now,
        };
        let before = streams.stage;
        match streams.hear(&mut around, leg, event) {
            Err(fault) => self.lose(gateway, legs, notes, (fault, now)),
            Ok(fits) => {
                if !fits && !std::mem::replace(&mut self.told_full, true) {
                    let message = "the table of revocations is full: what was revoked on other nodes does not \
                                   hold here. List long ones in admin.revocations, or change the keys";
                    notes.push_back(Note::Warning {
                        message: message.to_owned(),
                    });
                }
                if streams.stage == Stage::Up && before != Stage::Up {
                    self.failures = 0;
                    self.stand(gateway, notes, true);
                }
            }
        }
    }

    /// Gives both streams up, and dials again later.
    fn lose(
        &mut self,
        gateway: &Gateway,
        legs: &mut Legs,
        notes: &mut VecDeque<Note>,
        (fault, now): (Fault, Now),
    ) {
        if self.told != Some(false) {
            let message = format!("bus: {fault}; until it works, this node goes on by itself");
            notes.push_back(Note::Warning { message });
        }
        if let Some(mut streams) = self.streams.take() {
            if let Some(bus) = gateway.bus() {
                streams.bridge.tell_lost(bus, notes, now);
            }
            legs.let_go(streams.commands.leg);
            legs.let_go(streams.news.leg);
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        // Nodes that have lost the same Redis do not come back all at once.
        let [jitter] = gateway.entropy().bytes::<1>(Label::BusPause);
        let pause = pause.min(LONGEST_PAUSE);
        self.dial = now.at.after(pause / 2 + pause / 2 * u32::from(jitter) / 255);
        self.stand(gateway, notes, false);
    }

    /// Notes how things stand; the operator is told of changes.
    fn stand(&mut self, gateway: &Gateway, notes: &mut VecDeque<Note>, up: bool) {
        if self.told.replace(up) != Some(up) {
            notes.push_back(Note::Bus { up });
        }
        if let Some(bus) = gateway.bus() {
            let standing = if up { Standing::Up } else { Standing::Away };
            if bus.standing() != standing {
                bus.desk().stand(standing);
                // Whoever waits for it goes on.
                gateway.ring_all();
            }
        }
    }
}

impl Streams {
    fn dial(bus: &Bus, legs: &mut Legs, own: (u64, Arc<Bell>), now: Now) -> Option<Self> {
        let settings = bus.settings();
        let mut stream = || {
            let leg = legs.dial(settings.to.clone())?;
            Some(Stream {
                leg,
                wire: Wire::new(Arc::clone(&settings.login)),
                asked: None,
            })
        };
        let (commands, news) = (stream()?, stream()?);
        Some(Self {
            commands,
            news,
            stage: Stage::Opening,
            expected: VecDeque::new(),
            until: Some(now.at.after(OPENING)),
            ping: now.at.after(PING),
            points: 0,
            bridge: Bridge::new(own),
        })
    }

    fn is_late(&self, now: Now) -> bool {
        let silent = |stream: &Stream| stream.asked.is_some_and(|since| now.at >= since.after(SILENCE));
        self.until.is_some_and(|until| now.at >= until) || silent(&self.commands) || silent(&self.news)
    }

    fn next(&self) -> Moment {
        let silences = [&self.commands, &self.news].into_iter();
        let silences = silences.filter_map(|stream| Some(stream.asked?.after(SILENCE)));
        let ping = (self.stage == Stage::Up).then_some(self.ping);
        let times = silences.chain(self.until).chain(ping);
        // One of the three is always there.
        times.min().unwrap_or(self.ping)
    }

    fn command(&mut self, around: &mut Around<'_>, command: &[u8], expected: Expected) {
        around.legs.write(self.commands.leg, command);
        self.commands.asked.get_or_insert(around.now.at);
        self.expected.push_back(expected);
    }

    fn read_page(&mut self, around: &mut Around<'_>, cursor: &[u8]) {
        let mut command = Vec::new();
        let key = Gateway::revocations_key(around.bus);
        write_command(&mut command, &[b"HSCAN", &key, cursor, b"COUNT", PAGE]);
        self.command(around, &command, Expected::Page);
    }

    /// Asks for the last values of all data points, and to be told when they are here.
    fn load(&mut self, around: &mut Around<'_>) {
        self.points = around.gateway.rules().generation;
        let points = around.gateway.points();
        self.tell(around, points);
        let mut command = Vec::new();
        write_command(&mut command, &[b"PING"]);
        self.command(around, &command, Expected::Loaded);
    }

    /// Says whether more may be sent now.
    fn has_room(&self, around: &Around<'_>) -> bool {
        self.expected.len() < PIPELINE && around.legs.waiting(self.commands.leg) < HIGH_WATER
    }

    /// Sends what is to be told, revocations first, and what waits on the desk.
    fn send_orders(&mut self, around: &mut Around<'_>) {
        while self.has_room(around) {
            let tellings = around.gateway.tellings(BATCH, around.now);
            if tellings.is_empty() {
                break;
            }
            self.tell(around, tellings);
        }
        while self.has_room(around)
            && let Some(order) = around.bus.desk().take()
        {
            match order {
                Order::Command(command) => self.command(around, &command, Expected::Nothing),
                Order::Question(command, promise) => {
                    self.command(around, &command, Expected::Promise(promise));
                }
                Order::News(news, body) => self.tell(around, vec![Telling::News(news, body)]),
            }
        }
        self.bridge.join(around.gateway);
        while self.has_room(around)
            && let Some(said) = self.bridge.next(around.bus, around.now)
        {
            self.tell(around, vec![Telling::News(News::Said, said)]);
        }
    }

    fn tell(&mut self, around: &mut Around<'_>, tellings: Vec<Telling>) {
        for telling in tellings {
            match telling {
                Telling::Command(command) => self.command(around, &command, Expected::Nothing),
                Telling::Session(key, command) => self.command(around, &command, Expected::Session(key)),
                Telling::Point(point, command) => self.command(around, &command, Expected::Point(point)),
                Telling::News(news, body) => {
                    let entropy = around.gateway.entropy();
                    if let Some(command) = around.bus.publish(news, &body, entropy) {
                        self.command(around, &command, Expected::Nothing);
                    }
                }
            }
        }
    }

    fn ping(&mut self, around: &mut Around<'_>) {
        if around.now.at < self.ping {
            return;
        }
        self.ping = around.now.at.after(PING);
        let mut command = Vec::new();
        write_command(&mut command, &[b"PING"]);
        self.command(around, &command, Expected::Nothing);
        around.legs.write(self.news.leg, &command);
        self.news.asked.get_or_insert(around.now.at);
    }

    /// Takes in what happened on one stream; says whether there was room for all revocations.
    fn hear(&mut self, around: &mut Around<'_>, leg: Leg, event: LegEvent<'_>) -> Result<bool, Fault> {
        let stream = if leg == self.news.leg {
            &mut self.news
        } else {
            &mut self.commands
        };
        stream.wire.hear(&mut Line::new(around.legs, leg), event)?;
        let mut fits = true;
        while let Some(said) = self.news.wire.next()? {
            self.news.asked = None;
            fits &= self.heard(around, said)?;
        }
        while let Some(said) = self.commands.wire.next()? {
            fits &= self.answered(around, said)?;
        }
        let open = self.news.wire.is_open() && self.commands.wire.is_open();
        if self.stage == Stage::Opening && open {
            self.stage = Stage::Subscribing;
            let channel = around.bus.channel();
            let mut line = Line::new(around.legs, self.news.leg);
            send(&mut line, &[b"SUBSCRIBE", &channel]);
        }
        if self.stage == Stage::Up {
            self.send_orders(around);
        }
        Ok(fits)
    }

    /// Takes in what came on the stream for news.
    fn heard(&mut self, around: &mut Around<'_>, said: Reply) -> Result<bool, Fault> {
        let Reply::Array(parts) = said else {
            // Redis refuses the channel, or says something that nobody asked for.
            return Err(Fault::Unusable);
        };
        match parts.as_slice() {
            [Reply::Bulk(kind), ..] if kind == b"subscribe" && self.stage == Stage::Subscribing => {
                self.stage = Stage::Reading;
                // From here on nothing is missed: what was said before is read now.
                around.bus.desk().stand(Standing::Reading);
                around.gateway.ring_all();
                around.gateway.tell_all();
                self.read_page(around, b"0");
                Ok(true)
            }
            [Reply::Bulk(kind), _, Reply::Bulk(sealed)] if kind == b"message" => {
                Ok(match around.bus.hear(sealed) {
                    None => true,
                    Some((News::Said, body)) => {
                        // Members hear each other where both nodes know everything.
                        if self.stage == Stage::Up {
                            self.bridge.hear(around.bus, &body, around.now);
                        }
                        true
                    }
                    Some((
                        news @ (News::Revocation | News::SessionEnded | News::TicketSpent | News::Point),
                        body,
                    )) => around.gateway.hear_news(news, &body, around.now),
                })
            }
            [Reply::Bulk(kind), ..] if kind == b"pong" => Ok(true),
            _ => Err(Fault::Unusable),
        }
    }

    /// Takes in the answer to a command.
    fn answered(&mut self, around: &mut Around<'_>, said: Reply) -> Result<bool, Fault> {
        let expected = self.expected.pop_front().ok_or(Fault::Unusable)?;
        self.commands.asked = (!self.expected.is_empty()).then_some(around.now.at);
        match expected {
            Expected::Nothing => Ok(true),
            Expected::Promise(promise) => {
                promise.keep(said);
                Ok(true)
            }
            Expected::Session(key) => {
                around.gateway.session_checked(key, &said, around.now);
                Ok(true)
            }
            Expected::Point(point) => {
                around.gateway.point_said(&point, &said);
                Ok(true)
            }
            Expected::Loaded => {
                if self.stage == Stage::Loading {
                    self.until = None;
                    self.stage = Stage::Up;
                    let foreign = around.gateway.foreign_sessions();
                    self.tell(around, foreign);
                }
                Ok(true)
            }
            Expected::Page => self.page(around, &said),
        }
    }

    fn page(&mut self, around: &mut Around<'_>, said: &Reply) -> Result<bool, Fault> {
        let Reply::Array(parts) = said else {
            return Err(Fault::Unusable);
        };
        let [Reply::Bulk(cursor), Reply::Array(page)] = parts.as_slice() else {
            return Err(Fault::Unusable);
        };
        let fits = around.gateway.take_page(page, around.now);
        // A long list takes its time; what counts is that it goes on.
        self.until = Some(around.now.at.after(OPENING));
        if cursor != b"0" {
            self.read_page(around, cursor);
            return Ok(fits);
        }
        self.stage = Stage::Loading;
        self.load(around);
        Ok(fits)
    }
}
