//! Distinguished names (RFC 4514), checked before a server sees them.

use super::super::error::quote;
use super::filter;

/// Longest distinguished name, in bytes.
pub const DN_BYTES: usize = 4096;

/// Checks a distinguished name that is not empty.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let fault = |what: &str| {
        format!(
            "{} is not a distinguished name such as \"dc=example,dc=com\": {what}",
            quote(text)
        )
    };
    if text.len() > DN_BYTES {
        return Err(format!("the distinguished name has more than {DN_BYTES} bytes"));
    }
    if text.contains(char::is_control) {
        return Err("a distinguished name has no control characters".to_owned());
    }
    let parts = split(text)
        .ok_or_else(|| fault("a \\ stands before a special character or two hexadecimal digits"))?;
    for part in parts {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| fault("each part is ATTRIBUTE=VALUE"))?;
        // RFC 4514 writes no blanks around the separators; RFC 2253 section 4 lets older ones stand.
        filter::attribute(name.trim_matches(' ')).map_err(|_| fault("each part is ATTRIBUTE=VALUE"))?;
        if value.trim_start_matches(' ').starts_with(['"', ' ']) || value.contains(['"', ';', '<', '>']) {
            return Err(fault("quotes, ;, < and > are escaped with a \\"));
        }
    }
    Ok(())
}

/// Splits a name at the `,` and `+` that are not escaped; escaped pairs are left out of the parts.
fn split(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let escaped = rest.next()?;
                if escaped.is_ascii_hexdigit() {
                    rest.next().filter(char::is_ascii_hexdigit)?;
                } else if !" \"#+,;<=>\\".contains(escaped) {
                    return None;
                }
                parts.last_mut()?.push('x');
            }
            ',' | '+' => parts.push(String::new()),
            _ => parts.last_mut()?.push(c),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn m24_distinguished_names_are_checked() {
        for text in [
            "dc=com",
            "ou=people,dc=example,dc=com",
            "UID=jsmith,DC=example,DC=net",
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            r#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#,
            r"CN=Before\0dAfter,DC=example,DC=net",
            "1.3.6.1.4.1.1466.0=#04024869",
            r"cn=Doe\, John (x),dc=example",
            "cn=a=b",
            "cn=",
            "cn = admin, dc = x",
            "cn=J\u{fc}rgen,dc=x",
        ] {
            check(text).unwrap();
        }
        for text in [
            "",
            "com",
            "dc=com,",
            ",dc=com",
            "dc=com,,dc=x",
            "=x",
            "cn=Doe, John,dc=x",
            r"cn=a\",
            r"cn=a\4",
            r"cn=a\(x\)",
            "cn=\"a\",dc=x",
            "cn=a;dc=x",
            "cn=a\nb",
        ] {
            assert!(check(text).is_err(), "{text:?}");
        }
        let long = |bytes: usize| format!("cn={}", "x".repeat(bytes - 3));
        assert!(check(&long(DN_BYTES)).is_ok());
        assert!(check(&long(DN_BYTES + 1)).is_err());
    }
}
