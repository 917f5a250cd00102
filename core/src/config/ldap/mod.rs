//! An `ldap` module as plain data: where the directory is, and what it is asked.

mod dn;
mod filter;
mod url;

use std::time::Duration;

use super::error::Place;
use super::model::FileRef;

pub use dn::DN_BYTES;
pub use filter::{
    Comparison, Extensible, FILTER_BYTES, FILTER_DEPTH, Filling, Filter, Pieces, Placeholder, Value,
};
pub use url::LdapUrl;

pub(super) use dn::check as check_dn;
pub(super) use filter::attribute as check_attribute;

/// An `ldap` module (SPEC M24).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// Where the directory is, and below which entry users are.
    pub url: LdapUrl,
    /// Secures the stream before anything else is said.
    pub start_tls: bool,
    /// Which entry is the user's; it has `{USERNAME}` and not `{DN}`.
    pub user_filter: Filter,
    /// Who searches; `None`: nobody in particular.
    pub account: Option<Account>,
    /// Where groups are found; `None`: they are not asked for.
    pub groups: Option<GroupSearch>,
    /// Whose certificates are trusted; `None`: those of the system.
    pub ca_file: Option<FileRef>,
    /// How long the whole conversation of one login may take.
    pub timeout: Duration,
    /// How many conversations there may be at once.
    pub max_in_flight: usize,
    /// Where the URL stands in the file.
    pub place: Place,
}

/// The account that searches for users and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its distinguished name.
    pub dn: String,
    /// The file of its password, of which one trailing line end is removed.
    pub password: FileRef,
}

/// How a user's groups are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSearch {
    /// The entry below which they are.
    pub base: String,
    /// Which of them are the user's; it has `{DN}` or `{USERNAME}`.
    pub filter: Filter,
    /// The attribute whose values are the roles.
    pub attribute: String,
}
