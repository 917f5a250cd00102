//! Search filters (RFC 4515) with places for what a login brings along. They are read when the
//! configuration loads; at a login a value is put into the finished structure, so that no byte of it
//! can become syntax.

use std::fmt;

use super::super::error::quote;

/// Longest filter, in bytes: those that administrators write have a few hundred.
pub const FILTER_BYTES: usize = 4096;

/// Deepest nesting of a filter. Reading, writing and encoding it recurse once per level.
pub const FILTER_DEPTH: usize = 10;

/// A search filter, RFC 4511 section 4.5.1.7. `Display` writes the text that it was read from, in
/// its shortest form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these hold; never empty.
    And(Vec<Self>),
    /// One of these holds; never empty.
    Or(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The attribute compares so with the value.
    Compare(Comparison, String, Value),
    /// The attribute has a value.
    Present(String),
    /// The attribute has a value of these pieces.
    Substrings(String, Pieces),
    /// A matching rule says so.
    Extensible(Extensible),
}

/// How an attribute is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`.
    Equal,
    /// `>=`.
    GreaterOrEqual,
    /// `<=`.
    LessOrEqual,
    /// `~=`.
    Approximate,
}

/// The pieces of a substring match, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// What the value begins with.
    pub initial: Option<Value>,
    /// What stands somewhere in between.
    pub any: Vec<Value>,
    /// What it ends with.
    pub last: Option<Value>,
}

/// A match by a rule that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensible {
    /// The attribute; with `None`, every one that the rule fits.
    pub attribute: Option<String>,
    /// Whether the parts of the entry's name count as attributes too.
    pub dn: bool,
    /// The matching rule; there is this or `attribute`.
    pub rule: Option<String>,
    /// What is asserted.
    pub value: Value,
}

/// A value, with the places that a login fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Placeholder(Placeholder),
}

/// What a login brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{USERNAME}`: the name as the client gave it.
    Username,
    /// `{DN}`: the name of the entry that was found for it.
    Dn,
}

impl Placeholder {
    const ALL: [Self; 2] = [Self::Username, Self::Dn];

    /// Returns the text that stands for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Username => "{USERNAME}",
            Self::Dn => "{DN}",
        }
    }
}

/// What is put into the placeholders of one login.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// For `{USERNAME}`.
    pub username: &'a str,
    /// For `{DN}`.
    pub dn: &'a str,
}

impl Value {
    /// Returns the octets of the value, which no server reads as syntax.
    #[must_use]
    pub fn filled(&self, filling: Filling<'_>) -> Vec<u8> {
        let mut octets = Vec::new();
        for part in &self.0 {
            octets.extend_from_slice(match part {
                Part::Bytes(bytes) => bytes,
                Part::Placeholder(Placeholder::Username) => filling.username.as_bytes(),
                Part::Placeholder(Placeholder::Dn) => filling.dn.as_bytes(),
            });
        }
        octets
    }

    fn has(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Placeholder(placeholder))
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > FILTER_BYTES {
            return Err(format!("the filter has more than {FILTER_BYTES} bytes"));
        }
        let (filter, rest) = parenthesized(text, FILTER_DEPTH)?;
        match rest {
            "" => Ok(filter),
            _ => Err(format!("{} stands behind the filter's end", quote(rest))),
        }
    }

    /// Says whether the outcome may depend on `placeholder`.
    #[must_use]
    pub fn has(&self, placeholder: Placeholder) -> bool {
        match self {
            Self::And(filters) | Self::Or(filters) => filters.iter().any(|filter| filter.has(placeholder)),
            Self::Not(filter) => filter.has(placeholder),
            Self::Compare(_, _, value) => value.has(placeholder),
            Self::Present(_) => false,
            Self::Substrings(_, Pieces { initial, any, last }) => {
                let mut values = initial.iter().chain(any).chain(last);
                values.any(|value| value.has(placeholder))
            }
            Self::Extensible(extensible) => extensible.value.has(placeholder),
        }
    }

    /// Returns the first attribute that has to be equal to `{USERNAME}` and nothing else.
    #[must_use]
    pub fn name_attribute(&self) -> Option<&str> {
        match self {
            Self::And(filters) | Self::Or(filters) => filters.iter().find_map(Self::name_attribute),
            Self::Compare(Comparison::Equal, attribute, Value(parts)) => {
                let alone = parts.as_slice() == [Part::Placeholder(Placeholder::Username)];
                alone.then_some(attribute)
            }
            Self::Not(_)
            | Self::Compare(..)
            | Self::Present(_)
            | Self::Substrings(..)
            | Self::Extensible(_) => None,
        }
    }
}

