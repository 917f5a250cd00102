//! The members of `ldap` modules.

use super::super::ldap::{Filter, LdapUrl, check_attribute, check_dn};
use super::super::table::{Format, Kind, Row, row};
use super::values::POSITIVE;

static URL: Kind = Kind::Text(&Format {
    check: |text| LdapUrl::parse(text).map(|_| ()),
    pattern: "^ldaps?://[^/?#@]+/[^?#]+$",
});
static FILTER: Kind = Kind::Text(&Format {
    check: |text| Filter::parse(text).map(|_| ()),
    pattern: "^\\(.+\\)$",
});
static NAME: Kind = Kind::Text(&Format {
    check: check_dn,
    pattern: "^.+=.*$",
});
static ATTRIBUTE: Kind = Kind::Text(&Format {
    check: |text| check_attribute(text).map(|_| ()),
    pattern: "^[0-9A-Za-z.;-]+$",
});

/// Bounds of the conversations at once: each holds a descriptor.
const CONVERSATIONS: Kind = Kind::Count { min: 1, max: 4096 };

/// The members of an `ldap` module.
pub(super) static LDAP: &[Row] = &[
    row(
        "url",
        URL,
        "Where the directory is, with the name below which users are",
    )
    .required(),
    row("userFilter", FILTER, "Which entry is the user's").or("\"(uid={USERNAME})\""),
    row(
        "bindDn",
        NAME,
        "Account that searches; default nobody in particular",
    ),
    row("bindPasswordFile", Kind::File, "Password of bindDn"),
    row(
        "groupBase",
        NAME,
        "Name below which groups are; default that of url",
    ),
    row(
        "groupFilter",
        FILTER,
        "Which groups are the user's; default (member={DN}) where a group member is given, else none",
    ),
    row(
        "groupAttribute",
        ATTRIBUTE,
        "Attribute whose values are the roles; default cn",
    ),
    row(
        "startTls",
        Kind::Boolean,
        "Secures an ldap:// stream before anything is said",
    )
    .or("false"),
    row(
        "caFile",
        Kind::File,
        "Trusted certificates in PEM; default the system's",
    ),
    row(
        "plaintext",
        Kind::Boolean,
        "Allows a URL without TLS beyond loopback",
    )
    .or("false"),
    row(
        "timeout",
        POSITIVE,
        "How long the conversation of one login may take",
    )
    .or("\"5 seconds\""),
    row("maxInFlight", CONVERSATIONS, "Conversations at once").or("64"),
];
