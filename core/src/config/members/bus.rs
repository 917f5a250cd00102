//! The members of `bus`.

use super::super::bus::RedisUrl;
use super::super::table::{Format, Kind, Row, row};
use super::values::NAME;

static URL: Kind = Kind::Text(&Format {
    check: |text| RedisUrl::parse(text).map(|_| ()),
    pattern: "^rediss?://[^/?#@]+(/[0-9]{0,4})?$",
});

/// `bus`.
pub(super) static BUS: &[Row] = &[
    row("redis", URL, "Where Redis is; rediss:// for TLS").required(),
    row("user", NAME, "ACL user of Redis; default the user default"),
    row("passwordFile", Kind::File, "Password of the user"),
    row(
        "secretFile",
        Kind::File,
        "Secret of 32 bytes or more, the same on all nodes: Redis sees nothing in clear text",
    )
    .required(),
    row(
        "plaintext",
        Kind::Boolean,
        "Allows a URL without TLS beyond loopback",
    )
    .or("false"),
    row("caFile", Kind::File, "Certificate authority of Redis"),
];
