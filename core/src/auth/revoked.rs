//! What a revocation names, and the file that lists some.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::basis::Basis;
use super::grant::{Authority, Identity};
use super::json;
use crate::time::UnixTime;

/// The most revocations of one kind, posted or listed: a minute's work for who posts them, and some
/// ten megabytes.
pub(crate) const REVOCATIONS: usize = 100_000;

/// Longest subject, token id, issuer or realm of a revocation, in bytes: those of a token that fits
/// in a request head are shorter.
pub(crate) const LONGEST_NAME: usize = 4096;

/// What is revoked: a subject or a single token, everywhere or of one issuer or in one realm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revoked {
    what: What,
    issuer: Option<String>,
    realm: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Subject(String),
    Token(String),
}

impl Revoked {
    /// A subject; without `issuer` whoever vouches for it.
    #[cfg(test)]
    pub(crate) const fn subject(subject: String, issuer: Option<String>, realm: Option<String>) -> Self {
        Self {
            what: What::Subject(subject),
            issuer,
            realm,
        }
    }

    /// Takes what is revoked out of `members`.
    ///
    /// # Errors
    /// Not exactly one of `subject` and `jti` is there, or a member is no string, empty or too long.
    pub(crate) fn take(members: &mut Map<String, Value>) -> Result<Self, &'static str> {
        let mut text = |name| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= LONGEST_NAME => Ok(Some(text)),
            Some(_) => Err("subject, jti, issuer and realm are strings of 1 to 4096 bytes"),
        };
        let what = match (text("subject")?, text("jti")?) {
            (Some(subject), None) => What::Subject(subject),
            (None, Some(id)) => What::Token(id),
            (Some(_), Some(_)) | (None, None) => return Err("one of subject and jti is needed"),
        };
        Ok(Self {
            what,
            issuer: text("issuer")?,
            realm: text("realm")?,
        })
    }

    /// Returns what [`Self::take`] reads.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let members = [
            ("subject", self.subject_text()),
            ("jti", self.token_id()),
            ("issuer", self.issuer()),
            ("realm", self.realm()),
        ];
        let members = members.into_iter();
        members
            .filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))))
            .collect()
    }

    /// Returns every name that what `basis` rests on may be revoked by. Who came without a credential
    /// is nobody in particular, and has none.
    pub(crate) fn names_of(basis: &Basis) -> Vec<Self> {
        let mut names = Vec::new();
        for identity in basis.identities() {
            if let (Some(subject), Authority::Issuer(_) | Authority::Module(_)) =
                (&identity.subject, &identity.authority)
            {
                add_names(&mut names, &What::Subject(subject.clone()), Some(identity));
            }
        }
        for (id, identity) in basis.token_ids() {
            add_names(&mut names, &What::Token(id.to_owned()), identity);
        }
        names
    }

    /// Returns the subject, if one is revoked.
    pub(crate) fn subject_text(&self) -> Option<&str> {
        match &self.what {
            What::Subject(subject) => Some(subject),
            What::Token(_) => None,
        }
    }

    /// Returns the token's `jti`, if a token is revoked.
    pub(crate) fn token_id(&self) -> Option<&str> {
        match &self.what {
            What::Subject(_) => None,
            What::Token(id) => Some(id),
        }
    }

    /// Returns the issuer that it is about.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns the realm that it is about.
    pub(crate) fn realm(&self) -> Option<&str> {
        self.realm.as_deref()
    }
}

