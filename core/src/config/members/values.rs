//! The values that members have: strings with a format, bounded numbers, lists of them.

use super::super::network::Network;
use super::super::table::{Format, Kind};
use super::super::{address, endpoint, syntax, upstream};

pub(super) const MEBIBYTE: u64 = 1024 * 1024;

/// Bounds of a number of things that a process holds.
pub(super) const MANY: Kind = Kind::Count {
    min: 1,
    max: 1_000_000_000,
};
/// Bounds of what one connection may buffer of a request head, in bytes.
pub(super) const HEAD: Kind = Kind::Count {
    min: 1,
    max: MEBIBYTE,
};
/// Bounds of a memory budget in bytes.
pub(super) const MEMORY: Kind = Kind::Count {
    min: 1,
    max: 1024 * 1024 * MEBIBYTE,
};
pub(super) const POSITIVE: Kind = Kind::Duration { min: 1 };
pub(super) const ANY_LENGTH: Kind = Kind::Duration { min: 0 };

pub(super) static PLAIN: Format = Format {
    check: syntax::plain,
    pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
};
pub(super) static DESCRIPTION: Format = Format {
    check: syntax::description,
    pattern: "^[ -~]+$",
};
pub(super) static TOKEN: Format = Format {
    check: syntax::token,
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
};
pub(super) static SCOPE: Format = Format {
    check: syntax::scope,
    pattern: "^[!#-\\[\\]-~]+$",
};
pub(super) static ROLE: Format = Format {
    check: syntax::role,
    pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
};
pub(super) static UUID: Format = Format {
    check: syntax::uuid,
    pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
};
pub(super) static LISTEN: Format = Format {
    check: |text| address::listen(text).map(|_| ()),
    pattern: "^.+:[0-9]{1,5}$",
};
pub(super) static HOST: Format = Format {
    check: address::host_entry,
    pattern: "^(\\*|[0-9A-Za-z._:\\[\\]-]+)$",
};
pub(super) static PATH: Format = Format {
    check: address::path,
    pattern: "^/[^?#]*$",
};
pub(super) static ENDPOINT: Format = Format {
    check: address::endpoint,
    pattern: "^/([^?#]*[^?#/])$",
};
pub(super) static OWN_NAME: Format = Format {
    check: syntax::own_name,
    pattern: "^[^@\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$",
};
pub(super) static ACCEPT: Format = Format {
    check: |text| address::accept(text).map(|_| ()),
    pattern: "^(wss?://[^/?#]+)?/[^?#]*$",
};
pub(super) static SESSION_COOKIE: Format = Format {
    check: syntax::session_cookie,
    pattern: "^__Host-[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
};
pub(super) static CARRIER: Format = Format {
    check: |text| syntax::carrier(text).map(|_| ()),
    pattern: "^(authorization|(header|query|cookie|subprotocol):.+)$",
};
pub(super) static CHALLENGE: Format = Format {
    check: |text| syntax::challenge(text).map(|_| ()),
    pattern: "^(Application )?[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
};
pub(super) static ORIGIN: Format = Format {
    check: address::origin,
    pattern: "^(null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+)$",
};

pub(super) static URL: Format = Format {
    check: |text| endpoint::url(text).map(|_| ()),
    pattern: "^https?://[^#@]+$",
};

pub(super) static UPSTREAM_URL: Format = Format {
    check: |text| upstream::url(text).map(|_| ()),
    pattern: "^(wss?|tcp)://[^#@]+$",
};

pub(super) static FIELD: Format = Format {
    check: upstream::field,
    pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
};

pub(super) static NETWORK: Format = Format {
    check: |text| Network::parse(text).map(|_| ()),
    pattern: "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
};

pub(super) static FIELD_NAME: Kind = Kind::Text(&FIELD);
pub(super) static NETWORK_TEXT: Kind = Kind::Text(&NETWORK);
pub(super) static NAME: Kind = Kind::Text(&PLAIN);
pub(super) static ROLE_NAME: Kind = Kind::Text(&ROLE);
pub(super) static SCOPE_TOKEN: Kind = Kind::Text(&SCOPE);
pub(super) static LISTEN_ADDRESS: Kind = Kind::Text(&LISTEN);
pub(super) static HOST_ENTRY: Kind = Kind::Text(&HOST);
pub(super) static ACCEPT_ENTRY: Kind = Kind::Text(&ACCEPT);
pub(super) static CARRIER_NAME: Kind = Kind::Text(&CARRIER);
pub(super) static CHALLENGE_NAME: Kind = Kind::Text(&CHALLENGE);
pub(super) static ORIGIN_NAME: Kind = Kind::Text(&ORIGIN);
pub(super) static PROTOCOL: Kind = Kind::Text(&TOKEN);
pub(super) const fn list(of: &'static Kind) -> Kind {
    Kind::List { of, min: 0 }
}

pub(super) const fn some(of: &'static Kind) -> Kind {
    Kind::List { of, min: 1 }
}

/// A map of what the author gives names to.
pub(super) const fn named(of: &'static Kind) -> Kind {
    Kind::Map {
        of,
        name: &OWN_NAME,
        min: 0,
    }
}
