//! Passwords that a directory judges (SPEC M24), against one that is played byte by byte.

use std::time::Duration;

use serde_json::{Value, json};

use super::load_error;
use crate::client::{Frame, Response, upgrade};
use crate::fake::directory::Directory;
use crate::fake::idp::Mood;
use crate::world::{Setup, Stage, World};

const ALICE: &str = "uid=alice,ou=people,dc=x";
const DOE: &str = r"cn=Doe\, John (x),ou=people,dc=x";
const OPERATORS: &str = "cn=operators,ou=groups,dc=x";
const ACCOUNT: &str = "cn=service,dc=x";

/// Two people, one group, and the account that searches.
fn directory() -> Directory {
    let directory = Directory::new();
    directory.add(ACCOUNT, "s3rvice", &[]);
    directory.add(ALICE, "correct horse", &[("uid", "alice")]);
    directory.add("uid=bob,ou=people,dc=x", "battery", &[("uid", "bob")]);
    directory.add(DOE, "st@ple", &[("uid", "doe")]);
    group(&directory, &[ALICE, DOE]);
    directory
}

/// Puts exactly these people into the group.
fn group(directory: &Directory, members: &[&str]) {
    let mut attributes = vec![("cn", "operators"), ("cn", "Anonymous"), ("objectClass", "group")];
    attributes.extend(members.iter().map(|member| ("member", *member)));
    directory.add(OPERATORS, "", &attributes);
}

/// A module that asks at `address`.
fn module(address: &str) -> Value {
    json!({"type": "ldap", "success": "required", "url": format!("ldap://{address}/ou=people,dc=x"),
           "bindDn": ACCOUNT, "bindPasswordFile": "service.txt",
           "groupBase": "ou=groups,dc=x", "groupFilter": "(&(objectClass=group)(member={DN}))",
           "timeout": "500 ms"})
}

fn setup(module: Value) -> Setup {
    Setup::standard()
        .realm("loginModules", json!([module]))
        .realm("challenges", json!(["Basic"]))
        .set("/roles/1", "operators")
        .file("service.txt", "s3rvice\n")
}

fn start(world: &World, change: impl FnOnce(&mut Value)) -> (Directory, Stage) {
    let directory = directory();
    let mut module = module(&world.fake(directory.fake(), false));
    change(&mut module);
    (directory, setup(module).start(world))
}

fn ask(stage: &Stage, user: &str, password: &str) -> Response {
    stage.connect().ask(&upgrade("/api/ws").basic(user, password))
}

fn status(stage: &Stage, user: &str, password: &str) -> u16 {
    ask(stage, user, password).status
}

/// M24: who is in a group holds its role, and who leaves it loses the next handshake.
pub fn m24_members_of_a_group_hold_its_role(world: &World) {
    let directory = directory();
    let stage = setup(module(&world.fake(directory.fake(), false)))
        .service("requireRoles", json!(["operators"]))
        .start(world);
    stage
        .connect()
        .open(&upgrade("/api/ws").basic("alice", "correct horse"));
    assert_eq!(status(&stage, "bob", "battery"), 403);
    group(&directory, &[DOE]);
    assert_eq!(status(&stage, "alice", "correct horse"), 403);
    // A comma and parentheses in the name are escaped by nobody: they are octets of a value.
    assert_eq!(status(&stage, "doe", "st@ple"), 101);
    let decisions = stage.decisions(4);
    let subjects: Vec<_> = decisions
        .iter()
        .filter_map(|decision| decision.subject.as_deref())
        .collect();
    assert_eq!(subjects, ["alice", "bob", "alice", "doe"]);
    for secret in ["correct horse", "battery", "st@ple", "s3rvice"] {
        assert!(!stage.log().contains(secret));
        assert!(!format!("{:?}", stage.gateway()).contains(secret));
    }
}

/// M24: the conversation is a search, a bind as what it found, and a look at the groups by the account.
pub fn m24_search_bind_and_groups(world: &World) {
    let (directory, stage) = start(world, |_| {});
    assert_eq!(status(&stage, "doe", "st@ple"), 101);
    let account = format!("bind {ACCOUNT}");
    let user = format!("bind {DOE}");
    let groups = format!("search ou=groups,dc=x (&(objectClass=group)(member={DOE}))");
    let first = [
        account.as_str(),
        "search ou=people,dc=x (uid=doe)",
        &user,
        &account,
        &groups,
    ];
    assert_eq!(directory.asked()[..5], first);
    let (directory, stage) = start(world, |module| {
        let members = module.as_object_mut().unwrap();
        members.remove("bindDn");
        members.remove("bindPasswordFile");
    });
    assert_eq!(status(&stage, "doe", "st@ple"), 101);
    assert_eq!(
        directory.asked()[..3],
        ["search ou=people,dc=x (uid=doe)", &user, &groups]
    );
}