fn parenthesized(text: &str, depth: usize) -> Result<(Filter, &str), String> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| format!("the filter is nested deeper than {FILTER_DEPTH} levels"))?;
    let inner = text
        .strip_prefix('(')
        .ok_or("a filter stands in parentheses, such as \"(uid={USERNAME})\"")?;
    let (filter, rest) = match inner.chars().next() {
        Some('&') => several(inner, depth).map(|(filters, rest)| (Filter::And(filters), rest))?,
        Some('|') => several(inner, depth).map(|(filters, rest)| (Filter::Or(filters), rest))?,
        Some('!') => {
            let (filter, rest) = parenthesized(inner.get(1..).unwrap_or_default(), depth)?;
            (Filter::Not(Box::new(filter)), rest)
        }
        Some(_) | None => {
            // A value has its parentheses escaped, so that the first one ends the item.
            let end = inner.find(['(', ')']).unwrap_or(inner.len());
            let (item, rest) = inner.split_at(end);
            (self::item(item)?, rest)
        }
    };
    let rest = rest.strip_prefix(')').ok_or_else(|| match rest {
        "" => "a closing parenthesis is missing".to_owned(),
        _ => format!("a closing parenthesis is missing before {}", quote(rest)),
    })?;
    Ok((filter, rest))
}

/// Reads the filters behind `&` or `|`.
fn several(text: &str, depth: usize) -> Result<(Vec<Filter>, &str), String> {
    let mut rest = text.get(1..).unwrap_or_default();
    let mut filters = Vec::new();
    while rest.starts_with('(') {
        let (filter, behind) = parenthesized(rest, depth)?;
        filters.push(filter);
        rest = behind;
    }
    // RFC 4526 gives "(&)" and "(|)" a meaning, which is not what somebody means who forgot the rest.
    match filters.is_empty() {
        true => Err("& and | stand before one filter in parentheses at least".to_owned()),
        false => Ok((filters, rest)),
    }
}

fn item(text: &str) -> Result<Filter, String> {
    let (left, right) = text
        .split_once('=')
        .ok_or_else(|| format!("{} is no comparison such as \"uid=x\"", quote(text)))?;
    let comparisons = [
        ('>', Comparison::GreaterOrEqual),
        ('<', Comparison::LessOrEqual),
        ('~', Comparison::Approximate),
    ];
    for (sign, comparison) in comparisons {
        if let Some(name) = left.strip_suffix(sign) {
            return Ok(Filter::Compare(comparison, attribute(name)?, value(right)?));
        }
    }
    if let Some(left) = left.strip_suffix(':') {
        return extensible(left, right);
    }
    let name = attribute(left)?;
    if right == "*" {
        return Ok(Filter::Present(name));
    }
    if right.contains('*') {
        return Ok(Filter::Substrings(name, pieces(right)?));
    }
    Ok(Filter::Compare(Comparison::Equal, name, value(right)?))
}

/// Reads what stands before the `:=`: `attribute[:dn][:rule]` or `[:dn]:rule`.
fn extensible(left: &str, right: &str) -> Result<Filter, String> {
    let mut names = left.split(':');
    let name = match names.next() {
        None | Some("") => None,
        Some(name) => Some(attribute(name)?),
    };
    let mut names = names.peekable();
    // Known as "dn" by RFC 4515, in any case by its grammar (RFC 5234 section 2.3).
    let dn = names.next_if(|name| name.eq_ignore_ascii_case("dn")).is_some();
    let rule = names.next().map(attribute).transpose()?;
    if names.next().is_some() || (name.is_none() && rule.is_none()) {
        return Err(format!("{} names no attribute and matching rule", quote(left)));
    }
    Ok(Filter::Extensible(Extensible {
        attribute: name,
        dn,
        rule,
        value: value(right)?,
    }))
}

fn pieces(text: &str) -> Result<Pieces, String> {
    let mut pieces = text.split('*').map(|piece| match piece {
        "" => Ok(None),
        _ => value(piece).map(Some),
    });
    let initial = pieces.next().transpose()?.flatten();
    let mut any = pieces.collect::<Result<Vec<_>, _>>()?;
    let last = any.pop().flatten();
    let any: Option<Vec<_>> = any.into_iter().collect();
    let any = any.ok_or("** is not a match: one * stands for any length")?;
    Ok(Pieces { initial, any, last })
}

/// Checks an attribute description or a matching rule's name: a name or an OID, then options
/// (RFC 4512 section 2.5).
pub(crate) fn attribute(text: &str) -> Result<String, String> {
    let option = |option: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !option.is_empty() && option.bytes().all(fits)
    };
    let number = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.split(';');
    let name = parts.next().unwrap_or_default();
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic()) && option(name);
    match (named || name.split('.').all(number)) && parts.all(option) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{} is not an attribute's name: letters, digits and -, beginning with a letter",
            quote(text)
        )),
    }
}

