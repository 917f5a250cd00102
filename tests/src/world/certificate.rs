//! The certificate of the tests' TLS servers, and a client that trusts it alone.

use std::sync::{Arc, LazyLock};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

struct Certificate {
    pem: String,
    chain: CertificateDer<'static>,
    key: Vec<u8>,
}

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    Certificate {
        pem: format!("{}{}", cert.pem(), signing_key.serialize_pem()),
        chain: cert.der().clone(),
        key: signing_key.serialize_der(),
    }
});

/// Returns a certificate that nobody has.
pub(super) fn other() -> String {
    let names = ["localhost".to_owned()];
    generate_simple_self_signed(names).unwrap().cert.pem()
}

/// Returns chain and key in one text.
pub(super) fn pem() -> &'static str {
    &CERTIFICATE.pem
}

/// Returns the settings of a client that trusts this certificate.
pub fn client_tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFICATE.chain.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        builder
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Returns the settings of a server that has it.
pub(super) fn server() -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(CERTIFICATE.key.clone()));
    let builder = builder.unwrap().with_no_client_auth();
    Arc::new(
        builder
            .with_single_cert(vec![CERTIFICATE.chain.clone()], key)
            .unwrap(),
    )
}
