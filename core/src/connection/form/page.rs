//! The login page: no script, no resource from anywhere, one style that its policy names by its hash.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

const PAGE: &str = include_str!("login.html");
const STYLE: &str = include_str!("login.css");

/// The `Content-Security-Policy` of the page (R17).
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// What differs from one page to the next. Every text is escaped when it is written.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) realm: &'a str,
    pub(super) action: &'a str,
    pub(super) csrf: &'a str,
    pub(super) next: &'a str,
    /// The page answers a login that failed.
    pub(super) failed: bool,
}

impl Page<'_> {
    /// Returns the page.
    pub(super) fn html(&self) -> String {
        let (alert, invalid) = if self.failed {
            (
                "<p class=\"alert\" role=\"alert\" id=\"alert\">User name and password do not match.</p>",
                " aria-invalid=\"true\" aria-describedby=\"alert\"",
            )
        } else {
            ("", "")
        };
        let mut html = String::with_capacity(PAGE.len() + STYLE.len() + 512);
        let mut rest = PAGE;
        // One pass: what was filled in is never looked at for places to fill.
        while let Some((before, after)) = rest.split_once("{{") {
            html.push_str(before);
            let Some((name, behind)) = after.split_once("}}") else {
                break;
            };
            match name {
                "style" => html.push_str(STYLE),
                "alert" => html.push_str(alert),
                "invalid" => html.push_str(invalid),
                "realm" => escape(self.realm, &mut html),
                "action" => escape(self.action, &mut html),
                "csrf" => escape(self.csrf, &mut html),
                "next" => escape(self.next, &mut html),
                _ => {}
            }
            rest = behind;
        }
        html.push_str(rest);
        html
    }
}

/// Appends `text` as it may stand in an element or a quoted attribute.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(failed: bool) -> String {
        let hostile = "\"><script>{{style}}</script>&'";
        Page {
            realm: hostile,
            action: "/login",
            csrf: "c",
            next: hostile,
            failed,
        }
        .html()
    }

    #[test]
    fn r17_nothing_that_was_filled_in_becomes_markup() {
        let html = page(false);
        assert!(!html.contains("<script") && html.matches("<style>").count() == 1);
        assert_eq!(
            html.matches("&quot;&gt;&lt;script&gt;{{style}}&lt;/script&gt;&amp;&#39;")
                .count(),
            3
        );
        assert!(!html.contains("alert") || html.matches("role=\"alert\"").count() == 0);
    }

    #[test]
    fn r16_every_field_has_a_label_and_a_failure_is_told() {
        let html = page(true);
        for field in ["username", "password"] {
            assert!(
                html.contains(&format!("<label for=\"{field}\">"))
                    && html.contains(&format!("id=\"{field}\""))
            );
        }
        assert_eq!(html.matches("aria-invalid=\"true\"").count(), 2);
        assert_eq!(html.matches("role=\"alert\"").count(), 1);
        assert!(!html.contains(" style=") && !html.contains(" on") || !html.contains("onclick"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</"));
    }
}
