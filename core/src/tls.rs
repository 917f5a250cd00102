//! TLS settings of a server, built from one PEM file.
//!
//! TLS 1.2 and 1.3 with what ring offers, which is a subset of what Mozilla calls "intermediate":
//! ECDHE with AES-GCM or ChaCha20 alone.

use std::sync::Arc;

use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};

/// The one application protocol. A client that offers ALPN without it gets the alert
/// `no_application_protocol` (RFC 7301 section 3.2); a client without ALPN is served.
const ALPN: &[u8] = b"http/1.1";

/// How many sessions of TLS 1.2 clients without tickets are remembered. Everybody else resumes
/// from a ticket, which costs no memory here.
const SESSIONS: usize = 256;

/// Builds the settings of a server from its certificate chain, leaf first, and its private key.
///
/// # Errors
/// What is missing or does not fit, in one line that never shows a byte of the file.
pub(crate) fn server_config(pem: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let (chain, key) = sections(pem)?;
    let provider = Arc::new(default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS is not available: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refused(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.ticketer = Ticketer::new().map_err(|error| format!("TLS resumption is not available: {error}"))?;
    Ok(Arc::new(config))
}

/// Builds the settings of a client that trusts the certificates in `roots`.
///
/// # Errors
/// What is wrong with them. A list of the system's may hold some that cannot be used; one usable is
/// enough.
pub(crate) fn client_config(roots: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    let mut refused = false;
    for certificate in CertificateDer::pem_slice_iter(roots) {
        let certificate = certificate.map_err(|error| broken(&error))?;
        refused |= store.add(certificate).is_err();
    }
    if store.is_empty() {
        return Err(match refused {
            true => "no certificate of the file can be used as an authority".to_owned(),
            false => "the file holds no certificate in PEM form".to_owned(),
        });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS is not available: {error}"))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn sections(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let mut chain = Vec::new();
    let mut found = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|error| broken(&error))?;
        let key = match kind {
            SectionKind::Certificate => {
                chain.push(CertificateDer::from(der));
                continue;
            }
            SectionKind::PrivateKey => PrivateKeyDer::Pkcs8(der.into()),
            SectionKind::EcPrivateKey => PrivateKeyDer::Sec1(der.into()),
            SectionKind::RsaPrivateKey => PrivateKeyDer::Pkcs1(der.into()),
            // Not ours to judge: a bundle may hold more than a server needs.
            SectionKind::PublicKey | SectionKind::Crl | SectionKind::Csr | SectionKind::EchConfigList | _ => {
                continue;
            }
        };
        if found.replace(key).is_some() {
            return Err("the file holds more than one private key; keep the certificate's own".to_owned());
        }
    }
    match (chain.is_empty(), found) {
        (false, Some(key)) => Ok((chain, key)),
        (false, None)
            if mentions(pem, b"ENCRYPTED PRIVATE KEY") || mentions(pem, b"Proc-Type: 4,ENCRYPTED") =>
        {
            Err(
                "the private key is encrypted; store it without a pass phrase (openssl pkey -in FILE)"
                    .to_owned(),
            )
        }
        (false, None) => Err("the file holds a certificate but no private key; append the key".to_owned()),
        (true, Some(_)) => {
            Err("the file holds a private key but no certificate; put the chain before the key".to_owned())
        }
        (true, None) => Err("the file holds neither a certificate nor a private key in PEM form".to_owned()),
    }
}

fn mentions(pem: &[u8], words: &[u8]) -> bool {
    pem.windows(words.len()).any(|window| window == words)
}

fn broken(error: &pem::Error) -> String {
    // The details may quote the file, and so the key.
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a PEM section has a broken BEGIN line".to_owned(),
        pem::Error::Base64Decode(_) => "a PEM section is not base64".to_owned(),
        pem::Error::Io(_) | pem::Error::NoItemsFound | pem::Error::SectionTooLarge | _ => {
            "the file is not PEM".to_owned()
        }
    }
}

fn refused(error: &Error) -> String {
    let fault = if *error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
        "the private key does not belong to the first certificate; put the server's own certificate first"
    } else if matches!(error, Error::InvalidCertificate(_)) {
        "the first certificate cannot be read"
    } else {
        "the private key cannot be used: RSA from 2048 bits, ECDSA P-256 or P-384, or Ed25519"
    };
    fault.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use rustls::client::Resumption;
    use rustls::pki_types::UnixTime;
    use rustls::time_provider::TimeProvider;
    use rustls::{ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection};

    use super::*;

    /// A certificate for `localhost`, 2026 to 2126, and its key: for these tests alone.
    const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBkzCCATigAwIBAgIUDHLpcaZpWzEspAtSilnHn71VgvkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIxMzAyOFoYDzIxMjYxMDI4
