//! Fixed pages that are part of a program: they come from code, never from a file.

/// The `Content-Security-Policy` of every page (R17). `'self'` alone does not cover `wss:` in
/// every browser, so the names that the demo is served under stand beside it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self' wss://localhost:* wss://127.0.0.1:*; img-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A page that is part of the program: public, GET and HEAD alone, on every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The exact path.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The bytes.
    pub body: &'static [u8],
}
