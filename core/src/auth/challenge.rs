//! The `WWW-Authenticate` lines of R4 and the error parameters of R5.

use crate::config::{DigestAlgorithm, Scheme};
use crate::http::{Lines, put_quoted, quoted};

/// What most challenges are shorter than, in bytes.
const LINE: usize = 96;

/// What a realm answers with when it refuses.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    /// The text in `realm="..."`.
    pub(crate) realm: String,
    /// The schemes in the configured order; the flag writes `Application ` before the name.
    pub(crate) schemes: Vec<(Scheme, bool)>,
    /// The scopes that Bearer announces.
    pub(crate) scope: Vec<String>,
    /// What Bearer asks for where the realm is a further factor (RFC 9470 section 3).
    pub(crate) acr_values: Vec<String>,
    /// The algorithms of Digest, one challenge each, the stronger first.
    pub(crate) digest_algorithms: Vec<DigestAlgorithm>,
    /// Leaves out what a browser opens a prompt for, if the request has an Origin.
    pub(crate) suppress_prompt: bool,
}

/// What all Digest challenges of one answer say.
#[derive(Clone, Debug)]
pub(crate) struct DigestChallenge {
    pub(crate) nonce: String,
    pub(crate) opaque: String,
    /// The response was right and its nonce was not: the client may repeat without asking its user.
    pub(crate) stale: bool,
}

/// What a Bearer challenge says about the token that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BearerError {
    pub(crate) code: &'static str,
    pub(crate) description: Option<&'static str>,
}

impl BearerError {
    /// The token is not good enough, without a hint why.
    pub(crate) const INVALID_TOKEN: Self = Self {
        code: "invalid_token",
        description: None,
    };

    /// Nothing is wrong so far: another factor is needed (RFC 9470 section 3).
    pub(crate) const STEP_UP: Self = Self {
        code: "insufficient_user_authentication",
        description: None,
    };
}

/// The fields of a 401 that finds nothing wrong with a credential, written when the rules are loaded: all
/// but those of Digest, whose nonce is another in each answer, are always the same.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    lines: Lines,
    /// The same for a request with an Origin.
    with_origin: Lines,
}

impl Invitation {
    /// The fields of a 401 with `challenges`.
    pub(crate) fn of(challenges: &Challenges) -> Self {
        Self {
            lines: challenges.lines(None, None, false),
            with_origin: challenges.lines(None, None, true),
        }
    }

    /// Returns them for a request with an Origin, or for one without.
    pub(crate) const fn lines(&self, with_origin: bool) -> &Lines {
        if with_origin {
            &self.with_origin
        } else {
            &self.lines
        }
    }
}

impl Challenges {
    /// Returns the fields of a 401: a challenge in each line, and that nobody may keep a copy.
    pub(crate) fn lines(
        &self,
        error: Option<BearerError>,
        digest: Option<&DigestChallenge>,
        with_origin: bool,
    ) -> Lines {
        let mut lines = Lines::default();
        self.each(error, digest, with_origin, |challenge| {
            lines.add("WWW-Authenticate", challenge);
        });
        lines.add("Cache-Control", "no-store");
        lines
    }

