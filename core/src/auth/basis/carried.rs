//! A grant and what it rests on, as one node hands them to another. Who takes them in has rules of
//! its own: the credential is judged by these, whatever the other node made of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Answered, Answers, Basis, Evidence, Factor, Line, Shape};
use crate::auth::grant::{Authority, Grant, Identity};
use crate::auth::introspection::Introspected;
use crate::auth::json;
use crate::auth::present::Credential;
use crate::exchange::ldap::User;
use crate::secret::Secret;
use crate::time::{Deadline, Now, UnixTime};

impl Basis {
    /// Returns what another node can make the same basis of.
    pub(crate) fn carried(&self) -> Value {
        self.0.iter().map(|factor| factor.carried()).collect()
    }

    /// Makes a basis of what another node has carried.
    pub(crate) fn from_carried(value: &Value, now: Now) -> Option<Self> {
        let factors = value.as_array()?.iter();
        let factors = factors.map(|factor| Some(Arc::new(Factor::from_carried(factor, now)?)));
        factors.collect::<Option<_>>().map(Self)
    }
}

impl Factor {
    fn carried(&self) -> Value {
        let mut carried = json!({
            "realm": &*self.name,
            "grant": self.grant.carried(),
            "tokens": self.token_ids,
        });
        if let Evidence::Login {
            shape,
            lines,
            signed,
            answers,
            judged,
        } = &self.evidence
        {
            let lines = lines.iter().map(|line| json!([line.user, text(&line.print)]));
            carried["login"] = json!({
                "shape": shape.name(),
                "lines": lines.collect::<Value>(),
                "signed": signed.as_ref().map_or(Value::Null, credential),
                "answers": answers.iter().map(answer).collect::<Value>(),
                "judged": time(*judged),
            });
        }
        carried
    }

    fn from_carried(value: &Value, now: Now) -> Option<Self> {
        let evidence = match value.get("login") {
            None => Evidence::Anonymous,
            Some(login) => Evidence::Login {
                shape: Shape::from_name(string(login, "shape")?)?,
                lines: list(login, "lines", |line| {
                    Some(Line {
                        user: line.get(0)?.as_str()?.to_owned(),
                        print: bytes(line.get(1)?)?,
                    })
                })?,
                signed: optional(login, "signed", credential_of)?,
                answers: list(login, "answers", answer_of)?,
                judged: time_of(login.get("judged")?)?,
            },
        };
        Some(Self {
            // No realm of this node: it judges the evidence before anything is granted.
            realm: Weak::new(),
            name: string(value, "realm")?.into(),
            grant: Arc::new(Grant::from_carried(value.get("grant")?, now)?),
            token_ids: strings(value, "tokens")?,
            evidence,
        })
    }
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Digest => "digest",
            Self::Token => "token",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Basic, Self::Digest, Self::Token]
            .into_iter()
            .find(|shape| shape.name() == name)
    }
}

impl Grant {
    /// Returns what another node can make the same grant of.
    pub(crate) fn carried(&self) -> Value {
        let identity = self.identity.as_ref().map(|identity| {
            let authority = match &identity.authority {
                Authority::Issuer(issuer) => json!({"issuer": issuer}),
                Authority::Module(index) => json!({"module": index}),
                Authority::Anonymous => json!({}),
            };
            json!({"realm": &*identity.realm, "authority": authority, "subject": identity.subject})
        });
        json!({
            "identity": identity,
            "roles": self.roles,
            "scopes": self.scopes,
            // As a text: claims may be nested as deeply as anything that is read.
            "claims": claims_text(&self.claims),
            "expires": self.expires.map(|end| time(end.unix)),
        })
    }

    /// Makes a grant of what another node has carried.
    pub(crate) fn from_carried(value: &Value, now: Now) -> Option<Self> {
        let set = |name| strings(value, name).map(BTreeSet::from_iter);
        Some(Self {
            identity: optional(value, "identity", identity_of)?,
            roles: set("roles")?,
            scopes: set("scopes")?,
            claims: Arc::new(claims_of(value.get("claims")?)?),
            expires: optional(value, "expires", |end| {
                Some(Deadline::at_unix(time_of(end)?, now))
            })?,
        })
    }
}

fn identity_of(value: &Value) -> Option<Identity> {
    let authority = value.get("authority")?;
    let authority = match (authority.get("issuer"), authority.get("module")) {
        (Some(issuer), None) => Authority::Issuer(issuer.as_str()?.to_owned()),
        (None, Some(index)) => Authority::Module(usize::try_from(index.as_u64()?).ok()?),
        (None, None) => Authority::Anonymous,
        (Some(_), Some(_)) => return None,
    };
    Some(Identity {
        realm: string(value, "realm")?.into(),
        authority,
        subject: optional(value, "subject", |subject| subject.as_str().map(str::to_owned))?,
    })
}

fn credential(credential: &Credential) -> Value {
    match credential {
        Credential::Token(token) => json!({"token": token.expose()}),
        Credential::Basic { user, password } => json!({"user": user, "password": text(password.expose())}),
        // Neither carries a signature of its own: they are never kept.
        Credential::Digest(_) | Credential::Pass(_) => Value::Null,
    }
}

fn credential_of(value: &Value) -> Option<Credential> {
    match value.get("token") {
        Some(token) => Some(Credential::Token(Arc::new(Secret::new(
            token.as_str()?.to_owned(),
        )))),
        None => Some(Credential::Basic {
            user: string(value, "user")?.to_owned(),
            password: Secret::new(bytes(value.get("password")?)?),
        }),
    }
}

