//! Conversations byte by byte: what is asked, and what no answer may lead to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::ber::{CONVERSATION_BYTES, SEQUENCE, element, primitive, write_number};
use super::talk::{GROUP_BYTES, GROUPS};
use super::*;
use crate::config::ldap::{Account as AccountNames, LdapUrl};
use crate::config::{FileRef, Place};
use crate::exchange::{Fault, Line};
use crate::leg::{Break, DialError, Leg, LegEvent, Opened, TlsInfo};
use crate::legs::{LegAction, Legs};

const PEOPLE: &str = "ou=people,dc=x";
const DOE: &str = r"cn=Doe\, John (x),ou=people,dc=x";

/// A directory with an account that searches and looks up groups.
fn ldap() -> Ldap {
    Ldap {
        url: LdapUrl {
            tls: false,
            host: "127.0.0.1".into(),
            port: 389,
            base: PEOPLE.into(),
        },
        start_tls: false,
        user_filter: Filter::parse("(&(uid={USERNAME})(objectClass=person))").unwrap(),
        account: Some(AccountNames {
            dn: "cn=s,dc=x".into(),
            password: FileRef {
                path: "service.txt".into(),
                place: Place::default(),
            },
        }),
        groups: Some(GroupSearch {
            base: "ou=groups,dc=x".into(),
            filter: Filter::parse("(member={DN})").unwrap(),
            attribute: "cn".into(),
        }),
        ca_file: None,
        timeout: Duration::from_millis(4001),
        max_in_flight: 64,
        place: Place::default(),
    }
}

fn directory(ldap: &Ldap) -> Arc<Directory> {
    Arc::new(Directory::new(ldap, Some(b"service\n"), None).unwrap())
}

/// A conversation with its leg.
struct Scene {
    talk: Talk,
    legs: Legs,
    leg: Leg,
}

impl Scene {
    fn new(directory: &Arc<Directory>, user: &str) -> Self {
        let mut legs = Legs::new();
        let leg = legs.dial(directory.destination().clone()).unwrap();
        legs.get_mut(leg).unwrap().open = true;
        legs.next_action();
        let talk = directory.talk(user, Secret::new(b"secret".to_vec())).unwrap();
        Self { talk, legs, leg }
    }

    fn hear(&mut self, event: LegEvent<'_>) -> Option<Result<Verdict, Fault>> {
        let mut line = Line::new(&mut self.legs, self.leg);
        self.talk.hear(&mut line, event)
    }

    fn open(&mut self) {
        assert!(self.hear(LegEvent::Opened(Opened::default())).is_none());
    }

    fn data(&mut self, bytes: &[u8]) -> Option<Result<Verdict, Fault>> {
        self.hear(LegEvent::Data(bytes))
    }

    /// Returns what was written since the last call.
    fn asked(&mut self) -> Vec<u8> {
        let out = &mut self.legs.get_mut(self.leg).unwrap().out;
        let bytes = out.chunk().to_vec();
        out.advance(bytes.len());
        bytes
    }

    /// Plays the answers in order, each when it is asked for, cut into pieces of `step` bytes.
    /// Returns the outcome and everything that was asked.
    fn play(&mut self, answers: &[Vec<u8>], step: usize) -> (Option<Result<Verdict, Fault>>, Vec<Vec<u8>>) {
        self.open();
        let mut asked = vec![self.asked()];
        for answer in answers {
            for piece in answer.chunks(step) {
                if let Some(outcome) = self.data(piece) {
                    asked.push(self.asked());
                    return (Some(outcome), asked);
                }
            }
            asked.push(self.asked());
        }
        (None, asked)
    }
}

fn message(id: u32, contents: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    element(&mut out, SEQUENCE, |out| {
        write_number(out, 2, id);
        contents(out);
    });
    out
}

/// A response that is an LDAPResult.
fn result(id: u32, tag: u8, code: u32) -> Vec<u8> {
    message(id, |out| {
        element(out, tag, |out| {
            write_number(out, 10, code);
            primitive(out, 4, b"");
            primitive(out, 4, b"for the operator");
        });
    })
}

