//! A service that is read file by file: a file is opened beneath its folder, announced, and passed on as
//! fast as the client takes it. Never more of it is held than waits for the client.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Asked;
use super::form::local_path;
use super::head::RETRY_AFTER;
use super::{Connection, State};
use crate::http::date::{http_date, parse_http_date};
use crate::http::media::content_type;
use crate::http::syntax::{Decoded, percent_decode};
use crate::http::{Method, Reply, RequestHead, Status};
use crate::leg::{Destination, DialError, Leg, LegEvent, Opened};
use crate::legs::HIGH_WATER;
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::{Now, UnixTime};
use crate::timers::Timer;

/// The file that stands for its folder.
const INDEX: &str = "index.html";

/// How long a disk may take to open a file, or to give its next bytes.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);

/// A file that is being answered with.
#[derive(Debug)]
pub(super) struct Fetching {
    asked: Asked,
    leg: Leg,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The file is being opened.
    Opening(Wanted),
    /// It was announced; so many bytes of it are still to come.
    Sending { left: u64, closes: bool },
}

/// What is to be done with the file when it is open.
#[derive(Debug)]
struct Wanted {
    service: Arc<Service>,
    segments: Vec<String>,
    /// Where the folder is to be asked for that was meant by a path without a slash at its end: links
    /// in its page begin there.
    folder: Option<String>,
    /// The file is opened to see whether that folder has a page.
    is_folder: bool,
    known: Known,
}

/// What the client knows of the file already (RFC 9110 section 13.1).
#[derive(Debug)]
enum Known {
    Nothing,
    /// These versions, as If-None-Match lists them.
    Tags(Vec<Vec<u8>>),
    /// What it was at this time.
    Since(UnixTime),
}

impl Known {
    fn of(head: &RequestHead) -> Self {
        let tags: Vec<_> = head.fields().list("if-none-match").map(<[u8]>::to_vec).collect();
        if head.fields().has("if-none-match") {
            // RFC 9110 section 13.1.3: then the time does not count.
            return Self::Tags(tags);
        }
        let since = head.fields().single("if-modified-since").ok().flatten();
        since.and_then(parse_http_date).map_or(Self::Nothing, Self::Since)
    }

    fn is_up_to_date(&self, tag: &str, modified: UnixTime) -> bool {
        match self {
            Self::Nothing => false,
            // RFC 9110 section 8.8.3.2: weak comparison, without the `W/`.
            Self::Tags(tags) => tags.iter().any(|known| {
                let opaque = known.strip_prefix(b"W/").unwrap_or(known);
                known == b"*" || tag.strip_prefix("W/").is_some_and(|tag| tag.as_bytes() == opaque)
            }),
            Self::Since(since) => modified.as_secs() <= since.as_secs(),
        }
    }
}

/// Returns the names of a file's folders and its own below the folder of a service that is reached at the
/// first `at` bytes of the canonical path `path`; `None` if nothing is served there. Empty for the folder
/// itself. Names that begin with a dot are nobody's business.
fn below(path: &str, at: usize) -> Option<Vec<String>> {
    let rest = path.get(at..)?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Some(Vec::new());
    }
    rest.split('/').map(name).collect()
}

/// Returns the name that a segment of a path stands for, if a file that is served can have it.
fn name(segment: &str) -> Option<String> {
    let bytes = percent_decode(segment.as_bytes()).map(|byte| match byte {
        Decoded::Plain(byte) | Decoded::Escape(byte) => byte,
    });
    let name = String::from_utf8(bytes.collect()).ok()?;
    let plain = |byte: u8| !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\');
    let served = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    served.then_some(name)
}

/// Returns what names a version of a file. It is weak: a clock may be too coarse to tell two writes apart.
fn tag(modified: UnixTime, length: u64) -> String {
    format!("W/\"{:x}-{length:x}\"", modified.since_epoch().as_nanos())
}

impl Connection {
    /// Answers with the file at the canonical path `path`; the service is reached at its first `at` bytes.
    pub(super) fn fetch(
        &mut self,
        now: Now,
        asked: Asked,
        service: &Arc<Service>,
        head: &RequestHead,
        (path, at): (&str, usize),
    ) {
        let Some(mut segments) = below(path, at) else {
            return self.answer(now, &asked, Reply::new(Status::NotFound), Reason::NoRoute);
        };
        let is_folder = segments.is_empty() && !path.ends_with('/');
        let folder = (!path.ends_with('/')).then(|| {
            let query = head.target().query();
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            let target = format!("{path}/{query}");
            match &service.realm {
                Some(realm) => local_path(target.as_bytes(), realm),
                None => target,
            }
        });
        if is_folder || path.ends_with('/') {
            segments.push(INDEX.to_owned());
        }
        let wanted = Wanted {
            service: Arc::clone(service),
            segments,
            folder,
            is_folder,
            known: Known::of(head),
        };
        self.open_file(now, asked, wanted);
    }