    /// Hands `take` the lines of a 401, one challenge each.
    fn each(
        &self,
        error: Option<BearerError>,
        digest: Option<&DigestChallenge>,
        with_origin: bool,
        mut take: impl FnMut(&str),
    ) {
        let mut line = String::with_capacity(LINE);
        let mut count = 0;
        for (scheme, application) in &self.schemes {
            if self.suppress_prompt && with_origin && scheme.is_ambient() {
                continue;
            }
            let prefix = if *application { "Application " } else { "" };
            let mut end = |line: &mut String| {
                take(line);
                line.clear();
                count += 1;
            };
            match scheme {
                Scheme::Bearer => {
                    line.push_str(prefix);
                    self.put_bearer(&mut line, error, true);
                    end(&mut line);
                }
                Scheme::Digest => {
                    let Some(digest) = digest else { continue };
                    for algorithm in &self.digest_algorithms {
                        line.push_str(prefix);
                        self.put_digest(&mut line, digest, *algorithm);
                        end(&mut line);
                    }
                }
                Scheme::Basic => {
                    line.push_str(prefix);
                    line.push_str("Basic realm=");
                    put_quoted(&mut line, &self.realm);
                    line.push_str(", charset=\"UTF-8\"");
                    end(&mut line);
                }
                Scheme::Custom(name) => {
                    line.push_str(prefix);
                    line.push_str(name);
                    line.push_str(" realm=");
                    put_quoted(&mut line, &self.realm);
                    end(&mut line);
                }
            }
        }
        if count == 0 {
            // RFC 9110 section 15.5.2: a 401 has at least one challenge.
            self.put_bearer(&mut line, error, true);
            take(&line);
        }
    }

    /// Appends the line for one algorithm; all have the same nonce. `qop` is quoted, `algorithm` and
    /// `stale` are not, for the clients that insist (RFC 7616 section 3.3).
    fn put_digest(&self, line: &mut String, digest: &DigestChallenge, algorithm: DigestAlgorithm) {
        line.push_str("Digest realm=");
        put_quoted(line, &self.realm);
        for part in [
            ", nonce=\"",
            &digest.nonce,
            "\", opaque=\"",
            &digest.opaque,
            "\", qop=\"auth\", algorithm=",
            algorithm.name(),
            ", charset=UTF-8",
            if digest.stale { ", stale=true" } else { "" },
        ] {
            line.push_str(part);
        }
    }

    /// Returns the line of a 400 for a malformed request (RFC 6750 section 3.1), if the realm has Bearer.
    pub(crate) fn invalid_request(&self) -> Option<String> {
        let error = BearerError {
            code: "invalid_request",
            description: None,
        };
        self.has_bearer().then(|| self.bearer(Some(error), false))
    }

    /// Returns the line of a 403 that names the scopes that are needed, if the realm has Bearer.
    pub(crate) fn insufficient_scope(&self, needed: &[String]) -> Option<String> {
        self.has_bearer().then(|| {
            format!(
                "Bearer realm={}, error=\"insufficient_scope\", scope={}",
                quoted(&self.realm),
                quoted(&needed.join(" "))
            )
        })
    }

    /// Returns the line of a login page's 401, at which no browser opens a prompt.
    pub(crate) fn form(&self) -> String {
        self.bearer(None, true)
    }

    fn bearer(&self, error: Option<BearerError>, with_scope: bool) -> String {
        let mut line = String::with_capacity(LINE);
        self.put_bearer(&mut line, error, with_scope);
        line
    }

    /// Appends a Bearer challenge (RFC 6750 section 3): realm, then scope, then what is wrong.
    fn put_bearer(&self, line: &mut String, error: Option<BearerError>, with_scope: bool) {
        line.push_str("Bearer realm=");
        put_quoted(line, &self.realm);
        if with_scope && !self.scope.is_empty() {
            line.push_str(", scope=");
            put_words(line, &self.scope);
        }
        if let Some(error) = error {
            line.push_str(", error=");
            put_quoted(line, error.code);
            if let Some(description) = error.description {
                line.push_str(", error_description=");
                put_quoted(line, description);
            }
            if error == BearerError::STEP_UP && !self.acr_values.is_empty() {
                line.push_str(", acr_values=");
                put_words(line, &self.acr_values);
            }
        }
    }

    fn has_bearer(&self) -> bool {
        self.schemes.iter().any(|(scheme, _)| *scheme == Scheme::Bearer)
    }
}

