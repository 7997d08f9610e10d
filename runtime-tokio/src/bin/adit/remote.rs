//! A server to connect to, from its URL.

use adit::address::{KeyError, UrlError, UrlFault};
use adit::connection::Security;
use adit::noise::x25519::{Authentication, CipherList};
use adit_tokio::upstream::{Server, ServerUrlError};
use ed25519_dalek::VerifyingKey;

use crate::config::{CipherName, ConfigError, bad};

/// What is said of a secret key in a URL.
const SECRET_KEY: &str = "the key at its end is a secret key. That one belongs into the server's configuration alone: if others have seen it, make a new pair \
                          with `adit keys`. The server tells its URL, with the public key, when it starts";

/// The server of a `stratum2+tcp://` URL, to be authenticated by the key in it.
pub(crate) fn server(setting: &'static str, url: &str, ciphers: CipherList) -> Result<Server, ConfigError> {
    let mut server = Server::from_url(url).map_err(|error| match error {
        ServerUrlError::Url(UrlError { fault: UrlFault::Key(KeyError::Secret), .. }) => bad(setting, SECRET_KEY),
        ServerUrlError::Url(error) => bad(setting, format!("{error}. The server tells its whole URL when it starts")),
        ServerUrlError::NoKey => bad(
            setting,
            "it ends without the server's authority key, so nobody could tell the server from an impostor; ask its operator for the whole URL",
        ),
        ServerUrlError::OtherRevision => bad(
            setting,
            "its key is one of the protocol's current revision; this program speaks the draft revision, whose keys have no version",
        ),
        other => bad(setting, other.to_string()),
    })?;
    if let Security::Noise(noise) = &mut server.connection.security {
        if let Authentication::Authority(key) = &noise.authentication
            && VerifyingKey::from_bytes(key).is_err()
        {
            return Err(bad(
                setting,
                "the key at its end is no public key; is it the secret half? That one belongs into the server's configuration alone: if others \
                 have seen it, make a new pair with `adit keys`. The server tells its URL when it starts",
            ));
        }
        noise.ciphers = ciphers;
    }
    Ok(server)
}

/// The ciphers to offer, in this order.
pub(crate) fn ciphers(setting: &'static str, names: &[CipherName]) -> Result<CipherList, ConfigError> {
    use adit::crypto::Cipher;
    match names {
        [CipherName::ChaChaPoly] => Ok(CipherList::only(Cipher::ChaChaPoly)),
        [CipherName::AesGcm] => Ok(CipherList::only(Cipher::AesGcm)),
        [CipherName::ChaChaPoly, CipherName::AesGcm] => Ok(CipherList::CHACHAPOLY_FIRST),
        [CipherName::AesGcm, CipherName::ChaChaPoly] => Ok(CipherList::AESGCM_FIRST),
        _ => Err(bad(setting, "name one or both of \"ChaChaPoly\" and \"AESGCM\", each once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_key_or_with_a_wrong_one_says_what_to_do() {
        let parse = |url| server("pool", url, CipherList::default()).unwrap_err().to_string();
        assert!(parse("stratum2+tcp://pool.example").contains("authority key"));
        assert!(parse("stratum+tcp://pool.example/x").contains("setting `pool`"));
        let current = "stratum2+tcp://pool.example/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert!(parse(current).contains("current revision"));
    }

    #[test]
    fn a_secret_key_in_a_url_is_noticed() {
        for n in 0..32 {
            let secret = adit::address::tagged_secret_text(&adit::crypto::Secret::from_bytes([n; 32]));
            let url = format!("stratum2+tcp://127.0.0.1/{}", secret.as_str());
            let error = server("pool", &url, CipherList::default()).unwrap_err().to_string();
            assert!(error.contains("`pool`") && error.contains("is a secret key"), "{error}");
        }
    }

    /// As earlier versions wrote them, half of them: the others are points of the curve by chance, and nothing tells them from public keys.
    #[test]
    fn an_untagged_secret_key_in_a_url_is_noticed_where_it_can_be() {
        let mut noticed = 0;
        for n in 0..64 {
            let secret = adit::crypto::Secret::from_bytes(std::array::from_fn(|at| n ^ (at as u8).wrapping_mul(37)));
            let url = |key: &str| format!("stratum2+tcp://127.0.0.1/{key}");
            let error = server("pool", &url(adit::address::secret_text(&secret).as_str()), CipherList::default()).err();
            noticed += u32::from(error.is_some_and(|error| error.to_string().contains("is it the secret half?")));
            let public = crate::keys::public_key(&crate::keys::authority(secret)).to_string();
            assert!(server("pool", &url(&public), CipherList::default()).is_ok(), "a public key always does");
        }
        assert!((16..48).contains(&noticed), "{noticed}");
    }

    #[test]
    fn an_address_loses_its_brackets() {
        let url = "stratum2+tcp://[::1]:3333/u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
        let server = server("pool", url, CipherList::default()).unwrap();
        assert_eq!((server.host.as_str(), server.port), ("::1", 3333));
    }

    #[test]
    fn a_cipher_is_named_once() {
        let both = [CipherName::AesGcm, CipherName::ChaChaPoly];
        assert_eq!(ciphers("ciphers", &both).unwrap(), CipherList::AESGCM_FIRST);
        assert!(ciphers("ciphers", &[]).is_err());
        assert!(ciphers("ciphers", &[CipherName::AesGcm, CipherName::AesGcm]).is_err());
    }
}