    fn open_file(&mut self, now: Now, asked: Asked, wanted: Wanted) {
        let leg = wanted.service.directory.as_ref().and_then(|root| {
            self.legs.dial(Destination::File {
                root: root.clone(),
                segments: wanted.segments.clone(),
            })
        });
        let Some(leg) = leg else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        self.timers.stop_all();
        self.timers.set(Timer::Check, now.at.after(FILE_TIMEOUT));
        let stage = Stage::Opening(wanted);
        self.state = State::Fetching(Box::new(Fetching { asked, leg, stage }));
    }

    /// Takes the file out of the state.
    fn end_fetch(&mut self) -> Option<Box<Fetching>> {
        self.begin_anew(|state| {
            if let State::Fetching(fetching) = state {
                Ok(fetching)
            } else {
                Err(state)
            }
        })
    }

    /// Something happened on the leg of a file.
    pub(super) fn fetch_event(&mut self, now: Now, leg: Leg, event: LegEvent<'_>) {
        let Some(fetching) = self.end_fetch() else {
            return;
        };
        if fetching.leg != leg {
            self.state = State::Fetching(fetching);
            return;
        }
        let Fetching { asked, stage, .. } = *fetching;
        match stage {
            Stage::Opening(wanted) => match event {
                LegEvent::Opened(opened) => self.file_opened(now, asked, leg, wanted, &opened),
                LegEvent::Failed(error) => self.file_failed(now, asked, wanted, error),
                LegEvent::Secured(_) | LegEvent::Data(_) | LegEvent::Eof | LegEvent::Broken(_) => {
                    self.file_failed(now, asked, wanted, DialError::Io);
                }
            },
            Stage::Sending { left, closes } => {
                let bytes = match event {
                    LegEvent::Data(bytes) => bytes,
                    // It is shorter than it was announced. Only the end of the connection tells: whatever
                    // follows would be taken for the rest of the file.
                    LegEvent::Eof
                    | LegEvent::Broken(_)
                    | LegEvent::Opened(_)
                    | LegEvent::Failed(_)
                    | LegEvent::Secured(_) => return self.begin_close(now),
                };
                // It may have grown; what was announced is what is sent.
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                let bytes = bytes.get(..most).unwrap_or(bytes);
                self.legs.client_out().extend(bytes);
                let left = left.saturating_sub(bytes.len() as u64);
                self.send_rest(now, asked, leg, (left, closes));
            }
        }
        self.use_pending(now);
    }

    fn send_rest(&mut self, now: Now, asked: Asked, leg: Leg, (left, closes): (u64, bool)) {
        if left == 0 {
            self.legs.let_go(leg);
            return self.end_answer(now, closes);
        }
        self.timers.set(Timer::Check, now.at.after(FILE_TIMEOUT));
        let stage = Stage::Sending { left, closes };
        self.state = State::Fetching(Box::new(Fetching { asked, leg, stage }));
    }

    fn file_opened(&mut self, now: Now, asked: Asked, leg: Leg, wanted: Wanted, opened: &Opened) {
        if let Some(folder) = wanted.folder.as_ref().filter(|_| wanted.is_folder) {
            self.legs.let_go(leg);
            let reply = Reply::new(Status::SeeOther).field("Location", folder);
            let reply = self.of_directory(reply, &wanted.service, &asked);
            return self.answer(now, &asked, reply, Reason::Granted);
        }
        let Some(length) = opened.length else {
            self.legs.let_go(leg);
            return self.file_failed(now, asked, wanted, DialError::Io);
        };
        let mut reply = Reply::new(Status::Ok);
        if let Some(modified) = opened.modified {
            let tag = tag(modified, length);
            if wanted.known.is_up_to_date(&tag, modified) {
                reply = Reply::new(Status::NotModified);
            }
            reply = reply.field("ETag", &tag);
            // RFC 9110 section 8.8.2.1: never later than the answer itself.
            if modified <= now.unix {
                reply = reply.field("Last-Modified", http_date(modified));
            }
        }
        let kind = wanted
            .segments
            .last()
            .map_or("application/octet-stream", |name| content_type(name));
        let has_body = reply.status() == Status::Ok && asked.method != Some(Method::Head);
        let reply = self
            .of_directory(reply, &wanted.service, &asked)
            .announcing(kind, length);
        if has_body {
            let closes = self.begin_answer(now, &asked, reply, Reason::Granted);
            self.send_rest(now, asked, leg, (length, closes));
        } else {
            self.legs.let_go(leg);
            self.answer(now, &asked, reply, Reason::Granted);
        }
    }

