//! The login chain: every pair of modules against a model of the rules (R15).

use serde_json::{Value, json};

use crate::client::upgrade;
use crate::keys::Signer;
use crate::world::{Setup, World};

/// What a module says of alice's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Success,
    Failure,
    Ignored,
}

const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];
const OUTCOMES: [Says; 3] = [Says::Success, Says::Failure, Says::Ignored];

fn module(flag: &str, says: Says) -> Value {
    match says {
        Says::Success => json!({"type": "users", "success": flag, "passwords": "users.htpasswd"}),
        Says::Failure => json!({"type": "users", "success": flag, "passwords": "strangers.htpasswd"}),
        Says::Ignored => json!({"type": "jwt", "success": flag, "issuer": "i", "audience": "a",
            "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}}),
    }
}

/// R15 as it is written, for any chain.
fn passes(chain: &[(&str, Says)]) -> bool {
    let mut required_failed = false;
    let mut succeeded = false;
    for (flag, says) in chain {
        match (*flag, *says) {
            (_, Says::Ignored) => {}
            ("sufficient", Says::Success) if !required_failed => return true,
            (_, Says::Success) => succeeded = true,
            ("requisite", Says::Failure) => return false,
            ("required", Says::Failure) => required_failed = true,
            (_, Says::Failure) => {}
        }
    }
    succeeded && !required_failed
}

/// One gateway with a service for each chain; the path tells which.
fn judge(world: &World, chains: &[Vec<(&str, Says)>]) {
    let strangers = Setup::passwords().replace("alice:", "zoe:");
    let mut setup = Setup::standard().patient().file("strangers.htpasswd", strangers);
    for (number, chain) in chains.iter().enumerate() {
        let modules: Vec<_> = chain.iter().map(|(flag, says)| module(flag, *says)).collect();
        let realm = json!({"challenges": ["Basic"], "loginModules": modules});
        let service = json!({"type": "echo", "accept": format!("/{number}"), "realm": format!("r{number}"), "origins": []});
        setup = setup
            .set(&format!("/realms/r{number}"), realm)
            .set(&format!("/services/s{number}"), service);
    }
    let stage = setup.start(world);
    for (number, chain) in chains.iter().enumerate() {
        let answer = stage
            .connect()
            .ask(&upgrade(&format!("/{number}")).basic("alice", "correct horse"));
        let expected = if passes(chain) { 101 } else { 401 };
        assert_eq!(answer.status, expected, "{chain:?}");
    }
}

fn modules() -> impl Iterator<Item = (&'static str, Says)> {
    FLAGS
        .into_iter()
        .flat_map(|flag| OUTCOMES.into_iter().map(move |says| (flag, says)))
}

/// M22: each flag with each outcome, alone.
pub fn m22_single_modules(world: &World) {
    judge(world, &modules().map(|module| vec![module]).collect::<Vec<_>>());
}

/// M22: every pair of flags and outcomes.
pub fn m22_pairs_of_modules(world: &World) {
    let pairs: Vec<_> = modules()
        .flat_map(|first| modules().map(move |second| vec![first, second]))
        .collect();
    judge(world, &pairs);
}

/// R15: decoders alone never let anybody in.
pub fn r15_ignored_is_no_success(world: &World) {
    let chain = vec![
        ("required", Says::Ignored),
        ("sufficient", Says::Ignored),
        ("optional", Says::Ignored),
    ];
    assert!(!passes(&chain));
    judge(world, &[chain]);
}

/// E7, R15: two issuers in one realm: each token is judged by its issuer's keys alone.
pub fn e07_each_issuer_has_its_keys(world: &World) {
    let (one, two) = (Signer::of("EdDSA"), Signer::of("RS256"));
    let jwt = |issuer: &str, algorithm: &str, file: &str| {
        json!({"type": "jwt", "success": "sufficient", "issuer": issuer, "audience": "ws",
            "verification": {"publicKey": {algorithm: {"keyFile": file}}}})
    };
    let modules = json!([
        jwt("https://one.example", "EdDSA", "1.pem"),
        jwt("https://two.example", "RS256", "2.pem")
    ]);
    let setup = Setup::standard().tokens_only().realm("loginModules", modules);
    let stage = setup
        .file("1.pem", one.public_pem())
        .file("2.pem", two.public_pem())
        .start(world);
    let ask = |issuer: &str, key: &Signer| {
        let token = stage.token("alice").claim("iss", issuer).signed(key);
        stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status
    };
    assert_eq!(
        (ask("https://one.example", &one), ask("https://two.example", &two)),
        (101, 101)
    );
    assert_eq!(
        (ask("https://one.example", &two), ask("https://two.example", &one)),
        (401, 401)
    );
}