/// M24, R5: a wrong password and an unknown user are refused with the same bytes.
pub fn m24_wrong_password_and_unknown_user_look_the_same(world: &World) {
    let (_, stage) = start(world, |_| {});
    let wrong = ask(&stage, "alice", "wrong");
    let unknown = ask(&stage, "mallory", "wrong");
    assert_eq!((wrong.status, wrong.masked()), (401, unknown.masked()));
    let challenge = wrong.one("WWW-Authenticate").unwrap();
    assert_eq!(challenge, "Basic realm=\"R\", charset=\"UTF-8\"");
    let reasons = stage.decisions(2);
    let reasons: Vec<_> = reasons.iter().map(|decision| decision.reason.code()).collect();
    assert_eq!(reasons, ["bad_password", "unknown_user"]);
}

/// M24: what looks like a filter is a name that nobody has.
pub fn m24_a_filter_in_the_name_matches_nobody(world: &World) {
    let (directory, stage) = start(world, |_| {});
    for name in ["*)(uid=*", "*", "alice)(uid=alice", "alice*", "\\2a", "{DN}"] {
        assert_eq!(status(&stage, name, "correct horse"), 401, "{name}");
        let asked = directory.asked();
        assert!(
            asked.contains(&format!("search ou=people,dc=x (uid={name})")),
            "{asked:?}"
        );
    }
}

/// M24: an empty password never reaches the server, which would take it for an anonymous bind.
pub fn m24_an_empty_password_reaches_nobody(world: &World) {
    let (directory, stage) = start(world, |_| {});
    for (user, password) in [("alice", ""), ("", "correct horse"), ("", "")] {
        assert_eq!(status(&stage, user, password), 401);
    }
    assert!(directory.asked().is_empty());
    // Nor is anybody missed who cannot be reached.
    directory.is(Mood::Dead);
    assert_eq!(status(&stage, "alice", ""), 401);
}

/// M24: two entries with one name are nobody's.
pub fn m24_two_entries_are_nobody(world: &World) {
    let (directory, stage) = start(world, |_| {});
    directory.add(
        "uid=alice,ou=b,ou=people,dc=x",
        "correct horse",
        &[("uid", "Alice")],
    );
    assert_eq!(status(&stage, "alice", "correct horse"), 401);
    directory.add(
        "uid=alice,ou=c,ou=people,dc=x",
        "correct horse",
        &[("uid", "ALICE")],
    );
    assert_eq!(status(&stage, "alice", "correct horse"), 401);
    assert!(directory.asked().iter().all(|asked| !asked.contains("bind uid=")));
}

/// M24: StartTLS goes first, and nothing follows its refusal.
pub fn m24_start_tls_goes_first(world: &World) {
    let start = |refuses: bool, authority: &str| {
        let directory = directory();
        if refuses {
            directory.refuses_tls();
        }
        let mut module = module(&world.fake(directory.fake(), false));
        module["startTls"] = json!(true);
        module["caFile"] = json!("ca.pem");
        (directory, setup(module).file("ca.pem", authority).start(world))
    };
    let (directory, stage) = start(false, Setup::authority());
    assert_eq!(status(&stage, "alice", "correct horse"), 101);
    assert_eq!(directory.asked()[..2], ["start TLS", &format!("bind {ACCOUNT}")]);
    let (directory, stage) = start(true, Setup::authority());
    assert_eq!(status(&stage, "alice", "correct horse"), 503);
    assert_eq!(directory.asked(), ["start TLS"]);
    // The simulator's TLS has no certificates.
    if stage.sim().is_none() {
        let (directory, stage) = start(false, &Setup::other_authority());
        assert_eq!(status(&stage, "alice", "correct horse"), 503);
        assert_eq!(directory.asked(), ["start TLS"]);
    }
}

/// M24: a directory is who its certificate says, by the authorities that the file names.
pub fn m24_over_tls_with_the_authorities_of_the_file(world: &World) {
    let directory = directory();
    let mut module = module("x");
    module["url"] = json!(format!(
        "ldaps://{}/ou=people,dc=x",
        world.fake(directory.fake(), true)
    ));
    module["caFile"] = json!("ca.pem");
    let stage = setup(module.clone())
        .file("ca.pem", Setup::authority())
        .start(world);
    assert_eq!(status(&stage, "alice", "correct horse"), 101);
    if stage.sim().is_none() {
        let stage = setup(module)
            .file("ca.pem", Setup::other_authority())
            .start(world);
        assert_eq!(status(&stage, "alice", "correct horse"), 503);
    }
}

