//! How long the body of a request is (RFC 9112 section 6.3). What two parsers could read
//! differently is refused, not repaired: a body's end is where the next request begins.

use super::error::HeadError;
use super::fields::Fields;
use super::request::Version;
use super::syntax::trim_ows;

/// The length of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding.
    None,
    /// So many bytes, zero included.
    Length(u64),
    /// In chunks (RFC 9112 section 7.1).
    Chunked,
}

impl BodyLength {
    /// Says whether no byte of a body follows the head.
    pub const fn is_empty(self) -> bool {
        match self {
            Self::None | Self::Length(0) => true,
            Self::Length(_) | Self::Chunked => false,
        }
    }
}

/// Decides the length of the body.
pub(super) fn body_length(fields: &Fields, version: Version) -> Result<BodyLength, HeadError> {
    if fields.has("transfer-encoding") {
        if fields.has("content-length") {
            return Err(HeadError::LengthWithCoding);
        }
        return match version {
            Version::Http10 => Err(HeadError::CodingOnHttp10),
            Version::Http11 => transfer_coding(fields),
        };
    }
    let mut lengths = fields.get_all("content-length");
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(BodyLength::None),
        (Some(length), None) => content_length(length).map(BodyLength::Length),
        (Some(_), Some(_)) => Err(HeadError::DuplicateLength),
    }
}

fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    // `parse` alone would take a sign.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::BadLength);
    }
    let digits = str::from_utf8(value).map_err(|_| HeadError::BadLength)?;
    digits.parse().map_err(|_| HeadError::BadLength)
}

fn transfer_coding(fields: &Fields) -> Result<BodyLength, HeadError> {
    // Not `Fields::list`: parsers disagree about empty members, so one that is there is refused.
    let codings: Vec<_> = fields
        .get_all("transfer-encoding")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(trim_ows)
        .collect();
    match codings.split_last() {
        Some((last, before)) if last.eq_ignore_ascii_case(b"chunked") => {
            if before.iter().any(|coding| coding.is_empty()) {
                Err(HeadError::BadCoding)
            } else if before.is_empty() {
                Ok(BodyLength::Chunked)
            } else {
                Err(HeadError::UnsupportedCoding)
            }
        }
        Some(_) | None => Err(HeadError::BadCoding),
    }
}
