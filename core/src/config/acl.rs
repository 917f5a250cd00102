//! Access control lists as the file has them.

/// What a client may be entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `websocket.connect`: open a socket.
    Connect,
    /// `read`: see what a service holds.
    Read,
    /// `write`: change it.
    Write,
}

impl Entitlement {
    /// Every entitlement.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Read, Self::Write];

    /// Returns the entitlement with the name `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Returns its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "websocket.connect",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// An access control list. What it does not allow is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Whether the file's own list is asked about what this one says nothing about.
    pub inherit: bool,
    /// Who may do what; without entries nobody may do anything.
    pub entries: Vec<AclEntry>,
}

/// What one role may and may not do. A denial concerns this role alone: another role of the same
/// client may still be allowed the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// The role.
    pub role: String,
    /// What it may do.
    pub allow: Vec<Entitlement>,
    /// What it may not do, whatever `allow` says.
    pub deny: Vec<Entitlement>,
}