fn add_names(names: &mut Vec<Revoked>, what: &What, identity: Option<&Identity>) {
    let issuer = identity.and_then(|identity| match &identity.authority {
        Authority::Issuer(issuer) => Some(issuer.clone()),
        Authority::Module(_) | Authority::Anonymous => None,
    });
    let realm = identity.map(|identity| identity.realm.to_string());
    for issuer in [None, issuer.as_ref()] {
        for realm in [None, realm.as_ref()] {
            let name = Revoked {
                what: what.clone(),
                issuer: issuer.cloned(),
                realm: realm.cloned(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
}

/// The revocations of a file.
#[derive(Debug, Default)]
pub(crate) struct Listed(BTreeMap<Revoked, Option<UnixTime>>);

impl Listed {
    /// Reads a file of one JSON object a line. A later line about the same replaces an earlier one.
    ///
    /// # Errors
    /// Every line that cannot be understood.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Vec<(usize, &'static str)>> {
        let (mut listed, mut errors) = (BTreeMap::new(), Vec::new());
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match read_line(line) {
                Ok((revoked, until)) => drop(listed.insert(revoked, until)),
                Err(error) => errors.push((index + 1, error)),
            }
            if listed.len() > REVOCATIONS {
                errors.push((
                    index + 1,
                    "there are more than 100000 revocations: remove those that are over",
                ));
                break;
            }
        }
        if errors.is_empty() {
            Ok(Self(listed))
        } else {
            Err(errors)
        }
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether something that `basis` rests on is revoked at the time `now`.
    pub(crate) fn holds(&self, basis: &Basis, now: UnixTime) -> bool {
        let holds = |until: &Option<UnixTime>| until.is_none_or(|until| now < until);
        !self.0.is_empty()
            && Revoked::names_of(basis)
                .iter()
                .any(|name| self.0.get(name).is_some_and(holds))
    }
}

/// Reads one line. What a log line has besides is passed over, so that it can be copied as it is.
fn read_line(line: &[u8]) -> Result<(Revoked, Option<UnixTime>), &'static str> {
    let mut members = json::object(line).map_err(|_| "not a JSON object")?;
    for name in ["event", "time", "level"] {
        members.remove(name);
    }
    let until = match members.remove("until") {
        None => None,
        Some(Value::String(text)) => Some(UnixTime::from_rfc3339(&text).ok_or(UNTIL)?),
        Some(Value::Number(number)) => Some(UnixTime::from_secs(number.as_u64().ok_or(UNTIL)?)),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return Err(UNTIL),
    };
    let revoked = Revoked::take(&mut members)?;
    if members.is_empty() {
        Ok((revoked, until))
    } else {
        Err("unknown member: subject or jti, issuer, realm and until are known")
    }
}

const UNTIL: &str = "until is a time like \"2030-01-31T12:00:00Z\"";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn e20_a_file_of_revocations_is_read_line_by_line() {
        let text = br#"{"subject":"alice","until":"2030-01-31T12:00:00Z"}

{"event":"revocation","time":"2026-01-01T00:00:00Z","level":"info","jti":"x","issuer":"i","realm":"r","until":5}
{"subject":"bob"}
{"subject":"bob","until":"1970-01-01T00:00:07Z"}
"#;
        let listed = Listed::parse(text).unwrap();
        assert_eq!(listed.len(), 3);
        let bob = Revoked::subject("bob".into(), None, None);
        assert_eq!(listed.0.get(&bob), Some(&Some(UnixTime::from_secs(7))));
        for (line, bad) in [
            "{}",
            "[]",
            r#"{"subject":"a","jti":"b"}"#,
            r#"{"subject":""}"#,
            r#"{"subject":"a","until":"tomorrow"}"#,
            r#"{"subject":"a","until":-1}"#,
            r#"{"subject":"a","user":"b"}"#,
            r#"{"subject":"a","subject":"b"}"#,
        ]
        .iter()
        .enumerate()
        {
            let text = format!("{}{bad}\n", "\n".repeat(line));
            let errors = Listed::parse(text.as_bytes()).unwrap_err();
            assert_eq!(errors.len(), 1, "{bad}");
            assert_eq!(errors[0].0, line + 1, "{bad}");
        }
    }

    #[test]
    fn e20_a_file_holds_so_many_revocations_and_no_more() {
        let lines = |count: usize| -> String {
            (0..count)
                .map(|number| format!("{{\"jti\":\"{number}\"}}\n"))
                .collect()
        };
        assert!(Listed::parse(lines(REVOCATIONS).as_bytes()).is_ok());
        assert!(Listed::parse(lines(REVOCATIONS + 1).as_bytes()).is_err());
    }
}
