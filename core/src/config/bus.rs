//! What all nodes share: where Redis is, and who may know what it holds.

use super::address;
use super::error::Place;
use super::model::FileRef;

/// Longest URL, in bytes.
const URL_BYTES: usize = 2048;

/// The port that IANA has assigned to Redis; with TLS it is the same by custom.
const PORT: u16 = 6379;

/// The highest number of a database that a URL may name: Redis has 16 unless it is told otherwise,
/// and nobody has so many that four digits would not do.
const LAST_DATABASE: u16 = 9999;

/// The Redis that all nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Where it is.
    pub url: RedisUrl,
    /// The ACL user; `None`: the one that Redis calls `default`.
    pub user: Option<String>,
    /// The file with the user's password; `None`: nobody logs in.
    pub password: Option<FileRef>,
    /// The file with the secret that all nodes know and Redis does not.
    pub secret: FileRef,
    /// Whose certificates are trusted; `None`: those of the system.
    pub ca_file: Option<FileRef>,
    /// Where the URL stands in the file.
    pub place: Place,
}

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether the stream begins with TLS: the scheme is `rediss`.
    pub tls: bool,
    /// A name, or an IP literal without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub database: u16,
}

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in a few words that repeat no password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES {
            return Err(format!("the URL has more than {URL_BYTES} bytes"));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            Some(_) | None => return Err("the URL begins with rediss:// or redis://".to_owned()),
        };
        // Said without the text: what stands before the @ is a password.
        if rest.contains('@') {
            return Err(
                "a URL must not hold a user or a password: \"user\" and \"passwordFile\" name them"
                    .to_owned(),
            );
        }
        if rest.contains(['?', '#']) {
            return Err("nothing stands behind the number of the database".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = address::host(authority)?;
        let database = match path {
            "" => 0,
            number => number
                .parse()
                .ok()
                .filter(|parsed: &u16| *parsed <= LAST_DATABASE && parsed.to_string() == number)
                .ok_or("the path is the number of a database, as in redis://127.0.0.1/0")?,
        };
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.unwrap_or(PORT),
            database,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls_tell_where_redis_is() {
        for (text, host, port, tls, database) in [
            ("redis://127.0.0.1", "127.0.0.1", 6379, false, 0),
            ("rediss://redis.example:6380/", "redis.example", 6380, true, 0),
            ("redis://[::1]:7/12", "::1", 7, false, 12),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.host, url.port, url.tls, url.database),
                (host, port, tls, database),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_and_a_password_in_it_never_shown() {
        let long = format!("redis://{}", "x".repeat(URL_BYTES));
        for text in [
            "",
            "redis.example",
            "http://redis.example/",
            "redis://",
            "redis://a:hunter2@redis.example/",
            "redis://:hunter2@redis.example/",
            "redis://redis.example/hunter2",
            "redis://redis.example/-1",
            "redis://redis.example/00",
            "redis://redis.example/10000",
            "redis://redis.example/0?password=hunter2",
            "redis://redis.example:99999",
            &long,
        ] {
            let fault = RedisUrl::parse(text).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
