//! Digest credentials (RFC 7616): what a client says in `Authorization`, and whether it knows the
//! password. The nonce is judged in [`nonce`](super::nonce).

use std::fmt;

use md5::{Digest as _, Md5};
use ring::digest;

use crate::config::DigestAlgorithm;
use crate::http::credentials::{AuthParam, AuthParams, Malformed};
use crate::http::syntax::{Decoded, hex_value, percent_decode};
use crate::secret::{Secret, constant_time_eq};

/// The parameters that every credential has to have, besides `username` or `username*` and
/// `response`. `opaque` is among them because every challenge of ours has one, and a client returns
/// it unchanged (RFC 7616 section 3.4).
const NEEDED: [&str; 7] = ["realm", "nonce", "uri", "qop", "nc", "cnonce", "opaque"];

/// Digits of a nonce count (RFC 7616 section 3.4).
const COUNT_DIGITS: usize = 8;

/// A Digest credential that is well-formed and made for the request that it came with. `Debug` shows
/// nothing of it.
#[derive(Clone)]
pub struct DigestCredentials {
    /// `None` if the client sent the hash of a name.
    user: Option<String>,
    realm: Vec<u8>,
    /// `None` for one that is not built in.
    algorithm: Option<DigestAlgorithm>,
    nonce: Vec<u8>,
    opaque: Vec<u8>,
    count: u32,
    response: Vec<u8>,
    /// What is hashed behind the hexadecimal HA1: the rest of RFC 7616 section 3.4.1, HA2 included.
    rest: Secret<Vec<u8>>,
}

impl DigestCredentials {
    /// Reads the parameters of a credential that came with `method` and the request target `target`,
    /// both as received.
    ///
    /// Values may be quoted or not, whatever RFC 7616 section 3.4 says of each: clients differ.
    /// Without `algorithm` it is MD5 (section 3.3).
    ///
    /// # Errors
    /// A parameter is missing, empty where it cannot be, repeated or malformed; `qop` is not `auth`,
    /// `nc` is zero, or `uri` is another target.
    pub fn parse(params: &AuthParams<'_>, method: &str, target: &str) -> Result<Self, Malformed> {
        if params.duplicate().is_some() {
            return Err(Malformed);
        }
        let find = |name| params.get(name).map_err(|_| Malformed);
        let [realm, nonce, uri, qop, nc, cnonce, opaque] = NEEDED.map(|name| {
            let param = find(name).ok().flatten();
            param.map(|param| param.value.as_ref())
        });
        // RFC 7616 section 3.4.6: a qop that is not the announced one is refused, or the client would
        // choose what the response protects.
        if qop != Some(b"auth") || uri != Some(target.as_bytes()) {
            return Err(Malformed);
        }
        let nc = nc.ok_or(Malformed)?;
        let count = count(nc).ok_or(Malformed)?;
        let nonce = nonce.ok_or(Malformed)?;
        let cnonce = cnonce.filter(|cnonce| !cnonce.is_empty()).ok_or(Malformed)?;
        let algorithm = match find("algorithm")? {
            None => Some(DigestAlgorithm::Md5),
            Some(name) => algorithm(&name.value),
        };
        let response = find("response")?.and_then(|param| unhex(&param.value));
        let response = response.ok_or(Malformed)?;
        if algorithm.is_some_and(|algorithm| response.len() != algorithm.length()) {
            return Err(Malformed);
        }
        let hashed = match find("userhash")?.map(|param| param.value.as_ref()) {
            None | Some(b"false") => false,
            Some(b"true") => true,
            Some(_) => return Err(Malformed),
        };
        let user = user(find("username")?, find("username*")?, hashed)?;
        let rest = algorithm.map(|algorithm| {
            let ha2 = hash(algorithm, &[method.as_bytes(), b":", target.as_bytes()]);
            [b"", nonce, nc, cnonce, b"auth", hex(&ha2).as_bytes()].join(&b':')
        });
        Ok(Self {
            user: (!hashed).then_some(user),
            realm: realm.ok_or(Malformed)?.to_vec(),
            algorithm,
            nonce: nonce.to_vec(),
            opaque: opaque.ok_or(Malformed)?.to_vec(),
            count,
            response,
            rest: Secret::new(rest.unwrap_or_default()),
        })
    }

