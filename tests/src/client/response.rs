//! Responses as a client reads them.

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The fields, in order.
    pub fields: Vec<(String, String)>,
    /// The body, of the length that `Content-Length` says.
    pub body: Vec<u8>,
    /// All bytes, as they arrived.
    pub raw: Vec<u8>,
}

impl Response {
    /// Reads an answer from the start of `bytes`; `None` if it is not complete. `to_head` says that
    /// the request was HEAD: no body follows.
    ///
    /// # Panics
    /// If it is no answer of HTTP/1.1 with a length.
    pub fn read(bytes: &[u8], to_head: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        let fields: Vec<_> = lines
            .map(|line| {
                line.split_once(": ")
                    .unwrap_or_else(|| panic!("no field: {line}"))
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = Self {
            status,
            fields,
            body: Vec::new(),
            raw: Vec::new(),
        };
        let length: usize = match response.all("Content-Length").as_slice() {
            [] if matches!(status, 101 | 204 | 304) => 0,
            [length] => length.parse().expect("a length is a number"),
            other => panic!("not exactly one Content-Length, but {other:?}: {head}"),
        };
        let end = if to_head { end } else { end + length };
        let body = bytes.get(end - if to_head { 0 } else { length }..end)?;
        response.body = body.to_vec();
        response.raw = bytes[..end].to_vec();
        Some(response)
    }

    /// Returns all values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a field that is there once.
    ///
    /// # Panics
    /// If it is there more than once.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times", all.len());
        all.first().copied()
    }

    /// Says whether the server announced to close.
    pub fn closes(&self) -> bool {
        let tokens = self.all("Connection");
        tokens
            .iter()
            .flat_map(|value| value.split(','))
            .any(|token| token.trim() == "close")
    }

    /// Returns the bytes with the date taken out: what two servers have in common.
    pub fn masked(&self) -> String {
        mask_date(&String::from_utf8_lossy(&self.raw))
    }
}

/// Takes `Date` lines out of the heads in `text`.
pub fn mask_date(text: &str) -> String {
    let kept = text
        .split_inclusive("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    kept.collect()
}
