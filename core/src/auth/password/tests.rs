//! Every scheme against strings that other programs made, and every way to be refused.
#![allow(clippy::unwrap_used)]
use super::*;

// Made by crypt(3) for "correct horse"; the last for 72 times "a".
const SHA512: &str = "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1";
const SHA512_DEFAULT: &str = "$6$VoQS17cgbxKej9.W$fmGri2XgOh7XBxvy3hQhJaDtpryWeLHtKZOiOloVkXaUhluh6X6E061U4WJvBQQcSJM6bosUrUcuVyaF3E4lF0";
const SHA256: &str = "$5$rounds=1000$saltsalt$R6e4P8ccT9iMqkYg7Z8YtpId/lfsIfnuPkp8WXposU8";
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
const BCRYPT_72: &str = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe";
const PASSWORD: &[u8] = b"correct horse";

fn argon2id_string(password: &[u8], parameters: Parameters) -> String {
    let Parameters::Argon2id {
        memory_kib,
        passes,
        lanes,
    } = parameters
    else {
        panic!("not argon2id");
    };
    let digest = argon2id(password, parameters, b"saltsaltsaltsalt", 32).unwrap();
    format!(
        "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}",
        STANDARD_NO_PAD.encode(b"saltsaltsaltsalt"),
        STANDARD_NO_PAD.encode(digest.expose())
    )
}

const SMALL: Parameters = Parameters::Argon2id {
    memory_kib: 8,
    passes: 1,
    lanes: 1,
};

fn verifies(hash: &str, password: &[u8]) -> bool {
    StoredHash::parse(hash).unwrap().verify(password)
}

#[test]
fn m23_every_accepted_scheme_verifies() {
    let argon2 = argon2id_string(PASSWORD, SMALL);
    let bcrypt_2y = BCRYPT.replacen("$2b$", "$2y$", 1);
    let bcrypt_2a = BCRYPT.replacen("$2b$", "$2a$", 1);
    for hash in [
        SHA512,
        SHA512_DEFAULT,
        SHA256,
        BCRYPT,
        &bcrypt_2y,
        &bcrypt_2a,
        &argon2,
    ] {
        assert!(verifies(hash, PASSWORD), "{hash}");
        for wrong in [
            &b""[..],
            b"correct hors",
            b"correct horse ",
            b"correct horse\0",
            b"correct\0horse",
        ] {
            assert!(!verifies(hash, wrong), "{hash}");
        }
    }
}

#[test]
fn m23_argon2id_agrees_with_the_reference() {
    // The reference implementation's test of version 0x13 with m=2^8, t=2, p=2.
    let hash = "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";
    assert!(verifies(hash, b"password"));
    assert!(!verifies(hash, b"passwore"));
}

