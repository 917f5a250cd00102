//! A Digest client (RFC 7616): it answers a challenge rightly, then what is wrong with the answer.

use md5::Digest as _;

use super::Response;

/// What a client answers a Digest challenge with.
#[derive(Clone, Debug)]
pub struct Digest {
    realm: String,
    nonce: String,
    opaque: String,
    algorithm: String,
    user: String,
    password: String,
    uri: String,
    count: u32,
    changes: Vec<(String, Option<String>)>,
}

/// Returns the Digest lines of a refusal.
pub fn digest_lines(answer: &Response) -> Vec<&str> {
    let mut lines = answer.all("WWW-Authenticate");
    lines.retain(|line| line.starts_with("Digest "));
    lines
}

/// Returns the bytes of a refusal with the date, the nonce and the opaque value taken out.
pub fn without_nonces(answer: &Response) -> String {
    let mut text = answer.masked();
    for line in digest_lines(answer) {
        for name in ["nonce", "opaque"] {
            let value = value(line, name);
            text = text.replace(&format!("{name}=\"{value}\""), &format!("{name}=\"...\""));
        }
    }
    text
}

fn value(line: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let behind = line
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name}: {line}"));
    let end = behind.1.find('"').expect("a quoted value ends");
    behind.1[..end].to_owned()
}

impl Digest {
    /// Answers the first Digest challenge of a refusal, as somebody who asks for `/api/ws`.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(answer: &Response, (user, password): (&str, &str)) -> Self {
        Self::of_line(digest_lines(answer)[0], (user, password))
    }

    /// Answers one challenge.
    ///
    /// # Panics
    /// If a parameter of it is missing.
    pub fn of_line(line: &str, (user, password): (&str, &str)) -> Self {
        let algorithm = line.split_once("algorithm=").expect("an algorithm").1;
        Self {
            realm: value(line, "realm"),
            nonce: value(line, "nonce"),
            opaque: value(line, "opaque"),
            algorithm: algorithm.split(',').next().unwrap_or_default().to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            uri: "/api/ws".to_owned(),
            count: 1,
            changes: Vec::new(),
        }
    }

    /// Returns the nonce.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Answers as if the challenge had this nonce.
    #[must_use]
    pub fn with_nonce(mut self, nonce: &str) -> Self {
        nonce.clone_into(&mut self.nonce);
        self
    }

    /// Answers as if the challenge had this realm.
    #[must_use]
    pub fn with_realm(mut self, realm: &str) -> Self {
        realm.clone_into(&mut self.realm);
        self
    }

    /// Answers with this algorithm.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: &str) -> Self {
        algorithm.clone_into(&mut self.algorithm);
        self
    }

    /// Answers for this target.
    #[must_use]
    pub fn with_uri(mut self, uri: &str) -> Self {
        uri.clone_into(&mut self.uri);
        self
    }

    /// Says that the nonce is used for the `count`-th time.
    #[must_use]
    pub const fn with_count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Writes another value for a parameter than the response is made of, quotes included.
    #[must_use]
    pub fn but(mut self, name: &str, written: &str) -> Self {
        self.changes.push((name.to_owned(), Some(written.to_owned())));
        self
    }

    /// Leaves a parameter out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.changes.push((name.to_owned(), None));
        self
    }

    /// Returns the response (RFC 7616 section 3.4.1).
    pub fn response(&self) -> String {
        let ha1 = self.hash(&format!("{}:{}:{}", self.user, self.realm, self.password));
        let ha2 = self.hash(&format!("GET:{}", self.uri));
        self.hash(&format!(
            "{ha1}:{}:{:08x}:c29tZSBieXRlcw:auth:{ha2}",
            self.nonce, self.count
        ))
    }

    /// Returns the value of the `Authorization` field.
    pub fn field(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut params = vec![
            ("username".to_owned(), quoted(&self.user)),
            ("realm".to_owned(), quoted(&self.realm)),
            ("nonce".to_owned(), quoted(&self.nonce)),
            ("uri".to_owned(), quoted(&self.uri)),
            ("algorithm".to_owned(), self.algorithm.clone()),
            ("qop".to_owned(), "auth".to_owned()),
            ("nc".to_owned(), format!("{:08x}", self.count)),
            ("cnonce".to_owned(), "\"c29tZSBieXRlcw\"".to_owned()),
            ("response".to_owned(), quoted(&self.response())),
            ("opaque".to_owned(), quoted(&self.opaque)),
        ];
        for (name, written) in &self.changes {
            params.retain(|(other, _)| other != name);
            params.extend(written.clone().map(|written| (name.clone(), written)));
        }
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("Digest {}", params.join(", "))
    }

    fn hash(&self, text: &str) -> String {
        hash(&self.algorithm, text)
    }
}

/// Returns the line of a digest file.
pub fn digest_line(algorithm: &str, realm: &str, (user, password): (&str, &str)) -> String {
    let ha1 = hash(algorithm, &format!("{user}:{realm}:{password}"));
    format!("{user}:{realm}:{ha1}\n")
}

fn hash(algorithm: &str, text: &str) -> String {
    let bytes = match algorithm {
        "MD5" => md5::Md5::digest(text).to_vec(),
        _ => ring::digest::digest(&ring::digest::SHA256, text.as_bytes())
            .as_ref()
            .to_vec(),
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