/// M24: a directory that cannot be asked is 503, right password or not, and recovers by itself.
pub fn m24_a_directory_that_fails_is_503_and_recovers(world: &World) {
    let (directory, stage) = start(world, |_| {});
    for mood in [
        Mood::Silent,
        Mood::Dead,
        Mood::Says(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        // A bind that is refused as busy (51), and the account's own password refused (49).
        Mood::Says(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x33\x04\x00\x04\x00".to_vec()),
        Mood::Says(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00".to_vec()),
        // An answer that announces two gigabytes, and one that is nested a thousand times.
        Mood::Says(b"\x30\x84\x7f\xff\xff\xff".to_vec()),
        Mood::Says([&b"\x30\x82\x10\x00"[..], &b"\x30\x80".repeat(2048)].concat()),
    ] {
        directory.is(mood.clone());
        for password in ["correct horse", "wrong"] {
            let refused = ask(&stage, "alice", password);
            assert_eq!(refused.status, 503, "{mood:?}");
            assert!(refused.one("Retry-After").is_some());
            assert!(refused.all("WWW-Authenticate").is_empty());
        }
        assert_eq!(stage.decisions(1).last().unwrap().reason.code(), "unavailable");
    }
    directory.is(Mood::Well);
    assert_eq!(status(&stage, "alice", "correct horse"), 101);
}

/// M24: an open socket does not care what becomes of the directory.
pub fn m24_a_dead_directory_touches_no_open_socket(world: &World) {
    let (directory, stage) = start(world, |_| {});
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
    directory.is(Mood::Dead);
    assert_eq!(status(&stage, "alice", "correct horse"), 503);
    client.expect_echo(&Frame::text("still here"));
}

/// REFERENCE: at most `maxInFlight` conversations at once, beyond it 503.
pub fn m24_too_many_conversations_are_503(world: &World) {
    let (directory, stage) = start(world, |module| {
        module["maxInFlight"] = json!(1);
        module["timeout"] = json!("9 seconds");
    });
    directory.is(Mood::Silent);
    let mut first = stage.connect();
    first.send(&upgrade("/api/ws").basic("alice", "correct horse").bytes());
    stage.wait_until("the question", |stage| stage.gateway().stats().asking == 1);
    assert_eq!(status(&stage, "bob", "battery"), 503);
    directory.is(Mood::Well);
    stage.nudge();
    assert_eq!(first.expect_head().status, 101);
    assert_eq!(status(&stage, "bob", "battery"), 101);
}

/// R15: what the directory does not know, the next module may.
pub fn m24_in_a_chain(world: &World) {
    let directory = directory();
    let mut module = module(&world.fake(directory.fake(), false));
    module["success"] = json!("sufficient");
    let users = json!({"type": "users", "success": "sufficient", "passwords": "users.htpasswd"});
    let stage = setup(module.clone())
        .realm("loginModules", json!([module, users]))
        .start(world);
    let (user, password) = crate::world::BJORN;
    assert_eq!(status(&stage, user, password), 101);
    assert_eq!(status(&stage, "bob", "battery"), 101);
    directory.is(Mood::Dead);
    assert_eq!(status(&stage, user, password), 101);
    assert_eq!(status(&stage, "bob", "battery"), 503);
    stage.pass(Duration::from_secs(1));
}

/// A configuration that would leak, or could never work, does not load.
pub fn m24_mistakes_do_not_load(world: &World) {
    let _ = world;
    let with = |name: &str, value: Value| {
        let mut module = module("127.0.0.1:1");
        module[name] = value;
        load_error(&setup(module))
    };
    let path = "realms.demo.loginModules[0]";
    for (name, value, says) in [
        ("url", json!("ldap://ldap.example/dc=x"), "in the open"),
        ("userFilter", json!("(uid=alice)"), "without {USERNAME}"),
        ("groupFilter", json!("(member={DN}"), "closing parenthesis"),
        ("bindDn", json!("service"), "not a distinguished name"),
        ("caFile", json!("service.txt"), "no certificate is checked"),
    ] {
        let error = with(name, value);
        assert!(error.contains(&format!("{path}.{name}: ")), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let error = load_error(&setup(module("127.0.0.1:1")).file("service.txt", "\n"));
    assert!(error.contains("the file holds no password"), "{error}");
    assert!(error.contains(&format!("{path}.bindPasswordFile")), "{error}");
}
