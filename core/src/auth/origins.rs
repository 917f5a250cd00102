//! Who may use a realm's own paths: login, logout and tickets.

use crate::http::{Origin, OriginPattern};

/// The pages that may use a realm's own paths, besides those of the server itself.
#[derive(Clone, Debug)]
pub(crate) enum PathOrigins {
    /// Every page: no browser sends a credential here by itself.
    Any,
    /// Pages of the realm's own list.
    Listed(Vec<OriginPattern>),
    /// Pages that all services of the realm allow; without a service that has a list, none.
    Common(Vec<Vec<OriginPattern>>),
}

impl PathOrigins {
    /// Says whether a page of `origin` may.
    pub(crate) fn allow(&self, origin: &Origin) -> bool {
        let listed = |list: &Vec<OriginPattern>| list.iter().any(|pattern| pattern.matches(origin));
        match self {
            Self::Any => true,
            Self::Listed(list) => listed(list),
            Self::Common(lists) => !lists.is_empty() && lists.iter().all(listed),
        }
    }

    /// Says whether a page of `origin` may do so with what the browser sends by itself: only who was
    /// named for this very purpose.
    pub(crate) fn allow_credentials(&self, origin: &Origin) -> bool {
        match self {
            Self::Listed(list) => list.iter().any(|pattern| pattern.matches(origin)),
            Self::Any | Self::Common(_) => false,
        }
    }
}
