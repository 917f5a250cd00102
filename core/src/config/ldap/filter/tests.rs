#![allow(clippy::unwrap_used)]

use super::*;

const ALICE: Filling<'_> = Filling {
    username: "alice",
    dn: "uid=alice,dc=x",
};

#[test]
fn m24_filters_are_read_as_rfc_4515_writes_them() {
    for (text, shown) in [
        ("(cn=Babs Jensen)", "(cn=Babs Jensen)"),
        ("(!(cn=Tim Howes))", "(!(cn=Tim Howes))"),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
        ),
        ("(o=univ*of*mich*)", "(o=univ*of*mich*)"),
        ("(o=*x)", "(o=*x)"),
        ("(seeAlso=)", "(seeAlso=)"),
        ("(cn:caseExactMatch:=Fred)", "(cn:caseExactMatch:=Fred)"),
        ("(cn:=Betty)", "(cn:=Betty)"),
        ("(sn:dn:2.4.6.8.10:=Barney)", "(sn:dn:2.4.6.8.10:=Barney)"),
        ("(o:dn:=Ace)", "(o:dn:=Ace)"),
        ("(:1.2.3:=Wilma)", "(:1.2.3:=Wilma)"),
        ("(:DN:2.4.6:=Dino)", "(:dn:2.4.6:=Dino)"),
        (r"(o=Parens R Us \28for all\29)", r"(o=Parens R Us \28for all\29)"),
        (r"(cn=*\2A*)", r"(cn=*\2a*)"),
        (r"(bin=\00\00\00\04)", r"(bin=\00\00\00\04)"),
        ("(sn=Lu\u{10d}i\u{107})", r"(sn=Lu\c4\8di\c4\87)"),
        ("(a>=1)", "(a>=1)"),
        ("(a<=1)", "(a<=1)"),
        ("(a~=b=c)", "(a~=b=c)"),
        ("(cn;lang-de=x)", "(cn;lang-de=x)"),
        ("(2.5.4.3=x)", "(2.5.4.3=x)"),
        ("(uid=*)", "(uid=*)"),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(filter.to_string(), shown);
        assert_eq!(Filter::parse(shown).unwrap(), filter);
    }
}

#[test]
fn m24_what_is_no_filter_does_not_load() {
    for text in [
        "",
        "uid=x",
        "(uid=x",
        "(uid=x))",
        "(uid=x)(uid=y)",
        "()",
        "(uid)",
        "(=x)",
        "(u id=x)",
        "(-a=x)",
        "(a_b=x)",
        "(1..2=x)",
        "(;x=y)",
        "(cn;=x)",
        "(&)",
        "(|)",
        "(!)",
        "(!(a=b)(c=d))",
        "(& (a=b))",
        "(&(a=b)x)",
        "(a=b**c)",
        "(a>=x*)",
        "(a:b:c:d:=x)",
        "(:dn:=x)",
        "(:=x)",
        r"(a=\)",
        r"(a=\4)",
        r"(a=\+4)",
        r"(a=\4g)",
        "(a=\\\u{e4})",
        "(a={username})",
        "(a={x})",
        "(a={)",
        "(a=b(c)",
        "(a=\0)",
        "({USERNAME}=x)",
    ] {
        assert!(Filter::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn m24_filters_are_bounded() {
    let nested = |depth: usize| format!("{}(a=b){}", "(!".repeat(depth - 1), ")".repeat(depth - 1));
    assert!(Filter::parse(&nested(FILTER_DEPTH)).is_ok());
    assert!(Filter::parse(&nested(FILTER_DEPTH + 1)).is_err());
    assert!(Filter::parse(&"(!".repeat(FILTER_BYTES / 2)).is_err());
    let long = |bytes: usize| format!("(a={})", "b".repeat(bytes - 4));
    assert!(Filter::parse(&long(FILTER_BYTES)).is_ok());
    assert!(Filter::parse(&long(FILTER_BYTES + 1)).is_err());
}

#[test]
fn m24_what_a_login_brings_along_never_becomes_syntax() {
    let filter = Filter::parse("(&(uid={USERNAME})(member={DN})(x=a{USERNAME}*))").unwrap();
    for (username, escaped) in [
        ("alice", "alice"),
        ("*)(uid=*", r"\2a\29\28uid=\2a"),
        ("\\2a", r"\5c2a"),
        ("{DN}", r"\7bDN}"),
        ("\0", r"\00"),
        ("\u{e4}", r"\c3\a4"),
    ] {
        let filling = Filling {
            username,
            dn: r"cn=Doe\, John (x),dc=x",
        };
        let text = filter.text(filling);
        assert_eq!(
            text,
            format!(r"(&(uid={escaped})(member=cn=Doe\5c, John \28x\29,dc=x)(x=a{escaped}*))")
        );
        // Read again, the text says the same: the escapes are complete.
        let Filter::And(again) = Filter::parse(&text).unwrap() else {
            panic!("{text}")
        };
        let Some(Filter::Compare(Comparison::Equal, _, value)) = again.first() else {
            panic!("{text}")
        };
        assert_eq!(value.filled(ALICE), username.as_bytes());
    }
}

#[test]
fn the_name_is_what_the_first_equality_compares() {
    for (text, attribute) in [
        ("(uid={USERNAME})", Some("uid")),
        (
            "(&(objectClass=x)(|(mail={USERNAME})(uid={USERNAME})))",
            Some("mail"),
        ),
        ("(mail={USERNAME}@example.com)", None),
        ("(!(uid={USERNAME}))", None),
        ("(uid={USERNAME}*)", None),
        ("(uid~={USERNAME})", None),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(filter.name_attribute(), attribute, "{text}");
        assert!(filter.has(Placeholder::Username) && !filter.has(Placeholder::Dn));
    }
}
