//! Schemes of the operator's own.

use serde_json::json;

use super::{refused, refused_but_kept};
use crate::client::{Request, upgrade};
use crate::world::{Setup, World};

fn setup() -> Setup {
    Setup::standard().realm("challenges", json!(["Application Token", "Bearer"]))
}

fn with(credentials: &str) -> Request {
    upgrade("/api/ws").field("Authorization", credentials)
}

/// M19: `Token x` reaches the module that judges bearer tokens, whatever the case of the scheme.
pub fn m19_a_custom_scheme_is_judged_like_a_bearer_token(world: &World) {
    let stage = setup().start(world);
    let token = stage.token("alice").text();
    stage.connect().open(&with(&format!("Token {token}")));
    stage.connect().open(&with(&format!("tOKEN {token}")));
    let granted = &stage.decisions(1)[0];
    assert_eq!(granted.scheme.as_deref(), Some("Token"));
    assert_eq!(granted.subject.as_deref(), Some("alice"));
}

/// M19: a refused one is 401 without an error parameter anywhere, a malformed one 400 without any.
pub fn m19_a_custom_scheme_has_no_error_parameters(world: &World) {
    let stage = setup().start(world);
    let expired = stage
        .token("alice")
        .expired_for(std::time::Duration::from_secs(60))
        .text();
    for credentials in ["Token x".to_owned(), format!("Token {expired}")] {
        let answer = refused_but_kept(&stage, &with(&credentials), 401);
        let lines = answer.all("WWW-Authenticate");
        assert_eq!(
            lines,
            ["Token realm=\"R\"", "Bearer realm=\"R\", scope=\"a b\""],
            "{credentials}"
        );
    }
    let bearer = refused_but_kept(&stage, &with("Bearer x"), 401);
    assert!(bearer.all("WWW-Authenticate")[1].contains("error=\"invalid_token\""));
    for credentials in ["Token", "Token x,y", "Token a=\"b\""] {
        let answer = refused(&stage, &with(credentials), 400);
        assert!(
            answer.all("WWW-Authenticate").is_empty(),
            "{credentials}: {answer:?}"
        );
    }
}

/// M19: `Application ` may stand in the configuration; on the wire it stands only where asked for.
pub fn m19_the_application_prefix_is_off_the_wire(world: &World) {
    let line = |setup: Setup| {
        let stage = setup.start(world);
        let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
        answer.all("WWW-Authenticate")[0].to_owned()
    };
    assert_eq!(line(setup()), "Token realm=\"R\"");
    let prefixed = setup().realm("compat", json!({"applicationPrefix": true}));
    assert_eq!(line(prefixed), "Application Token realm=\"R\"");
}