MjEzMDI4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQg8ijD6FSQj3LixrWUUheerS14L9oZusTAIQD++rWe/uq1Sqs3ROGC
Mjw4gPERcuAt87DNrTHDHgMDQvhz7gTNo2YwZDAdBgNVHQ4EFgQUWLKbWbVaIRWj
K1J2FiNRHH7mLZ4wHwYDVR0jBBgwFoAUWLKbWbVaIRWjK1J2FiNRHH7mLZ4wFAYD
VR0RBA0wC4IJbG9jYWxob3N0MAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0EAwIDSQAw
RgIhAKohYDhEFHAFOHmHhIgNpdFe15+vFE9+hF3Ytcq+4xkBAiEAmM8cd9hXU34B
nRLtqEjfQapJDeZCpvimYM9jrMGYQ/A=
-----END CERTIFICATE-----
";
    const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghEmDMZLk4gTeda+q
Alzo3s1CJNgGvSvDttq7ioLkfKqhRANCAAQg8ijD6FSQj3LixrWUUheerS14L9oZ
usTAIQD++rWe/uq1Sqs3ROGCMjw4gPERcuAt87DNrTHDHgMDQvhz7gTN
-----END PRIVATE KEY-----
";
    const OTHER_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgIGADh+ixD66Sp3Jc
8pkwoEyHBvA9g047IFv4uKDIjBehRANCAATfR1yvvH4bYLhSm3FY/OmPy9lkWnBh
N5y+n5/KaG5Xf39zhOV08KAwYYsZzvG2BUGot2NZ4b1tbwgiwvm0T6RX
-----END PRIVATE KEY-----
";

    /// The clock of the test client, inside the certificate's validity.
    #[derive(Debug)]
    struct Fixed;

    impl TimeProvider for Fixed {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000)))
        }
    }

    fn good() -> Arc<ServerConfig> {
        server_config(format!("{CERTIFICATE}{KEY}").as_bytes()).unwrap()
    }

    fn client(versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(Fixed))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// Runs a handshake in memory, until both sides have nothing to say.
    fn handshake(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
    ) -> Result<(ServerConnection, ClientConnection), Error> {
        let mut server = ServerConnection::new(server.clone())?;
        let mut client = ClientConnection::new(client.clone(), "localhost".try_into().unwrap())?;
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok((server, client))
    }

    #[test]
    fn both_versions_agree_on_http_1_1_and_resume() {
        let server = good();
        for (offered, version) in [
            (&TLS13, ProtocolVersion::TLSv1_3),
            (&TLS12, ProtocolVersion::TLSv1_2),
        ] {
            let client = client(&[offered], &[b"h2", b"http/1.1"]);
            let (first, _) = handshake(&server, &client).unwrap();
            assert_eq!(first.protocol_version(), Some(version));
            assert_eq!(first.alpn_protocol(), Some(ALPN));
            let (second, _) = handshake(&server, &client).unwrap();
            assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }

    #[test]
    fn a_client_without_alpn_is_served_and_one_without_http_1_1_is_not() {
        let server = good();
        let (served, _) = handshake(&server, &client(&[&TLS13], &[])).unwrap();
        assert_eq!(served.alpn_protocol(), None);
        let refused = handshake(&server, &client(&[&TLS13], &[b"h2"]));
        assert_eq!(refused.unwrap_err(), Error::NoApplicationProtocol);
    }

    #[test]
    fn the_key_may_stand_before_the_chain() {
        assert!(server_config(format!("{KEY}{CERTIFICATE}{CERTIFICATE}").as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_without_key_material() {
        let encrypted = format!(
            "{CERTIFICATE}-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
        );
        let unfinished = KEY.split_once("-----END").unwrap().0;
        for (pem, expected) in [
            (String::new(), "neither a certificate nor"),
            (CERTIFICATE.to_owned(), "no private key"),
            (KEY.to_owned(), "no certificate"),
            (encrypted, "encrypted"),
            (format!("{CERTIFICATE}{OTHER_KEY}"), "does not belong"),
            (format!("{CERTIFICATE}{KEY}{OTHER_KEY}"), "more than one"),
            (format!("{CERTIFICATE}{unfinished}"), "no END line"),
            (
                format!("{CERTIFICATE}{}", KEY.replace("MIGH", "!!!!")),
                "not base64",
            ),
            (
                format!("{CERTIFICATE}{}", KEY.replace("MIGH", "AIGH")),
                "cannot be used",
            ),
        ] {
            let error = server_config(pem.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n') && KEY.lines().all(|line| !error.contains(line)));
        }
    }
}
