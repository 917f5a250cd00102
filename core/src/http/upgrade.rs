//! The WebSocket part of an upgrade request (RFC 6455 section 4.2.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use zeroize::Zeroizing;

use super::fields::Fields;
use super::request::RequestHead;
use super::status::Status;
use super::syntax::is_token_byte;

/// Most subprotocols that one client may offer. Real ones offer one to five.
pub const PROTOCOL_LIMIT: usize = 64;

/// Length of a Sec-WebSocket-Key: 16 bytes in base64 with padding.
const KEY_LENGTH: usize = 24;

/// Length of a Sec-WebSocket-Accept: the 20 bytes of a SHA-1 in base64 with padding.
pub const ACCEPT_LENGTH: usize = 28;

/// What the key is hashed with (RFC 6455 section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why an upgrade request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeError {
    /// The request has a body.
    Body,
    /// No Sec-WebSocket-Version.
    MissingVersion,
    /// More than one Sec-WebSocket-Version, be it in one line.
    DuplicateVersion,
    /// Another version than 13.
    UnsupportedVersion,
    /// No Sec-WebSocket-Key.
    MissingKey,
    /// More than one Sec-WebSocket-Key.
    DuplicateKey,
    /// The key is not the base64 form of 16 bytes.
    BadKey,
    /// A subprotocol that is no token.
    BadProtocol,
    /// More subprotocols than allowed.
    TooManyProtocols {
        /// The limit.
        limit: usize,
    },
}

impl UpgradeError {
    /// Returns the status to answer with. The connection closes after every one of them.
    pub const fn status(self) -> Status {
        match self {
            Self::UnsupportedVersion => Status::UpgradeRequired,
            Self::Body
            | Self::MissingVersion
            | Self::DuplicateVersion
            | Self::MissingKey
            | Self::DuplicateKey
            | Self::BadKey
            | Self::BadProtocol
            | Self::TooManyProtocols { .. } => Status::BadRequest,
        }
    }
}

/// A Sec-WebSocket-Key: 16 bytes in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

impl Key {
    /// Returns the key as it arrived.
    pub fn as_str(&self) -> &str {
        // Every byte is a letter of base64, so it is text.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Reads a key. The last of its 22 letters stands for two bits, and the others of it are zero: each key
    /// has one form (RFC 4648 section 4).
    fn read(value: &[u8]) -> Option<Self> {
        let key: [u8; KEY_LENGTH] = value.try_into().ok()?;
        let [letters @ .., last, b'=', b'='] = key else {
            return None;
        };
        // Nearly all are good, so that an early end is worth less than what it costs at each letter.
        let good = letters
            .iter()
            .fold(true, |good, &byte| good & BASE64_LETTERS[byte as usize]);
        (good && matches!(last, b'A' | b'Q' | b'g' | b'w')).then_some(Self(key))
    }
}

/// The letters of base64 (RFC 4648 section 4).
static BASE64_LETTERS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'+' | b'/');
        byte += 1;
    }
    table
};

/// What a correct upgrade request says. `Debug` prints no subprotocol: one may be a token.
pub struct Upgrade {
    /// Sec-WebSocket-Key, as it arrived.
    pub key: Key,
    /// The offered subprotocols in order, over all lines. One may be a token (R9), so they are
    /// zeroed when this is dropped.
    pub protocols: Zeroizing<Vec<String>>,
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upgrade({} protocols)", self.protocols.len())
    }
}

/// Checks the WebSocket part of a request that [wants WebSocket](RequestHead::wants_websocket).
/// Decided in this order: body, version, key, subprotocols.
///
/// # Errors
/// The request must be refused.
pub fn check(head: &RequestHead) -> Result<Upgrade, UpgradeError> {
    check_with(head, false)
}

/// Checks like [`check`], but lets `/` and `=` pass in subprotocols (`lenientSubprotocolToken`). The
/// caller refuses them wherever no token is expected.
///
/// # Errors
/// The request must be refused.
pub fn check_lenient(head: &RequestHead) -> Result<Upgrade, UpgradeError> {
    check_with(head, true)
}

