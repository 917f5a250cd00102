//! Why a stored hash is refused.

use std::fmt;

use super::MAX_PASSWORD_BYTES;

/// A scheme that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `{SHA}` and its kin: unsalted or fast.
    Ldap,
    /// `$apr1$` and `$1$`: MD5.
    Md5Crypt,
    /// `$argon2i$` and `$argon2d$`.
    OtherArgon2,
    /// `$2$` and `$2x$`: made by implementations with known faults.
    BrokenBcrypt,
    /// Clear text, DES crypt, or something else.
    Unknown,
}

/// Why a stored hash is refused. Never carries the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// Another scheme.
    Unsupported(Scheme),
    /// The named part is broken.
    Malformed(&'static str),
    /// A verification would cost too much.
    TooCostly {
        /// What is too high.
        parameter: &'static str,
        /// The highest accepted value.
        limit: u32,
        /// The value.
        found: u32,
    },
    /// A password over [`MAX_PASSWORD_BYTES`].
    LongPassword,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(scheme) => f.write_str(match scheme {
                Scheme::Ldap => "{SHA} and the like are not accepted",
                Scheme::Md5Crypt => "MD5 hashes ($apr1$, $1$) are not accepted",
                Scheme::OtherArgon2 => "of the argon2 family only argon2id is accepted",
                Scheme::BrokenBcrypt => "of the bcrypt family only $2a$, $2b$ and $2y$ are accepted",
                Scheme::Unknown => {
                    "not a bcrypt, argon2id or SHA-crypt hash (clear text and DES crypt are not accepted); the command \
                     `hash` makes one"
                }
            }),
            Self::Malformed(part) => write!(f, "{part} of the hash is malformed"),
            Self::TooCostly {
                parameter,
                limit,
                found,
            } => write!(f, "the hash costs too much: {parameter} {found}, at most {limit}"),
            Self::LongPassword => write!(f, "a password has at most {MAX_PASSWORD_BYTES} bytes"),
        }
    }
}

impl std::error::Error for HashError {}
