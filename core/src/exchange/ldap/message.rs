//! The messages of LDAP (RFC 4511 section 4) that a login needs: what is asked, what is answered.

use lber::common::TagClass;
use lber::structure::StructureTag;

use super::super::Fault;
use super::ber::{SEQUENCE, element, inside, number, octets, primitive, write_number};
use crate::config::ldap::{Comparison, Extensible, Filling, Filter, Pieces};
use crate::secret::Secret;

/// StartTLS, RFC 4511 section 4.14.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// The notice of disconnection, RFC 4511 section 4.4.1.
const DISCONNECTION: &[u8] = b"1.3.6.1.4.1.1466.20036";

/// Asks for no attributes at all, RFC 4511 section 4.5.1.8.
const NO_ATTRIBUTES: &str = "1.1";

/// What a request takes besides names and values: headers and numbers, in bytes.
const FRAME_BYTES: usize = 64;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    StartTls,
    /// A simple bind.
    Bind {
        dn: &'a str,
        password: &'a Secret<Vec<u8>>,
    },
    Search(Search<'a>),
    Unbind,
}

/// A search of a whole subtree that follows no alias.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) base: &'a str,
    pub(super) filter: &'a Filter,
    pub(super) filling: Filling<'a>,
    /// The one attribute that is wanted; `None`: names alone.
    pub(super) attribute: Option<&'a str>,
    /// The most entries that the server sends.
    pub(super) entries: u32,
    /// How long the server searches, in seconds.
    pub(super) seconds: u32,
}

impl Request<'_> {
    /// Returns the request as a message with the number `id`.
    pub(super) fn written(&self, id: u32) -> Secret<Vec<u8>> {
        let room = match self {
            Self::StartTls | Self::Unbind => 0,
            Self::Bind { dn, password } => dn.len() + password.expose().len(),
            Self::Search(search) => search.base.len(),
        };
        let mut out = Vec::with_capacity(FRAME_BYTES + room);
        element(&mut out, SEQUENCE, |out| {
            write_number(out, INTEGER, id);
            self.write(out);
        });
        Secret::new(out)
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::StartTls => element(out, 0x77, |out| primitive(out, 0x80, START_TLS)),
            Self::Bind { dn, password } => element(out, 0x60, |out| {
                write_number(out, INTEGER, 3);
                primitive(out, OCTET_STRING, dn.as_bytes());
                primitive(out, 0x80, password.expose());
            }),
            Self::Search(search) => element(out, 0x63, |out| search.write(out)),
            Self::Unbind => primitive(out, 0x42, &[]),
        }
    }
}

impl Search<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        primitive(out, OCTET_STRING, self.base.as_bytes());
        // wholeSubtree, neverDerefAliases.
        write_number(out, ENUMERATED, 2);
        write_number(out, ENUMERATED, 0);
        write_number(out, INTEGER, self.entries);
        write_number(out, INTEGER, self.seconds);
        // Values too, not names of attributes only.
        primitive(out, BOOLEAN, &[0]);
        write_filter(out, self.filter, self.filling);
        element(out, SEQUENCE, |out| {
            let attribute = self.attribute.unwrap_or(NO_ATTRIBUTES);
            primitive(out, OCTET_STRING, attribute.as_bytes());
        });
    }
}

/// Writes a filter, RFC 4511 section 4.5.1.7. Values go in as octets behind their length: none of
/// them can end where it does not.
fn write_filter(out: &mut Vec<u8>, filter: &Filter, filling: Filling<'_>) {
    match filter {
        Filter::And(filters) => write_filters(out, 0xa0, filters, filling),
        Filter::Or(filters) => write_filters(out, 0xa1, filters, filling),
        Filter::Not(filter) => element(out, 0xa2, |out| write_filter(out, filter, filling)),
        Filter::Compare(comparison, attribute, value) => {
            let tag = match comparison {
                Comparison::Equal => 0xa3,
                Comparison::GreaterOrEqual => 0xa5,
                Comparison::LessOrEqual => 0xa6,
                Comparison::Approximate => 0xa8,
            };
            element(out, tag, |out| {
                primitive(out, OCTET_STRING, attribute.as_bytes());
                primitive(out, OCTET_STRING, &value.filled(filling));
            });
        }
        Filter::Present(attribute) => primitive(out, 0x87, attribute.as_bytes()),
        Filter::Substrings(attribute, Pieces { initial, any, last }) => element(out, 0xa4, |out| {
            primitive(out, OCTET_STRING, attribute.as_bytes());
            element(out, SEQUENCE, |out| {
                let initial = initial.iter().map(|value| (0x80, value));
                let any = any.iter().map(|value| (0x81, value));
                let last = last.iter().map(|value| (0x82, value));
                for (tag, value) in initial.chain(any).chain(last) {
                    primitive(out, tag, &value.filled(filling));
                }
            });
        }),
        Filter::Extensible(Extensible {
            attribute,
            dn,
            rule,
            value,
        }) => element(out, 0xa9, |out| {
            for (tag, name) in [(0x81, rule), (0x82, attribute)] {
                if let Some(name) = name {
                    primitive(out, tag, name.as_bytes());
                }
            }
            primitive(out, 0x83, &value.filled(filling));
            // RFC 4511 section 5.1: true is 0xff, and a default is left out.
            if *dn {
                primitive(out, 0x84, &[0xff]);
            }
        }),
    }
}

