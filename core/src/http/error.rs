//! What can be wrong with a request head.

use super::host::BadHost;
use super::status::Status;
use super::target::BadTarget;

/// The part of a head that a byte stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The method.
    Method,
    /// The request target.
    Target,
    /// The protocol version.
    Version,
    /// A field name.
    Name,
    /// A field value.
    Value,
}

/// Why a head is no request. `at` counts the bytes that were pushed before the offending one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// A LF without CR.
    BareLf {
        /// Where the LF stands.
        at: usize,
    },
    /// A CR without LF.
    BareCr {
        /// Where the CR stands.
        at: usize,
    },
    /// A byte that this part may not have.
    BadByte {
        /// Where the byte stands.
        at: usize,
        /// The byte.
        byte: u8,
        /// The part that it stands in.
        part: Part,
    },
    /// A `%` in the target without two hexadecimal digits behind it.
    BadEscape {
        /// Where a digit is missing.
        at: usize,
    },
    /// A line that begins with white space: folded (RFC 9112 section 5.2), or the first one (section 2.2).
    Folded {
        /// Where the white space stands.
        at: usize,
    },
    /// White space between a field name and its colon (RFC 9112 section 5.1).
    SpaceBeforeColon {
        /// Where the white space stands.
        at: usize,
    },
    /// A field without a name.
    EmptyName {
        /// Where the colon stands.
        at: usize,
    },
    /// The request line is longer than allowed.
    RequestLineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head is larger than allowed.
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head has more fields than allowed.
    TooManyFields {
        /// The limit in field lines.
        limit: usize,
    },
    /// The major version is 2 or higher: also the preface of HTTP/2.
    UnsupportedVersion {
        /// The major version.
        major: u8,
        /// The minor version.
        minor: u8,
    },
    /// The head was to be read before its end arrived.
    Incomplete,
    /// A part of the head is not where it was found: a fault of ours.
    Unparsable,
    /// The method is a token, but none of the nine known ones.
    UnknownMethod,
    /// The target is no target of this method.
    BadTarget(BadTarget),
    /// Content-Length and Transfer-Encoding in one head.
    LengthWithCoding,
    /// More than one Content-Length line.
    DuplicateLength,
    /// A Content-Length that is not digits, or does not fit 64 bits.
    BadLength,
    /// A Transfer-Encoding in an HTTP/1.0 head.
    CodingOnHttp10,
    /// The last transfer coding is not exactly `chunked`, or a list member is empty.
    BadCoding,
    /// A transfer coding before `chunked`.
    UnsupportedCoding,
    /// No Host in an HTTP/1.1 head.
    MissingHost,
    /// More than one Host line.
    DuplicateHost,
    /// A Host that is none.
    BadHost(BadHost),
    /// The authority of an absolute target differs from the Host.
    HostMismatch,
}

impl HeadError {
    /// Names the fault of a byte that `part` may not have.
    pub(super) const fn bad_byte(at: usize, byte: u8, part: Part) -> Self {
        match (byte, part) {
            (b'\n', _) => Self::BareLf { at },
            (b'\r', Part::Name | Part::Value) => Self::BareCr { at },
            (b' ' | b'\t', Part::Name) => Self::SpaceBeforeColon { at },
            (_, part) => Self::BadByte { at, byte, part },
        }
    }

    /// Returns the status to answer with. The connection closes after every one of them.
    pub const fn status(self) -> Status {
        match self {
            Self::BareLf { .. }
            | Self::BareCr { .. }
            | Self::BadByte { .. }
            | Self::BadEscape { .. }
            | Self::Folded { .. }
            | Self::SpaceBeforeColon { .. }
            | Self::EmptyName { .. }
            | Self::Incomplete
            | Self::Unparsable
            | Self::BadTarget(_)
            | Self::LengthWithCoding
            | Self::DuplicateLength
            | Self::BadLength
            | Self::CodingOnHttp10
            | Self::BadCoding
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::BadHost(_)
            | Self::HostMismatch => Status::BadRequest,
            Self::RequestLineTooLong { .. } => Status::UriTooLong,
            Self::HeadTooLarge { .. } | Self::TooManyFields { .. } => Status::HeadTooLarge,
            Self::UnsupportedVersion { .. } => Status::VersionNotSupported,
            Self::UnknownMethod | Self::UnsupportedCoding => Status::NotImplemented,
        }
    }
}