/// Returns the offered subprotocols in order, over all lines of Sec-WebSocket-Protocol. Empty
/// members are ignored (RFC 9110 section 5.6.1.2), repeated ones are kept.
///
/// # Errors
/// One of them is no token, or there are too many.
pub fn protocols(fields: &Fields, lenient: bool) -> Result<Zeroizing<Vec<String>>, UpgradeError> {
    let mut protocols = Zeroizing::new(Vec::new());
    for item in fields.list("sec-websocket-protocol") {
        let admitted = |&byte: &u8| is_token_byte(byte) || (lenient && matches!(byte, b'/' | b'='));
        if !item.iter().all(admitted) {
            return Err(UpgradeError::BadProtocol);
        }
        if protocols.len() >= PROTOCOL_LIMIT {
            return Err(UpgradeError::TooManyProtocols {
                limit: PROTOCOL_LIMIT,
            });
        }
        let item = str::from_utf8(item).map_err(|_| UpgradeError::BadProtocol)?;
        protocols.push(item.to_owned());
    }
    Ok(protocols)
}

/// Returns the Sec-WebSocket-Accept for `key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &str) -> String {
    String::from_utf8_lossy(&accept_key_bytes(key)).into_owned()
}

/// Returns what [`accept_key`] does, without an allocation.
pub fn accept_key_bytes(key: &str) -> [u8; ACCEPT_LENGTH] {
    // The protocol fixes SHA-1; nothing rests on its strength.
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(KEY_SUFFIX.as_bytes());
    let mut accept = [0; ACCEPT_LENGTH];
    // It has the length of its code, whatever was hashed.
    let _ = STANDARD.encode_slice(context.finish(), &mut accept);
    accept
}

fn check_with(head: &RequestHead, lenient: bool) -> Result<Upgrade, UpgradeError> {
    if !head.body().is_empty() {
        return Err(UpgradeError::Body);
    }
    version(head.fields())?;
    let key = key(head.fields())?;
    let protocols = protocols(head.fields(), lenient)?;
    Ok(Upgrade { key, protocols })
}

fn version(fields: &Fields) -> Result<(), UpgradeError> {
    let mut values = fields.get_all("sec-websocket-version");
    match (values.next(), values.next()) {
        (None | Some(b""), None) => Err(UpgradeError::MissingVersion),
        (Some(b"13"), None) => Ok(()),
        (Some(value), None) if !value.contains(&b',') => Err(UpgradeError::UnsupportedVersion),
        (_, _) => Err(UpgradeError::DuplicateVersion),
    }
}