    /// Returns the user's name; `None` if the client sent the hash of it, which no challenge of ours
    /// asks for.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the realm's text.
    pub fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// Returns the algorithm, if it is one that is built in.
    pub const fn algorithm(&self) -> Option<DigestAlgorithm> {
        self.algorithm
    }

    /// Returns the nonce and the opaque value.
    pub fn nonce(&self) -> (&[u8], &[u8]) {
        (&self.nonce, &self.opaque)
    }

    /// Returns how often the client says that it has used the nonce, this time included.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Says whether the response is that of a client who knows the password behind `ha1`, the bytes
    /// of `H(user:realm:password)`. Its time does not depend on where they differ.
    #[must_use]
    pub fn is_answer_of(&self, ha1: &[u8]) -> bool {
        let Some(algorithm) = self.algorithm else {
            return false;
        };
        let ha1 = Secret::new(hex(ha1));
        let expected = hash(algorithm, &[ha1.expose().as_bytes(), self.rest.expose()]);
        constant_time_eq(&expected, &self.response)
    }
}

impl fmt::Debug for DigestCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestCredentials(***)")
    }
}

/// Returns the algorithm of this name, if it is built in.
fn algorithm(name: &[u8]) -> Option<DigestAlgorithm> {
    DigestAlgorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
}

/// Reads a nonce count: eight hexadecimal digits, not zero.
fn count(digits: &[u8]) -> Option<u32> {
    if digits.len() != COUNT_DIGITS {
        return None;
    }
    let count = digits.iter().try_fold(0, |sum: u32, digit| {
        Some(sum << 4 | u32::from(hex_value(*digit)?))
    })?;
    (count != 0).then_some(count)
}

/// Reads the user's name from the one of its two parameters that is there (RFC 7616 section 3.4).
fn user(
    plain: Option<&AuthParam<'_>>,
    extended: Option<&AuthParam<'_>>,
    hashed: bool,
) -> Result<String, Malformed> {
    let name = match (plain, extended) {
        (Some(plain), None) => plain.value.to_vec(),
        (None, Some(extended)) if !hashed && !extended.quoted => extended_value(&extended.value)?,
        (None, None) | (Some(_), Some(_)) | (None, Some(_)) => return Err(Malformed),
    };
    String::from_utf8(name).map_err(|_| Malformed)
}

/// Reads an `ext-value` in UTF-8 (RFC 8187 section 3.2): `UTF-8'language'percent-encoded`.
fn extended_value(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut parts = text.splitn(3, |byte| *byte == b'\'');
    let (Some(charset), Some(_language), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Malformed);
    };
    if !charset.eq_ignore_ascii_case(b"UTF-8") {
        return Err(Malformed);
    }
    let bytes = percent_decode(value).map(|decoded| match decoded {
        Decoded::Escape(byte) => Ok(byte),
        Decoded::Plain(b'%' | b'\'' | b'*') => Err(Malformed),
        Decoded::Plain(byte) => Ok(byte),
    });
    bytes.collect()
}