fn write_filters(out: &mut Vec<u8>, tag: u8, filters: &[Filter], filling: Filling<'_>) {
    element(out, tag, |out| {
        for filter in filters {
            write_filter(out, filter, filling);
        }
    });
}

/// A result code, RFC 4511 section 4.1.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultCode(pub(super) u32);

impl ResultCode {
    pub(super) const SUCCESS: Self = Self(0);
    pub(super) const SIZE_LIMIT_EXCEEDED: Self = Self(4);
    /// A locked account, with some servers.
    const CONSTRAINT_VIOLATION: Self = Self(19);
    /// The entry has no password.
    const INAPPROPRIATE_AUTHENTICATION: Self = Self(48);
    pub(super) const INVALID_CREDENTIALS: Self = Self(49);
    /// A disabled account, with some servers.
    const UNWILLING_TO_PERFORM: Self = Self(53);

    /// Says whether a bind was refused for who binds: all else is the server's trouble.
    pub(super) fn refuses_the_user(self) -> bool {
        [
            Self::INVALID_CREDENTIALS,
            Self::INAPPROPRIATE_AUTHENTICATION,
            Self::CONSTRAINT_VIOLATION,
            Self::UNWILLING_TO_PERFORM,
        ]
        .contains(&self)
    }
}

/// A message from the server.
#[derive(Debug)]
pub(super) struct Message {
    /// The number of the request that is answered; 0 if none is.
    pub(super) id: u32,
    pub(super) answer: Answer,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Bind(ResultCode),
    Entry(Entry),
    /// More may be found at another server.
    Reference,
    SearchDone(ResultCode),
    Extended(ResultCode),
    /// The server ends the conversation.
    Disconnection,
}

/// What a search has found.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dn: String,
    attributes: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Entry {
    /// Returns the values of `attribute` that are text.
    pub(super) fn texts<'e>(&'e self, attribute: &'e str) -> impl Iterator<Item = &'e str> {
        self.attributes
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(attribute.as_bytes()))
            .flat_map(|(_, values)| values)
            .filter_map(|value| std::str::from_utf8(value).ok())
    }
}

impl Message {
    /// Understands a message.
    pub(super) fn read(tag: StructureTag) -> Result<Self, Fault> {
        let mut parts = inside(tag, TagClass::Universal, 16)?.into_iter();
        let mut next = || parts.next().ok_or(Fault::Unusable);
        let id = number(&octets(next()?, TagClass::Universal, 2)?)?;
        // Controls, if there are any, say nothing about what was asked.
        let operation = next()?;
        let answer = match operation.id {
            1 => Answer::Bind(result(operation, 1)?.0),
            4 => Answer::Entry(entry(operation)?),
            5 => Answer::SearchDone(result(operation, 5)?.0),
            19 => Answer::Reference,
            24 => {
                let (code, behind) = result(operation, 24)?;
                let mut named = behind.into_iter().filter(|tag| tag.class == TagClass::Context);
                match named.find(|tag| tag.id == 10).map(name).transpose()? {
                    Some(name) if name == DISCONNECTION => Answer::Disconnection,
                    Some(_) | None => Answer::Extended(code),
                }
            }
            _ => return Err(Fault::Unusable),
        };
        Ok(Self { id, answer })
    }
}

/// Reads the name of an extended response.
fn name(tag: StructureTag) -> Result<Vec<u8>, Fault> {
    octets(tag, TagClass::Context, 10)
}

/// Reads an LDAPResult; returns what stands behind it too.
fn result(operation: StructureTag, id: u64) -> Result<(ResultCode, Vec<StructureTag>), Fault> {
    let mut parts = inside(operation, TagClass::Application, id)?.into_iter();
    let mut next = || parts.next().ok_or(Fault::Unusable);
    let code = number(&octets(next()?, TagClass::Universal, 10)?)?;
    // matchedDN and diagnosticMessage have to be there, and tell nothing that is needed.
    for _ in 0..2 {
        octets(next()?, TagClass::Universal, 4)?;
    }
    Ok((ResultCode(code), parts.collect()))
}

fn entry(operation: StructureTag) -> Result<Entry, Fault> {
    let mut parts = inside(operation, TagClass::Application, 4)?.into_iter();
    let mut next = || parts.next().ok_or(Fault::Unusable);
    let dn = octets(next()?, TagClass::Universal, 4)?;
    let dn = String::from_utf8(dn).map_err(|_| Fault::Unusable)?;
    let attributes = inside(next()?, TagClass::Universal, 16)?.into_iter();
    let attributes = attributes.map(attribute).collect::<Result<_, _>>()?;
    Ok(Entry { dn, attributes })
}

fn attribute(tag: StructureTag) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
    let mut parts = inside(tag, TagClass::Universal, 16)?.into_iter();
    let mut next = || parts.next().ok_or(Fault::Unusable);
    let name = octets(next()?, TagClass::Universal, 4)?;
    let values = inside(next()?, TagClass::Universal, 17)?.into_iter();
    let values = values.map(|value| octets(value, TagClass::Universal, 4));
    Ok((name, values.collect::<Result<_, _>>()?))
}