/// Reads a value: `\XX` is one octet, `{USERNAME}` and `{DN}` are filled at a login.
fn value(text: &str) -> Result<Value, String> {
    let mut parts = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, behind) = rest.split_at(first.len_utf8());
        rest = behind;
        match first {
            '\\' => {
                let (octet, behind) = octet(rest)?;
                bytes.push(octet);
                rest = behind;
            }
            '{' => {
                let found = Placeholder::ALL.into_iter().find_map(|placeholder| {
                    let name = placeholder.text().get(1..)?;
                    Some((placeholder, rest.strip_prefix(name)?))
                });
                let (placeholder, behind) = found.ok_or(
                    "{ begins {USERNAME} or {DN}, in capital letters; write \\7b for the character itself",
                )?;
                if !bytes.is_empty() {
                    parts.push(Part::Bytes(std::mem::take(&mut bytes)));
                }
                parts.push(Part::Placeholder(placeholder));
                rest = behind;
            }
            '*' => return Err("a * stands only behind a plain =; write \\2a for the character".to_owned()),
            '\0' => return Err("write \\00 for a NUL".to_owned()),
            _ => bytes.extend_from_slice(taken.as_bytes()),
        }
    }
    if !bytes.is_empty() {
        parts.push(Part::Bytes(bytes));
    }
    Ok(Value(parts))
}

fn octet(text: &str) -> Result<(u8, &str), String> {
    let fault = "a \\ stands before two hexadecimal digits";
    let digits = text.get(..2).ok_or(fault)?;
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let octet = u8::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
    Ok((octet.ok_or(fault)?, text.get(2..).unwrap_or_default()))
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(&Part::Placeholder))
    }
}

impl Filter {
    /// Returns the filter as text, with the values of one login escaped as RFC 4515 section 3 wants.
    #[must_use]
    pub fn text(&self, filling: Filling<'_>) -> String {
        self.written(&|placeholder| {
            Part::Bytes(match placeholder {
                Placeholder::Username => filling.username.as_bytes().to_vec(),
                Placeholder::Dn => filling.dn.as_bytes().to_vec(),
            })
        })
    }

    fn written(&self, fill: &dyn Fn(Placeholder) -> Part) -> String {
        let all =
            |filters: &[Self]| -> String { filters.iter().map(|filter| filter.written(fill)).collect() };
        let value = |value: &Value| value.written(fill);
        let piece = |piece: &Option<Value>| piece.as_ref().map(value).unwrap_or_default();
        match self {
            Self::And(filters) => format!("(&{})", all(filters)),
            Self::Or(filters) => format!("(|{})", all(filters)),
            Self::Not(filter) => format!("(!{})", filter.written(fill)),
            Self::Compare(comparison, attribute, of) => {
                let sign = match comparison {
                    Comparison::Equal => "=",
                    Comparison::GreaterOrEqual => ">=",
                    Comparison::LessOrEqual => "<=",
                    Comparison::Approximate => "~=",
                };
                format!("({attribute}{sign}{})", value(of))
            }
            Self::Present(attribute) => format!("({attribute}=*)"),
            Self::Substrings(attribute, Pieces { initial, any, last }) => {
                let any: String = any.iter().map(|piece| format!("{}*", value(piece))).collect();
                format!("({attribute}={}*{any}{})", piece(initial), piece(last))
            }
            Self::Extensible(of) => {
                let attribute = of.attribute.as_deref().unwrap_or_default();
                let dn = if of.dn { ":dn" } else { "" };
                let rule = of.rule.iter().map(|rule| format!(":{rule}")).collect::<String>();
                format!("({attribute}{dn}{rule}:={})", value(&of.value))
            }
        }
    }
}

impl Value {
    fn written(&self, fill: &dyn Fn(Placeholder) -> Part) -> String {
        let mut text = String::new();
        for part in &self.0 {
            let part = match part {
                Part::Bytes(bytes) => Part::Bytes(bytes.clone()),
                Part::Placeholder(placeholder) => fill(*placeholder),
            };
            match part {
                Part::Bytes(bytes) => bytes.iter().for_each(|byte| write_octet(&mut text, *byte)),
                Part::Placeholder(placeholder) => text.push_str(placeholder.text()),
            }
        }
        text
    }
}

/// Writes one octet, escaped unless it is printable ASCII without a meaning of its own.
fn write_octet(text: &mut String, byte: u8) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    match byte {
        b'(' | b')' | b'*' | b'\\' | b'{' | 0..=0x1f | 0x7f.. => {
            text.push('\\');
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
        }
        _ => text.push(char::from(byte)),
    }
}

#[cfg(test)]
mod tests;