/// Hashes what `parts` are one behind the other.
fn hash(algorithm: DigestAlgorithm, parts: &[&[u8]]) -> Vec<u8> {
    match algorithm {
        DigestAlgorithm::Sha256 => {
            let mut context = digest::Context::new(&digest::SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish().as_ref().to_vec()
        }
        // RFC 7616 keeps MD5 for clients that know nothing else; a realm has to ask for it.
        DigestAlgorithm::Md5 => {
            let mut context = Md5::new();
            parts.iter().for_each(|part| context.update(part));
            context.finalize().to_vec()
        }
    }
}

/// Writes bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| {
        char::from(if value < 10 {
            b'0' + value
        } else {
            b'a' + value - 10
        })
    };
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Reads hexadecimal digits in pairs, in either case; `None` if it is anything else.
pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(hex_value(*high)? << 4 | hex_value(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::credentials::{Authorization, Rest};

    const TARGET: &str = "/dir/index.html";

    /// The credential of RFC 7616 section 3.9.1 with some parameters replaced; `None` leaves one out.
    fn field(changes: &[(&str, Option<&str>)]) -> String {
        let right = [
            ("username", "\"Mufasa\""),
            ("realm", "\"http-auth@example.org\""),
            ("uri", "\"/dir/index.html\""),
            ("algorithm", "SHA-256"),
            ("nonce", "\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\""),
            ("nc", "00000001"),
            ("cnonce", "\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\""),
            ("qop", "auth"),
            (
                "response",
                "\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"",
            ),
            ("opaque", "\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""),
        ];
        let kept = right.iter().map(|(name, value)| {
            let change = changes.iter().find(|(changed, _)| changed == name);
            (*name, change.map_or(Some(*value), |(_, value)| *value))
        });
        let known = |name: &str| right.iter().any(|(right, _)| *right == name);
        let more = changes.iter().filter(|(name, _)| !known(name)).copied();
        let list: Vec<_> = kept
            .chain(more)
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
            .collect();
        format!("Digest {}", list.join(", "))
    }

    fn read_at(field: &str, target: &str) -> Result<DigestCredentials, Malformed> {
        match Authorization::parse(field.as_bytes()).unwrap().rest {
            Rest::Params(params) => DigestCredentials::parse(&params, "GET", target),
            Rest::Empty | Rest::Token68(_) | Rest::Other => panic!("{field}"),
        }
    }

    fn read(changes: &[(&str, Option<&str>)]) -> Result<DigestCredentials, Malformed> {
        read_at(&field(changes), TARGET)
    }

    fn ha1(algorithm: DigestAlgorithm) -> Vec<u8> {
        hash(algorithm, &[b"Mufasa:http-auth@example.org:Circle of Life"])
    }

    #[test]
    fn m33_the_example_of_rfc_7616_sha_256() {
        let credentials = read(&[]).unwrap();
        assert_eq!(credentials.user(), Some("Mufasa"));
        assert_eq!(credentials.algorithm(), Some(DigestAlgorithm::Sha256));
        assert_eq!(credentials.count(), 1);
        assert!(credentials.is_answer_of(&ha1(DigestAlgorithm::Sha256)));
        assert!(!credentials.is_answer_of(&ha1(DigestAlgorithm::Md5)));
        assert!(!credentials.is_answer_of(b""));
    }

    #[test]
    fn m33_the_example_of_rfc_7616_md5() {
        let response = Some("\"8ca523f5e9506fed4657c9700eebdbec\"");
        for algorithm in [Some("MD5"), Some("\"md5\""), None] {
            let credentials = read(&[("algorithm", algorithm), ("response", response)]).unwrap();
            assert_eq!(credentials.algorithm(), Some(DigestAlgorithm::Md5));
            assert!(credentials.is_answer_of(&ha1(DigestAlgorithm::Md5)));
            assert!(!credentials.is_answer_of(&ha1(DigestAlgorithm::Sha256)));
        }
    }

    #[test]
    fn m33_every_hashed_parameter_counts() {
        for (name, value) in [
            ("nc", "00000002"),
            ("nonce", "\"other\""),
            ("cnonce", "\"other\""),
            (
                "response",
                "\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c0\"",
            ),
        ] {
            let credentials = read(&[(name, Some(value))]).unwrap();
            assert!(!credentials.is_answer_of(&ha1(DigestAlgorithm::Sha256)), "{name}");
        }
        let other = read_at(&field(&[("uri", Some("\"/other\""))]), "/other").unwrap();
        assert!(!other.is_answer_of(&ha1(DigestAlgorithm::Sha256)));
    }

    #[test]
    fn r13_missing_and_repeated_parameters_are_malformed() {
        for name in NEEDED.into_iter().chain(["username", "response"]) {
            assert!(read(&[(name, None)]).is_err(), "without {name}");
            let twice = format!("{}, {}=x", field(&[]), name.to_uppercase());
            assert!(read_at(&twice, TARGET).is_err(), "{name} twice");
        }
        assert!(read_at(&format!("{}, x=1, X=1", field(&[])), TARGET).is_err());
        assert!(read(&[("x", Some("1"))]).is_ok(), "others are of no concern");
    }

    #[test]
    fn r13_parameters_with_other_values_are_malformed() {
        for (name, value) in [
            ("qop", "auth-int"),
            ("qop", "\"auth,auth-int\""),
            ("qop", "AUTH"),
            ("qop", "\"\""),
            ("nc", "00000000"),
            ("nc", "1"),
            ("nc", "000000001"),
            ("nc", "0000000g"),
            ("nc", "\"\""),
            ("cnonce", "\"\""),
            ("uri", "\"/dir/index.html?x\""),
            ("uri", "\"/dir/Index.html\""),
            ("uri", "\"http://a/dir/index.html\""),
            ("response", "\"\""),
            ("response", "\"8ca523f5e9506fed4657c9700eebdbec\""),
            ("response", "\"x\""),
            ("response", "\"75392\""),
            ("userhash", "yes"),
            ("username", "\"\u{fc}\\\""),
        ] {
            let field = field(&[(name, Some(value))]);
            let Ok(Authorization {
                rest: Rest::Params(params),
                ..
            }) = Authorization::parse(field.as_bytes())
            else {
                continue;
            };
            assert!(
                DigestCredentials::parse(&params, "GET", TARGET).is_err(),
                "{name}={value}"
            );
        }
        let latin = field(&[]).replace("Mufasa", "M\u{fc}").into_bytes();
        let latin: Vec<u8> = latin.into_iter().filter(|byte| *byte != 0xC3).collect();
        let Rest::Params(params) = Authorization::parse(&latin).unwrap().rest else {
            panic!("no parameters")
        };
        assert!(
            DigestCredentials::parse(&params, "GET", TARGET).is_err(),
            "not UTF-8"
        );
    }

    #[test]
    fn r13_quotes_are_as_clients_put_them() {
        let quoted = [
            ("qop", Some("\"auth\"")),
            ("nc", Some("\"00000001\"")),
            ("algorithm", Some("\"SHA-256\"")),
        ];
        assert!(read(&quoted).unwrap().is_answer_of(&ha1(DigestAlgorithm::Sha256)));
        assert!(read(&[("nonce", Some("bare"))]).is_ok());
    }

    #[test]
    fn r13_an_unknown_algorithm_is_well_formed() {
        for name in ["SHA-512-256", "MD5-sess", "SHA-256-sess", "\"\""] {
            let credentials = read(&[("algorithm", Some(name))]).unwrap();
            assert_eq!(credentials.algorithm(), None);
            assert!(!credentials.is_answer_of(&ha1(DigestAlgorithm::Sha256)));
        }
    }

    #[test]
    fn r13_the_extended_name_is_utf_8() {
        let name = |value| read(&[("username", None), ("username*", Some(value))]);
        let user = |value| name(value).unwrap().user().map(str::to_owned);
        assert_eq!(
            user("UTF-8''J%C3%A4s%C3%B8n%20Doe").as_deref(),
            Some("J\u{e4}s\u{f8}n Doe")
        );
        assert_eq!(user("utf-8'de'a").as_deref(), Some("a"));
        for value in [
            "a",
            "UTF-8'a",
            "ISO-8859-1''a",
            "UTF-8''%",
            "UTF-8''%4",
            "UTF-8''%ff",
            "UTF-8''a'b",
            "\"UTF-8''a\"",
        ] {
            assert!(name(value).is_err(), "{value}");
        }
        assert!(read(&[("username*", Some("UTF-8''a"))]).is_err(), "both");
    }

    #[test]
    fn r13_a_hashed_name_is_no_name() {
        assert_eq!(read(&[("userhash", Some("true"))]).unwrap().user(), None);
        assert_eq!(
            read(&[("userhash", Some("false"))]).unwrap().user(),
            Some("Mufasa")
        );
        let extended = [
            ("userhash", Some("true")),
            ("username", None),
            ("username*", Some("UTF-8''a")),
        ];
        assert!(read(&extended).is_err());
    }

    #[test]
    fn r10_debug_shows_nothing() {
        assert_eq!(format!("{:?}", read(&[]).unwrap()), "DigestCredentials(***)");
    }
}