    fn file_failed(&mut self, now: Now, asked: Asked, wanted: Wanted, error: DialError) {
        match error {
            DialError::NotFound if wanted.folder.is_some() && !wanted.is_folder => {
                let mut segments = wanted.segments;
                segments.push(INDEX.to_owned());
                let wanted = Wanted {
                    segments,
                    is_folder: true,
                    ..wanted
                };
                self.open_file(now, asked, wanted);
            }
            DialError::NotFound => {
                let reply = Reply::new(Status::NotFound);
                self.answer(now, &asked, reply, Reason::NoRoute);
            }
            DialError::Name
            | DialError::Refused
            | DialError::Unreachable
            | DialError::Tls
            | DialError::Io => {
                let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
                self.answer(now, &asked, reply, Reason::Unavailable);
            }
        }
    }

    /// Adds what every answer of a directory says (R17).
    fn of_directory(&self, reply: Reply, service: &Service, asked: &Asked) -> Reply {
        let reply = match (&service.realm, asked.query_carrier) {
            (None, _) => reply.field("Cache-Control", "no-cache"),
            // With a credential in the query the answer is not to be stored at all, which is said already.
            (Some(_), true) => reply,
            (Some(_), false) => reply.field("Cache-Control", "private, no-cache"),
        };
        let reply = match &service.realm {
            None => reply,
            Some(_) => reply
                .field("Vary", "Authorization, Cookie")
                .field("Cross-Origin-Resource-Policy", "same-origin"),
        };
        self.hardened(reply)
    }

    /// The disk has not answered in time, unless it was not asked: a client that takes nothing is the
    /// stall timer's affair.
    pub(super) fn fetch_is_late(&mut self, now: Now) {
        if self.legs.client().out.len() >= HIGH_WATER {
            self.timers.set(Timer::Check, now.at.after(FILE_TIMEOUT));
            return;
        }
        let Some(fetching) = self.end_fetch() else {
            return;
        };
        self.legs.let_go(fetching.leg);
        match fetching.stage {
            Stage::Opening(wanted) => {
                let wanted = Wanted {
                    folder: None,
                    ..wanted
                };
                self.file_failed(now, fetching.asked, wanted, DialError::Io);
                self.use_pending(now);
            }
            Stage::Sending { .. } => self.begin_close(now),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::Target;

    fn mapped(target: &str, at: usize) -> Option<String> {
        let target = Target::parse(target, Method::Get).ok()?;
        let path = target.canonical_path().ok()?;
        below(&path, at).map(|names| names.join("|"))
    }

    #[test]
    fn m18_paths_lead_to_names_below_the_folder() {
        for (path, at, names) in [
            ("/", 1, ""),
            ("/a", 1, "a"),
            ("/a/b.c", 1, "a|b.c"),
            ("/a/b/", 1, "a|b"),
            ("/site", 5, ""),
            ("/site/", 5, ""),
            ("/site/x", 5, "x"),
            ("/site/x", 6, "x"),
            ("/a%20b/%C3%A4", 1, "a b|ä"),
            ("/a%252e", 1, "a%2e"),
            ("/a..b/c.", 1, "a..b|c."),
        ] {
            assert_eq!(mapped(path, at).as_deref(), Some(names), "{path}");
        }
    }

    #[test]
    fn m18_what_is_not_served_has_no_names() {
        for path in [
            "/.env",
            "/a/.git/config",
            "/%2eenv",
            "/a/..",
            "/../a",
            "/..%2fa",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "//a",
            "/%ff",
            "/..;/a",
        ] {
            assert_eq!(mapped(path, 1), None, "{path}");
        }
    }

    /// Whatever a client writes: every name is one plain name.
    #[test]
    fn m18_no_path_leaves_the_folder() {
        const PIECES: [&str; 16] = [
            "/", ".", "..", "%2e", "%2E", "%2f", "%5C", "%00", "a", "%61", ";", "%", "%25", "%252e", "~",
            "%c0%ae",
        ];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut path = String::from("/");
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                path.push_str(PIECES[usize::try_from(seed >> 60).unwrap()]);
            }
            let Ok(target) = Target::parse(&path, Method::Get) else {
                continue;
            };
            let Some(names) = target.canonical_path().ok().and_then(|path| below(&path, 1)) else {
                continue;
            };
            for name in names {
                let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
                assert!(plain, "{path} leads to {name:?}");
            }
        }
    }

    #[test]
    fn m18_versions_are_compared_by_tag_or_else_by_time() {
        let modified = UnixTime::new(Duration::from_millis(1_000_500));
        let own = tag(modified, 6);
        let tags = |list: &[&str]| Known::Tags(list.iter().map(|tag| tag.as_bytes().to_vec()).collect());
        let strong = own.trim_start_matches("W/");
        for (known, expected) in [
            (Known::Nothing, false),
            (tags(&[&own]), true),
            (tags(&["\"x\"", strong]), true),
            (tags(&["*"]), true),
            (tags(&["\"x\""]), false),
            (tags(&[]), false),
            (Known::Since(UnixTime::from_secs(1000)), true),
            (Known::Since(UnixTime::from_secs(999)), false),
        ] {
            assert_eq!(known.is_up_to_date(&own, modified), expected, "{known:?}");
        }
        assert_ne!(own, tag(modified, 7));
    }
}
