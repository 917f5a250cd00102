//! The little languages inside strings: durations, tokens, scopes, carriers, challenges.
//! Each function says what is wrong in a few words; whoever calls it knows the place.

use std::time::Duration;

use super::error::{hint, quote};
use super::model::{Carrier, Challenge, Scheme};

/// Longest duration: a hundred years. Every clock can add it to now.
pub const LONGEST_DURATION: Duration = Duration::from_secs(36_500 * 86_400);

/// The units of durations, with their length in milliseconds.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("seconds", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
];

/// A JSON Schema pattern for [`duration`].
pub(super) const DURATION_PATTERN: &str = "^[0-9]+ *(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)$";

/// Fields that a `header:` carrier must not be: they have a meaning of their own.
const OTHER_FIELDS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "origin",
    "connection",
    "upgrade",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "expect",
    "keep-alive",
];

/// Reads a duration such as `30 seconds`, `4 hours` or `90s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ');
    if number.is_empty() {
        return Err(format!(
            "{} is not a duration such as \"30 seconds\"",
            quote(text)
        ));
    }
    if unit.is_empty() {
        return Err(format!(
            "a duration needs a unit: \"{number} seconds\", or ms, s, m, h, d"
        ));
    }
    let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let hint = hint(unit, UNITS.iter().map(|(name, _)| *name));
        return Err(format!(
            "unknown unit {}{hint} (units: ms, s, m, h, d)",
            quote(unit)
        ));
    };
    let length = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*millis));
    length
        .map(Duration::from_millis)
        .filter(|length| *length <= LONGEST_DURATION)
        .ok_or_else(|| "longer than a hundred years".to_owned())
}

/// Checks a text that must not be empty and holds no control characters.
pub(super) fn plain(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    match text.chars().any(char::is_control) {
        true => Err("must not contain control characters".to_owned()),
        false => Ok(()),
    }
}

/// Checks a name that the author gives. Those with `@` are the short form's own words.
pub(super) fn own_name(text: &str) -> Result<(), String> {
    plain(text)?;
    match text.starts_with('@') {
        true => {
            Err("a name must not begin with @: such words belong to the short form of a server".to_owned())
        }
        false => Ok(()),
    }
}

/// Checks what stands in `realm="..."`: printable ASCII, since a quoted-string has no charset.
pub(super) fn description(text: &str) -> Result<(), String> {
    plain(text)?;
    match text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        true => Ok(()),
        false => Err("must be printable ASCII: a challenge has no other characters".to_owned()),
    }
}

/// Checks the name of a role.
pub(super) fn role(text: &str) -> Result<(), String> {
    plain(text)
}

/// Checks an RFC 9110 token.
pub(super) fn token(text: &str) -> Result<(), String> {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !text.is_empty() && text.bytes().all(is_tchar) {
        true => Ok(()),
        false => Err(format!(
            "{} is not a token: letters, digits and !#$%&'*+-.^_`|~",
            quote(text)
        )),
    }
}

/// Checks the name of a session's cookie: with `__Host-` no other host and no plain connection can
/// set it (RFC 6265bis section 4.1.3.2).
pub(super) fn session_cookie(text: &str) -> Result<(), String> {
    token(text)?;
    match text.strip_prefix("__Host-") {
        None | Some("") => {
            Err("the name must begin with \"__Host-\", so that no other host can set the cookie".to_owned())
        }
        Some("csrf") => Err("\"__Host-csrf\" is the login page's own cookie".to_owned()),
        Some(_) => Ok(()),
    }
}

/// Checks an RFC 6749 scope-token.
pub(super) fn scope(text: &str) -> Result<(), String> {
    let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    match !text.is_empty() && text.bytes().all(allowed) {
        true => Ok(()),
        false => Err(format!(
            "{} is not one scope: visible ASCII without spaces, \" and \\",
            quote(text)
        )),
    }
}