/// Appends words in one quoted-string, with a space between them. Mostly there is only one.
fn put_words(line: &mut String, words: &[String]) {
    match words {
        [word] => put_quoted(line, word),
        words => put_quoted(line, &words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Challenges {
        fn texts(
            &self,
            error: Option<BearerError>,
            digest: Option<&DigestChallenge>,
            with_origin: bool,
        ) -> Vec<String> {
            let mut lines = Vec::new();
            self.each(error, digest, with_origin, |line| lines.push(line.to_owned()));
            lines
        }
    }

    fn challenges() -> Challenges {
        Challenges {
            realm: "R \"1\"".into(),
            schemes: vec![
                (Scheme::Bearer, false),
                (Scheme::Custom("Token".into()), true),
                (Scheme::Basic, false),
            ],
            scope: vec!["a".into(), "b".into()],
            acr_values: vec!["phr".into(), "mfa".into()],
            digest_algorithms: DigestAlgorithm::ALL.to_vec(),
            suppress_prompt: true,
        }
    }

    #[test]
    fn m13_realm_and_scope_in_the_challenge() {
        assert_eq!(
            challenges().texts(None, None, false),
            [
                r#"Bearer realm="R \"1\"", scope="a b""#,
                r#"Application Token realm="R \"1\"""#,
                r#"Basic realm="R \"1\"", charset="UTF-8""#,
            ]
        );
    }

    #[test]
    fn r04_no_prompt_where_an_origin_says_browser() {
        assert_eq!(challenges().texts(None, None, true).len(), 2);
        let basic_only = Challenges {
            schemes: vec![(Scheme::Basic, false)],
            ..challenges()
        };
        assert_eq!(
            basic_only.texts(None, None, true),
            [r#"Bearer realm="R \"1\"", scope="a b""#]
        );
    }

    #[test]
    fn r04_digest_has_a_line_for_each_algorithm_and_one_nonce() {
        let digest_only = Challenges {
            schemes: vec![(Scheme::Digest, false)],
            ..challenges()
        };
        let mut digest = DigestChallenge {
            nonce: "N".into(),
            opaque: "O".into(),
            stale: false,
        };
        let line = |algorithm, stale| {
            format!(
                r#"Digest realm="R \"1\"", nonce="N", opaque="O", qop="auth", algorithm={algorithm}, charset=UTF-8{stale}"#
            )
        };
        let lines = digest_only.texts(None, Some(&digest), false);
        assert_eq!(lines, [line("SHA-256", ""), line("MD5", "")]);
        digest.stale = true;
        let lines = digest_only.texts(None, Some(&digest), false);
        assert_eq!(
            lines,
            [line("SHA-256", ", stale=true"), line("MD5", ", stale=true")]
        );
        let lines = digest_only.texts(None, Some(&digest), true);
        assert_eq!(lines.len(), 1, "suppressed where an Origin says browser");
    }

    #[test]
    fn r05_errors_stand_on_the_bearer_line_alone() {
        let expired = BearerError {
            description: Some("token expired"),
            ..BearerError::INVALID_TOKEN
        };
        let lines = challenges().texts(Some(expired), None, false);
        assert_eq!(
            lines[0],
            r#"Bearer realm="R \"1\"", scope="a b", error="invalid_token", error_description="token expired""#
        );
        assert!(lines[1..].iter().all(|line| !line.contains("error")));
    }

    #[test]
    fn r06_a_further_factor_says_what_it_asks_for() {
        let lines = challenges().texts(Some(BearerError::STEP_UP), None, false);
        assert_eq!(
            lines[0],
            r#"Bearer realm="R \"1\"", scope="a b", error="insufficient_user_authentication", acr_values="phr mfa""#
        );
        assert!(lines[1..].iter().all(|line| !line.contains("acr_values")));
    }

    #[test]
    fn r05_invalid_request_and_insufficient_scope() {
        assert_eq!(
            challenges().invalid_request().as_deref(),
            Some(r#"Bearer realm="R \"1\"", error="invalid_request""#)
        );
        assert_eq!(
            challenges().insufficient_scope(&["c".into()]).as_deref(),
            Some(r#"Bearer realm="R \"1\"", error="insufficient_scope", scope="c""#)
        );
    }
}
