//! The two curves of RFC 7518 and RFC 8812 that ring does not have. Only public keys are handled
//! here, so nothing has to be constant in time.

use k256::ecdsa::signature::Verifier as _;

/// A public key on P-521 or secp256k1, known to lie on its curve.
#[derive(Clone)]
pub(super) enum CurveKey {
    P521(p521::ecdsa::VerifyingKey),
    Secp256k1(k256::ecdsa::VerifyingKey),
}

impl CurveKey {
    /// A point of P-521 in the uncompressed form of SEC 1; `None` if it does not lie on the curve.
    pub(super) fn p521(point: &[u8]) -> Option<Self> {
        p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .ok()
            .map(Self::P521)
    }

    /// A point of secp256k1 in the uncompressed form of SEC 1; `None` if it does not lie on the curve.
    pub(super) fn secp256k1(point: &[u8]) -> Option<Self> {
        k256::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .ok()
            .map(Self::Secp256k1)
    }

    /// Says whether `signature`, both numbers in their full length, is this key's over `message`,
    /// hashed with SHA-512 or SHA-256 as ES512 and ES256K demand.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // Of the two signatures that are one another's mirror this verifier takes the lower,
            // as coins need it. RFC 8812 asks for neither, and signers answer with both.
            Self::Secp256k1(key) => k256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature.normalize_s()).is_ok()),
        }
    }
}
