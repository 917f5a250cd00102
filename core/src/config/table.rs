//! What a table of members can say. The tables themselves are in `members`; the shape check, the
//! hints at the nearest name, the defaults and the JSON Schema are all read from them.

/// What every message about a member that this version does not have yet says.
pub(super) const LATER: &str = "not available in this version";

/// One member of an object.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// One line for the schema.
    pub(super) doc: &'static str,
    pub(super) kind: Kind,
    /// The default as JSON text.
    pub(super) default: Option<&'static str>,
    pub(super) required: bool,
    pub(super) state: State,
}

/// Whether a name of the tables can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Built,
    /// Known, and refused as [`LATER`]: it is never silently ignored.
    Later,
    /// Known, and refused with this message.
    Refused(&'static str),
}

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A string that its format accepts.
    Text(&'static Format),
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// One of these whole numbers.
    Number(&'static [u64]),
    /// A duration string, at least `min` milliseconds.
    Duration { min: u64 },
    /// The name of a file. No message repeats it: what stands there by mistake may be a secret.
    File,
    /// One of these strings.
    Word(&'static [Word]),
    /// A list without repeated strings, of at least `min` entries.
    List { of: &'static Self, min: usize },
    /// One value or a non-empty list of them.
    OneOrMany(&'static Self),
    /// An object whose member names are free.
    Map {
        of: &'static Self,
        name: &'static Format,
        min: usize,
    },
    /// An object.
    Object(&'static [Row]),
    /// An object with exactly one of these members.
    Single(&'static [Row]),
    /// An object whose `type` says which members it has.
    Tagged(&'static Tagged),
}

/// A string's little language.
pub(super) struct Format {
    /// Says what is wrong with a text.
    pub(super) check: fn(&str) -> Result<(), String>,
    /// The language, or a superset of it, for the schema.
    pub(super) pattern: &'static str,
}

/// One of the strings of a [`Kind::Word`].
pub(super) struct Word {
    pub(super) text: &'static str,
    pub(super) state: State,
}

/// An object whose member `type` chooses a variant.
pub(super) struct Tagged {
    /// The members of every variant, without `type`.
    pub(super) common: &'static [Row],
    pub(super) variants: &'static [Variant],
}

/// One `type` of a tagged object.
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) rows: &'static [Row],
    pub(super) state: State,
}

impl Tagged {
    pub(super) fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

/// An optional member without a default.
pub(super) const fn row(name: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row {
        name,
        doc,
        kind,
        default: None,
        required: false,
        state: State::Built,
    }
}

/// A member that this version knows and does not have yet.
pub(super) const fn later(name: &'static str, doc: &'static str) -> Row {
    Row {
        state: State::Later,
        ..row(name, Kind::Boolean, doc)
    }
}

/// A member that is known and refused for the reason `why`.
pub(super) const fn refused(name: &'static str, why: &'static str) -> Row {
    Row {
        state: State::Refused(why),
        ..row(name, Kind::Boolean, why)
    }
}

impl Row {
    /// The same member with the default `json`.
    pub(super) const fn or(self, json: &'static str) -> Self {
        Self {
            default: Some(json),
            ..self
        }
    }

    /// The same member, required.
    pub(super) const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
}

impl Word {
    pub(super) const fn built(text: &'static str) -> Self {
        let state = State::Built;
        Self { text, state }
    }

    pub(super) const fn refused(text: &'static str, why: &'static str) -> Self {
        let state = State::Refused(why);
        Self { text, state }
    }
}