fn answer((id, answered): &([u8; 32], Answered)) -> Value {
    match answered {
        Answered::Token(Introspected::Active(claims)) => {
            json!({"id": text(id), "claims": claims_text(claims)})
        }
        Answered::Token(Introspected::Inactive) => json!({"id": text(id)}),
        Answered::Entry(user) => {
            json!({"id": text(id), "dn": user.dn, "name": user.name, "groups": user.groups})
        }
    }
}

fn answer_of(value: &Value) -> Option<<Answers as IntoIterator>::Item> {
    let id = bytes(value.get("id")?)?.try_into().ok()?;
    let answered = match (value.get("claims"), value.get("dn")) {
        (Some(claims), None) => Answered::Token(Introspected::Active(Arc::new(claims_of(claims)?))),
        (None, Some(dn)) => Answered::Entry(User {
            dn: dn.as_str()?.to_owned(),
            name: string(value, "name")?.to_owned(),
            groups: strings(value, "groups")?,
        }),
        (None, None) => Answered::Token(Introspected::Inactive),
        (Some(_), Some(_)) => return None,
    };
    Some((id, answered))
}

fn claims_text(claims: &Map<String, Value>) -> String {
    // Maps of JSON values are always written.
    serde_json::to_string(claims).unwrap_or_default()
}

fn claims_of(value: &Value) -> Option<Map<String, Value>> {
    json::object(value.as_str()?.as_bytes()).ok()
}

/// Returns a wall clock time as JSON: nanoseconds would be more than a number holds.
pub(crate) fn time(time: UnixTime) -> Value {
    Value::from(u64::try_from(time.since_epoch().as_micros()).unwrap_or(u64::MAX))
}

/// Reads what [`time`] has written.
pub(crate) fn time_of(value: &Value) -> Option<UnixTime> {
    Some(UnixTime::new(std::time::Duration::from_micros(value.as_u64()?)))
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()
}

/// Reads the member `name`, which may be null; `None` if it cannot be read.
pub(crate) fn optional<T>(
    value: &Value,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<Option<T>> {
    let member = value.get(name)?;
    if member.is_null() {
        return Some(None);
    }
    read(member).map(Some)
}

fn string<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

fn list<T>(value: &Value, name: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    value.get(name)?.as_array()?.iter().map(read).collect()
}

fn strings(value: &Value, name: &str) -> Option<Vec<String>> {
    list(value, name, |text| text.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::time::Duration;

    fn now() -> Now {
        Now::default().after(Duration::from_secs(1_000))
    }

    #[test]
    fn what_is_carried_arrives_as_it_was() {
        let identity = |authority, subject: Option<&str>| Identity {
            realm: "r".into(),
            authority,
            subject: subject.map(Into::into),
        };
        let claims = json!({"a": [1, {"b": null}], "\u{e4}": "x"});
        let grant = |identity| Grant {
            identity,
            roles: BTreeSet::from(["A".to_owned(), "B C".to_owned()]),
            scopes: BTreeSet::from(["s".to_owned()]),
            claims: Arc::new(claims.as_object().unwrap().clone()),
            expires: Some(Deadline::after(Duration::from_millis(1_500), now())),
        };
        let answers = vec![
            ([1; 32], Answered::Token(Introspected::Inactive)),
            ([2; 32], Answered::Token(Introspected::Active(Arc::default()))),
            (
                [3; 32],
                Answered::Entry(User {
                    dn: "uid=a".into(),
                    name: "a".into(),
                    groups: vec!["g".into()],
                }),
            ),
        ];
        let factor = |identity, evidence| {
            Arc::new(Factor {
                realm: Weak::new(),
                name: "r".into(),
                grant: Arc::new(grant(identity)),
                token_ids: vec!["j".into()],
                evidence,
            })
        };
        let login = |shape, signed, answers| Evidence::Login {
            shape,
            lines: vec![Line {
                user: "a".into(),
                print: vec![0, 255],
            }],
            signed,
            answers,
            judged: UnixTime::from_secs(7),
        };
        let token = Credential::Token(Arc::new(Secret::new("t".into())));
        let basic = Credential::Basic {
            user: "u".into(),
            password: Secret::new(vec![0xff]),
        };
        let basis = Basis(vec![
            factor(None, Evidence::Anonymous),
            factor(
                Some(identity(Authority::Anonymous, Some("anonymous"))),
                login(Shape::Basic, Some(basic), Vec::new()),
            ),
            factor(
                Some(identity(Authority::Issuer("i".into()), None)),
                login(Shape::Token, Some(token), answers),
            ),
            factor(
                Some(identity(Authority::Module(3), Some("a"))),
                login(Shape::Digest, None, Vec::new()),
            ),
        ]);
        let carried = basis.carried();
        let read = serde_json::from_slice(&serde_json::to_vec(&carried).unwrap()).unwrap();
        let arrived = Basis::from_carried(&read, now()).unwrap();
        assert_eq!(arrived.carried(), carried);
        let [first, ..] = &arrived.0[..] else { panic!() };
        assert_eq!(first.grant.expires, grant(None).expires);
        assert_eq!(*first.grant.claims, *claims.as_object().unwrap());
    }

    #[test]
    fn what_is_no_basis_is_none() {
        for bad in [
            json!({}),
            json!([{}]),
            json!([{"realm": "r", "grant": {}, "tokens": []}]),
            json!([{"realm": "r", "tokens": [], "grant": {"identity": null, "roles": [1], "scopes": [],
                "claims": "{}", "expires": null}}]),
            json!([{"realm": "r", "tokens": [], "grant": {"identity": null, "roles": [], "scopes": [],
                "claims": "[]", "expires": null}}]),
        ] {
            assert!(Basis::from_carried(&bad, now()).is_none(), "{bad}");
        }
    }
}