fn bound(id: u32, code: u32) -> Vec<u8> {
    result(id, 0x61, code)
}

fn done(id: u32, code: u32) -> Vec<u8> {
    result(id, 0x65, code)
}

fn extended(id: u32, code: u32) -> Vec<u8> {
    result(id, 0x78, code)
}

fn disconnection() -> Vec<u8> {
    message(0, |out| {
        element(out, 0x78, |out| {
            write_number(out, 10, 52);
            primitive(out, 4, b"");
            primitive(out, 4, b"bye");
            primitive(out, 0x8a, b"1.3.6.1.4.1.1466.20036");
        });
    })
}

fn reference(id: u32) -> Vec<u8> {
    message(id, |out| {
        element(out, 0x73, |out| primitive(out, 4, b"ldap://elsewhere/"))
    })
}

fn entry(id: u32, dn: &str, attribute: &str, values: &[&str]) -> Vec<u8> {
    message(id, |out| {
        element(out, 0x64, |out| {
            primitive(out, 4, dn.as_bytes());
            element(out, SEQUENCE, |out| {
                element(out, SEQUENCE, |out| {
                    primitive(out, 4, attribute.as_bytes());
                    element(out, 0x31, |out| {
                        for value in values {
                            primitive(out, 4, value.as_bytes());
                        }
                    });
                });
            });
        });
    })
}

/// What a directory answers in which everything is right.
fn good() -> Vec<Vec<u8>> {
    vec![
        bound(1, 0),
        [entry(2, DOE, "uid", &["alice"]), done(2, 0)].concat(),
        bound(3, 0),
        bound(4, 0),
        [
            entry(5, "cn=staff,ou=groups,dc=x", "cn", &["staff"]),
            entry(5, "cn=ops,ou=groups,dc=x", "CN", &["ops", "operators"]),
            done(5, 0),
        ]
        .concat(),
    ]
}

fn alice(groups: &[&str]) -> Option<Result<Verdict, Fault>> {
    Some(Ok(Verdict::Good(User {
        dn: DOE.into(),
        name: "alice".into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    })))
}

const UNUSABLE: Option<Result<Verdict, Fault>> = Some(Err(Fault::Unusable));
const UNREACHABLE: Option<Result<Verdict, Fault>> = Some(Err(Fault::Unreachable));

#[test]
fn m24_a_login_is_a_search_a_bind_and_a_look_at_the_groups_however_it_is_split() {
    let directory = directory(&ldap());
    for step in [1, 2, 3, 7, 1000] {
        let (outcome, asked) = Scene::new(&directory, "alice").play(&good(), step);
        assert_eq!(outcome, alice(&["operators", "ops", "staff"]), "{step}");
        // Six requests: bind, search, bind as the user, bind again, search, unbind.
        assert_eq!(asked.len(), 6);
    }
}

