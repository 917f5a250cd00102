//! The members of access control lists.

use super::super::table::{Kind, Row, Word, row};
use super::values::*;

static ENTRY_OBJECT: Kind = Kind::Object(ENTRY);
static ENTITLEMENT: Kind = Kind::Word(ENTITLEMENTS);

/// The whole of an access control list.
pub(super) static ACL: &[Row] = &[
    row(
        "inherit",
        Kind::Boolean,
        "Asks the file's own acl about what this one says nothing about",
    )
    .or("true"),
    row(
        "entries",
        list(&ENTRY_OBJECT),
        "Who may do what; nobody may do anything without them",
    )
    .or("[]"),
];

static ENTRY: &[Row] = &[
    row("role", ROLE_NAME, "The role").required(),
    row("allow", list(&ENTITLEMENT), "What the role may do").or("[]"),
    row("deny", list(&ENTITLEMENT), "What the role may not do").or("[]"),
];

/// The words of `allow` and `deny`.
static ENTITLEMENTS: &[Word] = &[
    Word::built("websocket.connect"),
    Word::built("read"),
    Word::built("write"),
];
