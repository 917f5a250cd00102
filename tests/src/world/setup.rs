//! Configurations for tests: a complete one by default, then what a row needs.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_core::config::{Config, ConfigErrors, MemoryFiles};
use serde_json::{Value, json};

use super::{Stage, World};
use crate::keys;
use crate::sim::Habits;

/// A user of the tests with a password that has no other characters than letters and a space.
pub const ALICE: (&str, &str) = ("alice", "correct horse");
/// A user whose hash is argon2id.
pub const BOB: (&str, &str) = ("bob", "battery staple");
/// A user whose name and password are not ASCII, and whose password has colons.
pub const BJORN: (&str, &str) = ("björn", "a:b:c ü");

/// The users above under hashes with the smallest parameters: bcrypt with cost 4, argon2id with
/// 8 KiB, SHA-crypt with 1000 rounds.
const PASSWORDS: &str = "\
alice:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e
bob:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$IuLMXOVl10MEY+fkFx+7E1x9IGSLL8GYmCIWunvo02s
björn:$6$rounds=1000$saltsalt$18x8558NsmFhvdEWn3av.WMtbnVDtydJa4PFyfrUEa97sk1hQiRuChj/bPtMtjAP4Aax7vLlIEeVagmn2V8oR1
";

/// What every gateway of the tests is called in its own files.
pub const FILE: &str = "countersign.json";

/// A configuration under construction.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Value,
    files: BTreeMap<String, Vec<u8>>,
    habits: Option<Habits>,
}

impl Setup {
    /// One plain-text server `edge` with the service `echo` at `/api/ws` behind the realm `R`,
    /// which takes the tests' users and the tests' tokens.
    pub fn standard() -> Self {
        let config = json!({
            "roles": ["admin"],
            "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
            "realms": {"demo": {
                "description": "R",
                "challenges": ["Bearer", "Basic"],
                "scope": ["a", "b"],
                "loginModules": [
                    {"type": "users", "success": "sufficient", "passwords": "users.htpasswd", "groups": "users.htgroup"},
                    {"type": "jwt", "success": "sufficient", "issuer": keys::ISSUER, "audience": keys::AUDIENCE,
                     "roles": ["group"], "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}},
                ],
            }},
            "services": {"echo": {
                "type": "echo", "accept": "/api/ws", "realm": "demo", "origins": ["https://app.example"],
            }},
        });
        let setup = Self {
            config,
            files: BTreeMap::new(),
            habits: None,
        };
        setup
            .file("users.htpasswd", PASSWORDS)
            .file("users.htgroup", "operators: alice\n")
            .file("secret.key", keys::SECRET)
    }

    /// Returns the lines of the tests' users.
    pub const fn passwords() -> &'static str {
        PASSWORDS
    }

    /// Puts a file beside the configuration, in place of one of that name.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Sets the member at a JSON pointer whose parent exists.
    ///
    /// # Panics
    /// If the parent does not exist.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let parent = self
            .config
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("no {pointer}"));
        match parent {
            Value::Array(list) => match name.parse::<usize>() {
                Ok(index) if index < list.len() => list[index] = value.into(),
                Ok(_) | Err(_) => list.push(value.into()),
            },
            Value::Object(members) => {
                members.insert(name.to_owned(), value.into());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                panic!("no parent: {pointer}")
            }
        }
        self
    }

    /// Takes the member at a JSON pointer out.
    #[must_use]
    pub fn unset(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        if let Some(Value::Object(members)) = self.config.pointer_mut(parent) {
            members.remove(name);
        }
        self
    }

    /// Sets a member of `limits`.
    #[must_use]
    pub fn limit(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.config["limits"][name] = value.into();
        self
    }

    /// Lets one address fail as often as it likes: for rows with more refusals than a client may have.
    #[must_use]
    pub fn patient(self) -> Self {
        self.set("/throttle", json!({"failures": 1_000_000}))
    }

    /// Sets a member of the realm.
    #[must_use]
    pub fn realm(self, name: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("/realms/demo/{name}"), value)
    }

    /// Sets a member of the service.
    #[must_use]
    pub fn service(self, name: &str, value: impl Into<Value>) -> Self {
        self.set(&format!("/services/echo/{name}"), value)
    }

    /// Sets a member of the `jwt` module, which stays the only module if the others were taken out.
    #[must_use]
    pub fn jwt(self, name: &str, value: impl Into<Value>) -> Self {
        let modules = self
            .config
            .pointer("/realms/demo/loginModules")
            .and_then(Value::as_array);
        let index = modules.and_then(|all| all.iter().position(|module| module["type"] == "jwt"));
        let index = index.expect("the realm has a jwt module");
        self.set(&format!("/realms/demo/loginModules/{index}/{name}"), value)
    }

    /// Leaves the realm with tokens alone: the `jwt` module and the Bearer challenge.
    #[must_use]
    pub fn tokens_only(mut self) -> Self {
        let modules = self
            .config
            .pointer_mut("/realms/demo/loginModules")
            .and_then(Value::as_array_mut);
        modules
            .expect("the realm has modules")
            .retain(|module| module["type"] == "jwt");
        self.realm("challenges", json!(["Bearer"]))
            .unset("/services/echo/origins")
    }

    /// Lets the `jwt` module verify by a public key.
    #[must_use]
    pub fn public_key(self, algorithm: &str, pem: &str) -> Self {
        self.jwt(
            "verification",
            json!({"publicKey": {algorithm: {"keyFile": "issuer.pem"}}}),
        )
        .file("issuer.pem", pem)
    }

    /// Lets the server speak TLS.
    #[must_use]
    pub fn tls(self) -> Self {
        self.unset("/servers/0/plaintext")
            .set("/servers/0/serverCertificate", "server.pem")
            .file("server.pem", super::certificate::pem())
    }

    /// Returns the certificate that the tests' TLS peers have, and vouches for them.
    pub fn authority() -> &'static str {
        super::certificate::pem()
    }

    /// Returns a certificate that vouches for nobody.
    pub fn other_authority() -> String {
        super::certificate::other()
    }

    /// Lets what a client writes at once arrive at once, in the simulator too.
    #[must_use]
    pub const fn unsplit(self) -> Self {
        self.habits(Habits::SLOW)
    }

    /// Lets the simulator behave like this.
    #[must_use]
    pub const fn habits(mut self, habits: Habits) -> Self {
        self.habits = Some(habits);
        self
    }

    /// Returns the habits that this row asks for.
    pub const fn wanted_habits(&self) -> Option<Habits> {
        self.habits
    }

    /// Returns every file, the configuration among them.
    pub fn all_files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        files.insert(FILE.to_owned(), serde_json::to_vec_pretty(&self.config).unwrap());
        files
    }

    /// Loads it, as `check` does.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(Path::new(FILE), &mut self.memory())
    }

    /// Returns every file, in memory.
    pub fn memory(&self) -> MemoryFiles {
        let mut memory = MemoryFiles::default();
        for (name, bytes) in self.all_files() {
            memory.insert(name, bytes);
        }
        memory
    }

    /// Starts it.
    pub fn start(self, world: &World) -> Stage {
        world.start(&self)
    }
}