fn key(fields: &Fields) -> Result<Key, UpgradeError> {
    let mut values = fields.get_all("sec-websocket-key");
    let value = match (values.next(), values.next()) {
        (None | Some(b""), None) => return Err(UpgradeError::MissingKey),
        (Some(value), None) => value,
        (_, _) => return Err(UpgradeError::DuplicateKey),
    };
    Key::read(value).ok_or(UpgradeError::BadKey)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::HeadLimits;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

    fn head(fields: &str) -> RequestHead {
        let head =
            format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n");
        RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap()
    }

    fn checked(fields: &str) -> Result<Vec<String>, UpgradeError> {
        check(&head(fields)).map(|upgrade| upgrade.protocols.to_vec())
    }

    #[test]
    fn m01_accept_key_of_rfc_6455() {
        let upgrade = check(&head(&format!("{KEY}{VERSION}"))).unwrap();
        assert_eq!(accept_key(upgrade.key.as_str()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade.key.as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(upgrade.protocols.is_empty());
    }

    #[test]
    fn m37_version_errors() {
        for (version, error) in [
            ("", UpgradeError::MissingVersion),
            ("Sec-WebSocket-Version:\r\n", UpgradeError::MissingVersion),
            ("Sec-WebSocket-Version: 13, 8\r\n", UpgradeError::DuplicateVersion),
            (
                "Sec-WebSocket-Version: 13\r\nsec-websocket-version: 13\r\n",
                UpgradeError::DuplicateVersion,
            ),
            ("Sec-WebSocket-Version: 12\r\n", UpgradeError::UnsupportedVersion),
            ("Sec-WebSocket-Version: 8\r\n", UpgradeError::UnsupportedVersion),
            ("Sec-WebSocket-Version: 013\r\n", UpgradeError::UnsupportedVersion),
            ("Sec-WebSocket-Version: x\r\n", UpgradeError::UnsupportedVersion),
        ] {
            assert_eq!(checked(&format!("{version}{KEY}")), Err(error), "{version}");
        }
        assert_eq!(UpgradeError::UnsupportedVersion.status(), Status::UpgradeRequired);
        assert_eq!(UpgradeError::DuplicateVersion.status(), Status::BadRequest);
    }

    #[test]
    fn m37_key_errors() {
        for (key, error) in [
            ("", UpgradeError::MissingKey),
            ("Sec-WebSocket-Key: \r\n", UpgradeError::MissingKey),
            (&format!("{KEY}{KEY}"), UpgradeError::DuplicateKey),
            // 15 and 17 bytes, no padding, other alphabet, bits behind the last byte.
            (
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
                UpgradeError::BadKey,
            ),
            (
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWE=\r\n",
                UpgradeError::BadKey,
            ),
            (
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
                UpgradeError::BadKey,
            ),
            (
                "Sec-WebSocket-Key: _-hlIHNhbXBsZSBub25jZQ==\r\n",
                UpgradeError::BadKey,
            ),
            (
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
                UpgradeError::BadKey,
            ),
        ] {
            assert_eq!(checked(&format!("{VERSION}{key}")), Err(error), "{key}");
        }
    }

    #[test]
    fn m37_a_key_is_what_the_engine_decodes_to_16_bytes() {
        let decodes = |value: &[u8]| {
            let decoded = STANDARD.decode(value);
            value.len() == KEY_LENGTH && decoded.is_ok_and(|decoded| decoded.len() == 16)
        };
        let good = *b"dGhlIHNhbXBsZSBub25jZQ==";
        for at in 0..KEY_LENGTH {
            for byte in 0..=255 {
                let mut value = good;
                value[at] = byte;
                assert_eq!(Key::read(&value).is_some(), decodes(&value), "{at} {byte}");
            }
            assert!(Key::read(&good[..at]).is_none() && Key::read(&good[at + 1..]).is_none());
        }
        assert!(Key::read(&[&b"A"[..], &good].concat()).is_none());
    }

    #[test]
    fn r02_a_body_on_an_upgrade_is_400() {
        let good = format!("{VERSION}{KEY}");
        for body in ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(
                checked(&format!("{good}{body}")),
                Err(UpgradeError::Body),
                "{body}"
            );
        }
        assert!(checked(&format!("{good}Content-Length: 0\r\n")).is_ok());
    }

    #[test]
    fn r09_protocol_lines_join_in_order() {
        let good = format!("{VERSION}{KEY}");
        let lines = "Sec-WebSocket-Protocol: access_token, eyJ.a-b_c\r\nX: y\r\nsec-websocket-protocol: ,chat,chat\r\n";
        assert_eq!(
            checked(&format!("{good}{lines}")).unwrap(),
            ["access_token", "eyJ.a-b_c", "chat", "chat"]
        );
        for bad in ["a b", "a/b", "a=", "\"a\"", "a;b", "a@b", "\u{e9}"] {
            let fields = format!("{good}Sec-WebSocket-Protocol: access_token, {bad}\r\n");
            assert_eq!(checked(&fields), Err(UpgradeError::BadProtocol), "{bad}");
        }
        let lenient = head(&format!(
            "{good}Sec-WebSocket-Protocol: access_token, a/b+c==\r\n"
        ));
        assert_eq!(
            *check_lenient(&lenient).unwrap().protocols,
            ["access_token", "a/b+c=="]
        );
        let lenient = head(&format!("{good}Sec-WebSocket-Protocol: a b\r\n"));
        assert_eq!(check_lenient(&lenient).unwrap_err(), UpgradeError::BadProtocol);
    }

    #[test]
    fn protocols_are_bounded() {
        let offer = |count| {
            let names = vec!["p"; count].join(",");
            checked(&format!("{VERSION}{KEY}Sec-WebSocket-Protocol: {names}\r\n"))
        };
        assert_eq!(offer(PROTOCOL_LIMIT).unwrap().len(), PROTOCOL_LIMIT);
        assert_eq!(
            offer(PROTOCOL_LIMIT + 1),
            Err(UpgradeError::TooManyProtocols { limit: 64 })
        );
    }

    #[test]
    fn r10_debug_shows_no_protocol() {
        let upgrade = check(&head(&format!(
            "{VERSION}{KEY}Sec-WebSocket-Protocol: s3cret\r\n"
        )))
        .unwrap();
        assert_eq!(format!("{upgrade:?}"), "Upgrade(1 protocols)");
    }
}