#[test]
fn m23_clear_text_and_weak_schemes_are_refused_without_their_value() {
    for (hash, scheme) in [
        ("hunter2", Scheme::Unknown),
        ("", Scheme::Unknown),
        ("$", Scheme::Unknown),
        ("$hunter2", Scheme::Unknown),
        ("rl3hunter2xyz", Scheme::Unknown),
        ("{SHA}hunter2", Scheme::Ldap),
        ("{PLAIN}hunter2", Scheme::Ldap),
        ("$apr1$hunter2$hunter2", Scheme::Md5Crypt),
        ("$1$abcdefgh$hunter2", Scheme::Md5Crypt),
        ("$2x$04$hunter2", Scheme::BrokenBcrypt),
        ("$2$04$hunter2", Scheme::BrokenBcrypt),
        ("$argon2i$v=19$hunter2", Scheme::OtherArgon2),
        ("$argon2d$v=19$hunter2", Scheme::OtherArgon2),
        ("$y$j9T$hunter2", Scheme::Unknown),
        ("$hunter2$hunter2", Scheme::Unknown),
    ] {
        let error = StoredHash::parse(hash).unwrap_err();
        assert_eq!(error, HashError::Unsupported(scheme), "{hash}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn m23_what_costs_too_much_is_a_load_error() {
    let argon2 = |memory, passes, lanes| {
        let small = argon2id_string(PASSWORD, SMALL);
        StoredHash::parse(&small.replace("m=8,t=1,p=1", &format!("m={memory},t={passes},p={lanes}")))
    };
    assert_eq!(
        argon2(MAX_ARGON2_KIB, 10, 4).unwrap().memory_bytes(),
        256 * 1024 * 1024
    );
    for (memory, passes, lanes) in [
        (MAX_ARGON2_KIB + 1, 1, 1),
        (8, 11, 1),
        (64, 1, 5),
        (u32::MAX, 1, 1),
    ] {
        assert!(matches!(
            argon2(memory, passes, lanes),
            Err(HashError::TooCostly { .. })
        ));
    }
    for (memory, passes, lanes) in [(7, 1, 1), (8, 1, 2), (8, 0, 1), (8, 1, 0)] {
        assert_eq!(
            argon2(memory, passes, lanes).err(),
            Some(HashError::Malformed("the parameters"))
        );
    }
    let bcrypt = |cost: &str| StoredHash::parse(&BCRYPT.replacen("$04$", &format!("${cost}$"), 1)).err();
    assert_eq!(bcrypt("14"), None);
    let (parameter, limit, found) = ("cost", 14, 15);
    assert_eq!(
        bcrypt("15"),
        Some(HashError::TooCostly {
            parameter,
            limit,
            found
        })
    );
    for cost in ["03", "+5", "5", "005", "", "ab"] {
        assert_eq!(bcrypt(cost), Some(HashError::Malformed("the cost")), "{cost}");
    }
    let sha = |rounds: &str| StoredHash::parse(&SHA512.replacen("1000", rounds, 1)).err();
    assert_eq!(sha("500000"), None);
    let (parameter, limit, found) = ("rounds", 500_000, 500_001);
    assert_eq!(
        sha("500001"),
        Some(HashError::TooCostly {
            parameter,
            limit,
            found
        })
    );
    for rounds in ["999", "", "01000", "+1000", "99999999999", "-1", "1e4"] {
        assert_eq!(sha(rounds), Some(HashError::Malformed("the rounds")), "{rounds}");
    }
}

#[test]
fn m23_broken_hashes_are_load_errors() {
    let argon2 = argon2id_string(PASSWORD, SMALL);
    // Of argon2id a shorter or longer digest is another hash: its length goes into the hashing.
    let useless = |text: &str| !StoredHash::parse(text).is_ok_and(|hash| hash.verify(PASSWORD));
    for hash in [SHA512, SHA256, BCRYPT, argon2.as_str()] {
        for end in 0..hash.len() {
            assert!(useless(&hash[..end]), "{}", &hash[..end]);
        }
        for further in ["a", "$", "$a", " ", "=", "\u{e9}"] {
            assert!(useless(&format!("{hash}{further}")), "{hash}{further}");
        }
        for at in 0..hash.len() {
            // Whatever stands there, reading it does not panic.
            let mut broken = hash.as_bytes().to_vec();
            broken[at] = b'!';
            assert!(
                StoredHash::parse(&String::from_utf8(broken).unwrap()).is_err(),
                "{at} {hash}"
            );
        }
    }
    for hash in [
        "$6$saltsaltsaltsalts$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1",
        "$6$$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1",
        "$6$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwAz",
        "$argon2id$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA",
        "$argon2id$v=19$m=8,t=1,p=1,keyid=AA$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$argon2id$v=19$t=1,m=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(
            matches!(StoredHash::parse(hash), Err(HashError::Malformed(_))),
            "{hash}"
        );
    }
}

#[test]
fn m23_too_long_passwords_fail_and_do_not_truncate() {
    assert!(verifies(BCRYPT_72, &[b'a'; 72]));
    assert!(!verifies(BCRYPT_72, &[b'a'; 73]));
    assert!(!verifies(BCRYPT_72, &[b'a'; 71]));
    let longest = vec![b'a'; MAX_PASSWORD_BYTES];
    let hash = argon2id_string(&longest, SMALL);
    assert!(verifies(&hash, &longest));
    assert!(!verifies(&hash, &[longest.as_slice(), b"a"].concat()));
    assert!(!verifies(SHA512, &vec![b'a'; 100_000]));
    assert_eq!(
        hash_password(&[b'a'; MAX_PASSWORD_BYTES + 1], [0; 16]),
        Err(HashError::LongPassword)
    );
}

#[test]
fn m23_bcrypt_with_a_nul_never_passes() {
    // A hash that this very library makes of a password with a NUL inside.
    let hash = bcrypt::hash_with_salt(b"a\0b", 4, [1; 16]).unwrap().to_string();
    assert!(!verifies(&hash, b"a\0b"));
    assert!(!verifies(&hash, b"a"));
}

#[test]
fn m23_a_new_hash_verifies_and_has_the_recommended_parameters() {
    let text = hash_password(PASSWORD, [7; 16]).unwrap();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let hash = StoredHash::parse(&text).unwrap();
    assert_eq!(hash.parameters(), Parameters::RECOMMENDED);
    assert_eq!(hash.memory_bytes(), 19_456 * 1024);
    assert!(hash.verify(PASSWORD));
    assert_ne!(text, hash_password(PASSWORD, [8; 16]).unwrap());
}

#[test]
fn r5_a_decoy_costs_the_same_and_verifies_nothing() {
    let argon2 = argon2id_string(PASSWORD, SMALL);
    for hash in [SHA512, SHA256, BCRYPT, argon2.as_str()] {
        let real = StoredHash::parse(hash).unwrap();
        let decoy = StoredHash::decoy(real.parameters(), [3; 16]);
        assert!(real.same_parameters(&decoy));
        assert_eq!(real.memory_bytes(), decoy.memory_bytes());
        assert!(!decoy.verify(PASSWORD) && !decoy.verify(b""));
        if let Expected::ShaCrypt(text) = &decoy.expected {
            assert!(StoredHash::parse(text.expose()).is_ok(), "the job is a whole one");
        }
    }
}

#[test]
fn r10_debug_shows_the_parameters_alone() {
    let shown = format!("{:?}", StoredHash::parse(BCRYPT).unwrap());
    assert_eq!(shown, "StoredHash { parameters: Bcrypt { cost: 4 }, .. }");
}