/// Checks a UUID.
pub(super) fn uuid(text: &str) -> Result<(), String> {
    let lengths = [8, 4, 4, 4, 12];
    let mut groups = text.split('-');
    let fits = lengths.iter().all(|length| {
        groups
            .next()
            .is_some_and(|group| group.len() == *length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    match fits && groups.next().is_none() {
        true => Ok(()),
        false => Err("not a UUID such as \"2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a10\"".to_owned()),
    }
}

/// Reads a carrier.
pub(super) fn carrier(text: &str) -> Result<Carrier, String> {
    let known = ["authorization", "header", "query", "cookie", "subprotocol"];
    let (kind, name) = match text.split_once(':') {
        None if text == "authorization" => return Ok(Carrier::Authorization),
        None => {
            let hint = hint(text, known);
            return Err(format!(
                "unknown carrier {}{hint} (authorization, header:NAME, query:NAME, cookie:NAME, \
                 subprotocol:MARKER)",
                quote(text)
            ));
        }
        Some(parts) => parts,
    };
    let owned = name.to_owned();
    match kind {
        "header" => header_carrier(name).map(|()| Carrier::Header(owned)),
        "query" => query_name(name).map(|()| Carrier::Query(owned)),
        "cookie" => token(name).map(|()| Carrier::Cookie(owned)),
        "subprotocol" => token(name).map(|()| Carrier::Subprotocol(owned)),
        _ => Err(format!("unknown carrier {}{}", quote(kind), hint(kind, known))),
    }
}

fn header_carrier(name: &str) -> Result<(), String> {
    token(name)?;
    let folded = name.to_ascii_lowercase();
    match OTHER_FIELDS.contains(&folded.as_str()) || folded.starts_with("sec-") {
        true => Err(format!(
            "{} cannot carry a token: the field has a meaning of its own",
            quote(name)
        )),
        false => Ok(()),
    }
}

fn query_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_graphic() && !b"&=#%+".contains(&b);
    match !name.is_empty() && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err("the parameter's name must be visible ASCII without &=#%+".to_owned()),
    }
}

/// Reads a challenge: a scheme's name, optionally with `Application ` before it.
pub(super) fn challenge(text: &str) -> Result<Challenge, String> {
    let (application_prefix, name) = match text.strip_prefix("Application ") {
        Some(name) => (true, name),
        None => (false, text),
    };
    token(name)?;
    Ok(Challenge {
        scheme: Scheme::from_name(name),
        application_prefix,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let seconds = |text| duration(text).unwrap().as_secs();
        assert_eq!(seconds("30 minutes"), 1_800);
        assert_eq!(seconds("4 hours"), 14_400);
        assert_eq!(seconds("90s"), 90);
        assert_eq!(seconds("1 second"), 1);
        assert_eq!(seconds("2 min"), 120);
        assert_eq!(seconds("1d"), 86_400);
        assert_eq!(duration("250 ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("36500 days").unwrap(), LONGEST_DURATION);
        let fault = |text| duration(text).unwrap_err();
        assert!(fault("36501 days").contains("hundred years"));
        assert!(fault("18446744073709551616 s").contains("hundred years"));
        assert!(fault("18446744073709551615 d").contains("hundred years"));
        assert!(fault("30").contains("\"30 seconds\""));
        assert!(fault("30 secnds").contains("did you mean \"seconds\"?"));
        for text in [
            "",
            "s",
            "-1 s",
            "1.5 h",
            "1 hour 30 minutes",
            "1 S",
            "1\ts",
            " 1 s",
            "1 s ",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn m21_carriers_are_written_as_they_are_read() {
        for text in [
            "authorization",
            "header:X-Token",
            "query:access_token",
            "cookie:__Host-session",
            "subprotocol:access_token",
        ] {
            assert_eq!(carrier(text).unwrap().to_string(), text);
        }
        for text in [
            "header:",
            "header:Authorization",
            "header:cookie",
            "header:Host",
            "header:Sec-WebSocket-Key",
            "header:a b",
            "query:",
            "query:a=b",
            "query:a%20",
            "cookie:a;b",
            "subprotocol:a,b",
            "Authorization",
            "client-cert",
            "authorization:x",
        ] {
            assert!(carrier(text).is_err(), "{text}");
        }
        assert!(
            carrier("querry:a")
                .unwrap_err()
                .contains("did you mean \"query\"?")
        );
        assert!(
            carrier("authorisation")
                .unwrap_err()
                .contains("did you mean \"authorization\"?")
        );
    }

    #[test]
    fn m19_a_challenge_is_a_scheme_with_an_optional_prefix() {
        let read = |text| challenge(text).unwrap();
        assert_eq!(read("bearer").scheme, Scheme::Bearer);
        assert_eq!(read("Token").scheme, Scheme::Custom("Token".to_owned()));
        let prefixed = read("Application Basic");
        assert!(prefixed.application_prefix);
        assert_eq!(prefixed.scheme, Scheme::Basic);
        assert_eq!(read("digest").scheme, Scheme::Digest);
        for text in ["", "Application ", "Application a b", "a b", "Application  x"] {
            assert!(challenge(text).is_err(), "{text}");
        }
    }

    #[test]
    fn m13_scopes_and_descriptions_fit_into_a_challenge() {
        assert!(scope("openid").is_ok() && scope("https://a/b!").is_ok());
        for text in ["", "a b", "a\"", "a\\", "\u{e4}", "a\n"] {
            assert!(scope(text).is_err(), "{text:?}");
        }
        assert!(description("My \"realm\" \\ 1").is_ok());
        for text in ["", "\u{e4}", "a\nb", "a\u{7f}"] {
            assert!(description(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn uuids_have_five_groups() {
        assert!(uuid("2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a10").is_ok());
        for text in [
            "",
            "2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a1",
            "2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a1g",
            "2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a10-",
        ] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }
}
