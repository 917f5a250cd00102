//! The certificate of the tests' TLS servers, and a client that trusts it alone.

use std::sync::{Arc, LazyLock};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

static CERTIFICATE: LazyLock<(String, CertificateDer<'static>)> = LazyLock::new(|| {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let pem = format!("{}{}", cert.pem(), signing_key.serialize_pem());
    (pem, cert.der().clone())
});

/// Returns chain and key in one text.
pub(super) fn pem() -> &'static str {
    &CERTIFICATE.0
}

/// Returns the settings of a client that trusts this certificate.
pub(super) fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFICATE.1.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        builder
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}
