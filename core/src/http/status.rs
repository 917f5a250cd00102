//! The statuses that countersign answers with.

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal $phrase:literal $body:literal;)+) => {
        /// A status of RFC 9110 section 15, RFC 6585 or RFC 4918 that countersign answers with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Status { $($(#[$doc])* $name,)+ }

        impl Status {
            /// Every status, in the order of the codes.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the code.
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns the reason phrase that IANA lists.
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$name => $phrase,)+ }
            }

            /// Returns the first line of an answer with it (RFC 9112 section 4), its CRLF included.
            pub(super) const fn line(self) -> &'static [u8] {
                match self {
                    $(Self::$name => concat!("HTTP/1.1 ", $code, " ", $phrase, "\r\n").as_bytes(),)+
                }
            }

            /// Returns the body of a refusal. It depends on the status alone, so its length says
            /// nothing about the cause. Empty for 405, 426, 505 and everything that is no refusal.
            pub const fn body(self) -> &'static str {
                match self { $(Self::$name => $body,)+ }
            }
        }
    };
}

statuses! {
    /// 101.
    SwitchingProtocols = 101 "Switching Protocols" "";
    /// 200.
    Ok = 200 "OK" "";
    /// 204.
    NoContent = 204 "No Content" "";
    /// 303.
    SeeOther = 303 "See Other" "";
    /// 304.
    NotModified = 304 "Not Modified" "";
    /// 400.
    BadRequest = 400 "Bad Request" "bad request\n";
    /// 401.
    Unauthorized = 401 "Unauthorized" "unauthorized\n";
    /// 403.
    Forbidden = 403 "Forbidden" "forbidden\n";
    /// 404.
    NotFound = 404 "Not Found" "not found\n";
    /// 405.
    MethodNotAllowed = 405 "Method Not Allowed" "";
    /// 408.
    RequestTimeout = 408 "Request Timeout" "request timeout\n";
    /// 411.
    LengthRequired = 411 "Length Required" "length required\n";
    /// 413.
    ContentTooLarge = 413 "Content Too Large" "content too large\n";
    /// 414.
    UriTooLong = 414 "URI Too Long" "uri too long\n";
    /// 415.
    UnsupportedMediaType = 415 "Unsupported Media Type" "unsupported media type\n";
    /// 421.
    MisdirectedRequest = 421 "Misdirected Request" "misdirected request\n";
    /// 426.
    UpgradeRequired = 426 "Upgrade Required" "";
    /// 429.
    TooManyRequests = 429 "Too Many Requests" "too many requests\n";
    /// 431.
    HeadTooLarge = 431 "Request Header Fields Too Large" "request header fields too large\n";
    /// 500.
    InternalServerError = 500 "Internal Server Error" "internal server error\n";
    /// 501.
    NotImplemented = 501 "Not Implemented" "not implemented\n";
    /// 502.
    BadGateway = 502 "Bad Gateway" "bad gateway\n";
    /// 503.
    ServiceUnavailable = 503 "Service Unavailable" "service unavailable\n";
    /// 504.
    GatewayTimeout = 504 "Gateway Timeout" "gateway timeout\n";
    /// 505.
    VersionNotSupported = 505 "HTTP Version Not Supported" "";
    /// 507.
    InsufficientStorage = 507 "Insufficient Storage" "insufficient storage\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_the_lower_case_phrase() {
        for status in Status::ALL {
            let expected = match status.code() {
                101..=399 | 405 | 426 | 505 => String::new(),
                _ => status.phrase().to_lowercase() + "\n",
            };
            assert_eq!(status.body(), expected, "{status:?}");
        }
        assert!(Status::ALL.is_sorted_by_key(|status| status.code()));
    }
}