#[test]
fn m24_the_requests_are_those_of_rfc_4511() {
    let (_, asked) = Scene::new(&directory(&ldap()), "*)(uid=*").play(&good(), 1000);
    let [bind, find, as_user, again, groups, unbind] = <[Vec<u8>; 6]>::try_from(asked).unwrap();
    // Counted by hand: SEQUENCE, messageID 1, [APPLICATION 0], version 3, name, [0] password.
    assert_eq!(
        bind,
        b"\x30\x1c\x02\x01\x01\x60\x17\x02\x01\x03\x04\x09cn=s,dc=x\x80\x07service"
    );
    // Base, wholeSubtree, neverDerefAliases, 2 entries, 5 seconds, values too; the filter; the name.
    let expected = b"\x30\x55\x02\x01\x02\x63\x50\x04\x0eou=people,dc=x\x0a\x01\x02\x0a\x01\x00\
\x02\x01\x02\x02\x01\x05\x01\x01\x00\
\xa0\x28\xa3\x0f\x04\x03uid\x04\x08*)(uid=*\xa3\x15\x04\x0bobjectClass\x04\x06person\
\x30\x05\x04\x03uid";
    assert_eq!(
        find.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    let mut expected = b"\x30\x32\x02\x01\x03\x60\x2d\x02\x01\x03\x04\x20".to_vec();
    expected.extend(DOE.as_bytes());
    expected.extend(b"\x80\x06secret");
    assert_eq!(
        as_user.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(again.get(5..), bind.get(5..));
    // The name of the entry is a value like any other: no backslash is added, no parenthesis ends it.
    let mut value = b"\xa3\x2a\x04\x06member\x04\x20".to_vec();
    value.extend(DOE.as_bytes());
    assert!(groups.windows(value.len()).any(|window| window == value));
    assert_eq!(unbind, b"\x30\x05\x02\x01\x06\x42\x00");
}

#[test]
fn m24_without_an_account_nobody_binds_first_and_the_user_looks_up_the_groups() {
    let mut ldap = ldap();
    ldap.account = None;
    let answers = [
        [entry(1, DOE, "uid", &["alice"]), done(1, 0)].concat(),
        bound(2, 0),
        [entry(3, "cn=staff", "cn", &["staff"]), done(3, 0)].concat(),
    ];
    let (outcome, asked) = Scene::new(&directory(&ldap), "alice").play(&answers, 1000);
    assert_eq!(outcome, alice(&["staff"]));
    assert_eq!(
        asked
            .iter()
            .map(|asked| asked.get(5).copied().unwrap())
            .collect::<Vec<_>>(),
        [0x63, 0x60, 0x63, 0x42]
    );
    ldap.groups = None;
    let (outcome, _) = Scene::new(&directory(&ldap), "alice").play(&answers[..2], 1000);
    assert_eq!(outcome, alice(&[]));
}

#[test]
fn m24_an_empty_password_never_reaches_the_server() {
    let directory = directory(&ldap());
    for password in [&b""[..], b"\0", b"\0secret", b"a\0"] {
        let verdict = directory
            .talk("alice", Secret::new(password.to_vec()))
            .unwrap_err();
        assert_eq!(verdict, Verdict::WrongPassword);
    }
    let verdict = directory.talk("", Secret::new(b"secret".to_vec())).unwrap_err();
    assert_eq!(verdict, Verdict::UnknownUser);
    for password in [&b""[..], b"\n", b"\r\n", b"a\0b"] {
        assert!(Directory::new(&ldap(), Some(password), None).is_err());
    }
    assert!(Directory::new(&ldap(), None, None).is_err());
}

#[test]
fn m24_exactly_one_entry_is_the_user() {
    let directory = directory(&ldap());
    let one = || entry(2, DOE, "uid", &["alice"]);
    for (found, verdict) in [
        (done(2, 0), Ok(Verdict::UnknownUser)),
        ([one(), one(), done(2, 0)].concat(), Ok(Verdict::Ambiguous)),
        ([one(), done(2, 4)].concat(), Ok(Verdict::Ambiguous)),
        (done(2, 4), Ok(Verdict::Ambiguous)),
        // More than were asked for end it, too.
        (one().repeat(1000), Ok(Verdict::Ambiguous)),
        // A bind without a name succeeds with any password.
        (
            [entry(2, "", "uid", &["alice"]), done(2, 0)].concat(),
            Err(Fault::Unusable),
        ),
        ([one(), reference(2), done(2, 0)].concat(), Err(Fault::Unusable)),
        (reference(2), Err(Fault::Unusable)),
        (done(2, 10), Err(Fault::Unusable)),
        (done(2, 32), Err(Fault::Unusable)),
        (done(2, 51), Err(Fault::Unusable)),
        ([one(), done(2, 3)].concat(), Err(Fault::Unusable)),
    ] {
        let (outcome, asked) = Scene::new(&directory, "alice").play(&[bound(1, 0), found], 1000);
        assert_eq!(outcome, Some(verdict));
        // Nobody's password was sent.
        assert!(asked.iter().flatten().all(|byte| *byte != b'\x80') || asked.len() == 3);
        let said: Vec<u8> = asked.concat();
        assert!(!said.windows(6).any(|window| window == b"secret"));
    }
}

#[test]
fn m24_what_a_bind_says_is_the_users_fault_or_the_servers() {
    let directory = directory(&ldap());
    for code in 0..=123 {
        let answers = [bound(1, code)];
        let (outcome, _) = Scene::new(&directory, "alice").play(&answers, 1000);
        assert_eq!(
            outcome,
            if code == 0 { None } else { UNUSABLE },
            "account, {code}"
        );

        let mut answers = good();
        answers[2] = bound(3, code);
        let (outcome, _) = Scene::new(&directory, "alice").play(&answers, 1000);
        let expected = match code {
            0 => alice(&["operators", "ops", "staff"]),
            19 | 48 | 49 | 53 => Some(Ok(Verdict::WrongPassword)),
            _ => UNUSABLE,
        };
        assert_eq!(outcome, expected, "user, {code}");
        for at in [3, 4] {
            let mut answers = good();
            answers[at] = if at == 3 { bound(4, code) } else { done(5, code) };
            let (outcome, _) = Scene::new(&directory, "alice").play(&answers, 1000);
            assert_eq!(outcome == UNUSABLE, code != 0, "{at}, {code}");
        }
    }
}

#[test]
fn m24_groups_are_bounded() {
    let directory = directory(&ldap());
    let groups = |groups: Vec<u8>| {
        let mut answers = good();
        answers[4] = groups;
        Scene::new(&directory, "alice").play(&answers, 1_000_000).0
    };
    let many = |count: usize| {
        let each = (0..count).map(|i| entry(5, "cn=g", "cn", &[&format!("g{i:04}")]));
        [each.flatten().collect(), done(5, 0)].concat()
    };
    let Some(Ok(Verdict::Good(user))) = groups(many(GROUPS)) else {
        panic!("{GROUPS} groups")
    };
    assert_eq!(user.groups.len(), GROUPS);
    assert_eq!(groups(many(GROUPS + 1)), UNUSABLE);
    let long = |bytes: usize| [entry(5, "cn=g", "cn", &[&"x".repeat(bytes)]), done(5, 0)].concat();
    assert!(groups(long(GROUP_BYTES)).unwrap().is_ok());
    assert_eq!(groups(long(GROUP_BYTES + 1)), UNUSABLE);
    // What is no role, what is said twice, and what was not asked for.
    let odd = [
        entry(5, "cn=g", "cn", &["", "a\r\nX-Role: admin", "staff", "staff"]),
        entry(5, "cn=h", "description", &["admin"]),
        done(5, 0),
    ];
    assert_eq!(groups(odd.concat()), alice(&["staff"]));
    assert_eq!(groups([reference(5), done(5, 0)].concat()), UNUSABLE);
}

#[test]
fn m24_a_directory_that_speaks_out_of_turn_is_not_believed() {
    let directory = directory(&ldap());
    for said in [
        // Another request's number, none, or one that is still to come.
        bound(2, 0),
        bound(0, 0),
        extended(0, 0),
        // Another answer than to a bind.
        done(1, 0),
        entry(1, DOE, "uid", &["alice"]),
        extended(1, 0),
        result(1, 0x69, 0),
        result(1, 0x79, 0),
        // Two answers to one question, and one to a question that was not asked yet.
        [bound(1, 0), bound(1, 0)].concat(),
        [bound(1, 0), done(2, 0)].concat(),
        // Not LDAP.
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"\x30\x84\x7f\xff\xff\xff".to_vec(),
        [&[0x30, 0x82, 0x7f, 0xff][..], &[0x30; 0x8000]].concat(),
    ] {
        let (outcome, _) = Scene::new(&directory, "alice").play(&[said], 1_000_000);
        assert_eq!(outcome, UNUSABLE);
    }
    let (outcome, _) = Scene::new(&directory, "alice").play(&[disconnection()], 1);
    assert_eq!(outcome, UNREACHABLE);
    // Before the leg is open there is nobody who could speak.
    assert_eq!(Scene::new(&directory, "alice").data(&bound(1, 0)), UNUSABLE);
}

#[test]
fn m24_an_answer_without_end_is_given_up() {
    let directory = directory(&ldap());
    let mut scene = Scene::new(&directory, "alice");
    assert!(scene.play(&good()[..4], 1000).0.is_none());
    let more = entry(5, "cn=g", "cn", &["g"]);
    let mut heard = 0;
    let outcome = loop {
        heard += more.len();
        if let Some(outcome) = scene.data(&more) {
            break outcome;
        }
    };
    assert_eq!(outcome, Err(Fault::Unusable));
    assert!(heard <= CONVERSATION_BYTES + more.len());
}

#[test]
fn m24_a_directory_that_goes_away_is_unreachable_at_every_byte() {
    let directory = directory(&ldap());
    let gone = || {
        [
            LegEvent::Eof,
            LegEvent::Broken(Break::Reset),
            LegEvent::Failed(DialError::Refused),
        ]
    };
    for event in gone() {
        assert_eq!(Scene::new(&directory, "alice").hear(event), UNREACHABLE);
    }
    for answered in 0..5 {
        for event in gone() {
            let mut scene = Scene::new(&directory, "alice");
            assert!(scene.play(&good()[..answered], 1000).0.is_none());
            // Half of the next answer is no answer.
            assert!(scene.data(&good()[answered][..5]).is_none());
            assert_eq!(scene.hear(event), UNREACHABLE);
            assert!(scene.hear(LegEvent::Eof).is_none(), "it is over");
        }
    }
    // After the verdict nothing matters.
    let mut scene = Scene::new(&directory, "alice");
    assert!(scene.play(&good(), 1000).0.is_some());
    for event in gone() {
        assert!(scene.hear(event).is_none());
    }
    assert!(scene.data(b"x").is_none());
}

#[test]
fn m24_start_tls_is_not_gone_on_without() {
    let mut ldap = ldap();
    ldap.start_tls = true;
    assert!(Directory::new(&ldap, Some(b"service"), None).is_err());
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let directory = Arc::new(Directory::new(&ldap, Some(b"service"), Some(config.into())).unwrap());
    let ask = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

    let mut scene = Scene::new(&directory, "alice");
    scene.open();
    assert_eq!(scene.asked(), ask);
    assert!(scene.data(&extended(1, 0)).is_none());
    assert!(matches!(scene.legs.next_action(), Some(LegAction::Secure(..))));
    assert!(
        scene.asked().is_empty(),
        "nothing is said before the handshake is over"
    );
    assert!(scene.hear(LegEvent::Secured(TlsInfo::default())).is_none());
    assert_eq!(scene.asked().get(4..6), Some(&[2, 0x60][..]));

    // Refused, or an answer that whoever is on the way put behind it.
    let behind = [extended(1, 0), bound(2, 0)].concat();
    for said in [extended(1, 1), extended(1, 52), bound(1, 0), done(1, 0), behind] {
        let mut scene = Scene::new(&directory, "alice");
        let (outcome, asked) = scene.play(&[said], 1000);
        assert_eq!(outcome, UNUSABLE);
        assert_eq!(asked.concat(), ask);
    }
    for event in [LegEvent::Data(b"x"), LegEvent::Broken(Break::Tls)] {
        let mut scene = Scene::new(&directory, "alice");
        assert!(scene.play(&[extended(1, 0)], 1000).0.is_none());
        assert!(scene.hear(event).unwrap().is_err());
        assert!(scene.asked().is_empty());
    }
}

#[test]
fn the_name_is_the_directorys_spelling() {
    let directory = directory(&ldap());
    for (typed, values, name) in [
        ("ALICE", &["alice"][..], "alice"),
        (" alice ", &["alice"], "alice"),
        ("alice", &[], "alice"),
        ("bob", &["alice", "Bob"], "Bob"),
        ("alice@example.com", &["b", "a"], "a"),
    ] {
        let mut answers = good();
        answers[1] = [entry(2, DOE, "uid", values), done(2, 0)].concat();
        let Some(Ok(Verdict::Good(user))) = Scene::new(&directory, typed).play(&answers, 1000).0 else {
            panic!("{typed}")
        };
        assert_eq!(user.name, name);
    }
}

#[test]
fn p7_no_secret_is_shown() {
    let directory = directory(&ldap());
    let scene = Scene::new(&directory, "alice");
    let shown = format!("{directory:?} {:?}", scene.talk);
    assert!(!shown.contains("service") && !shown.contains("secret"));
}
