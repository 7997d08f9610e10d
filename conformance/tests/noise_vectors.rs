//! The draft revision's security layer against known answers: two captured handshakes, the Noise project's own vectors, and the
//! `certificate`, `negotiation` and `url-key` entries of the catalogue. Byte for byte, both sides, with every provider.

use adit::address::{AuthorityKey, parse_secret, secret_text};
use adit::crypto::{Cipher, Provider, RustCrypto, Secret};
use adit::noise::x25519::{
    Authentication, Authority, CipherList, Identity, Initiator, InitiatorConfig, OUTPUT_ROOM, Policy, Profile,
    Responder, nx,
};
use adit::noise::{Certificate, CertificateError, PeerIdentity, Step};
use adit::time::UnixTime;
use adit::transport::Transport;
use adit_native::crypto::AwsLc;
use serde_json::Value;

fn load(path: &str) -> Value {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn key(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn secret(value: &Value) -> Secret {
    Secret::from_bytes(key(value))
}

fn time(value: &Value) -> UnixTime {
    UnixTime::from_secs(value.as_u64().unwrap().try_into().unwrap())
}

/// Feeds `input` and gives what comes out.
fn expect(result: Result<Step, adit::noise::NoiseError>, input: &[u8], output: &[u8]) -> Vec<u8> {
    match result.unwrap() {
        Step::Progress { consumed, written } | Step::Complete { consumed, written } => {
            assert_eq!(consumed, input.len());
            output[..written].to_vec()
        }
        Step::NeedInput => panic!("wants more input"),
        Step::NeedOutput => panic!("wants more room"),
    }
}

/// D-SEC-5 to D-SEC-17: captured handshakes of both profiles, both sides, and the records after them.
#[test]
fn captured_handshakes_are_reproduced() {
    captured_handshakes::<RustCrypto>();
    captured_handshakes::<AwsLc>();
}

fn captured_handshakes<Crypto: Provider>() {
    let transcripts = load("vectors/noise-draft-transcripts.json");
    let mut seen = 0;
    for transcript in transcripts.as_array().unwrap() {
        let profile =
            if transcript["profile"].as_str().unwrap().contains("STR2") { Profile::Str2 } else { Profile::Str3 };
        replay::<Crypto>(transcript, profile);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

fn replay<Crypto: Provider>(transcript: &Value, profile: Profile) {
    let keys = &transcript["keys"];
    let authority = Authority::<Crypto>::from_seed(secret(&keys["authority_secret_seed"]));
    assert_eq!(*authority.public_key(), key(&keys["authority_public"]));
    let (from, until) = (time(&keys["valid_from"]), time(&keys["not_valid_after"]));
    let identity = Identity::issue(secret(&keys["static_secret"]), &authority, from, until).unwrap();
    assert_eq!(*identity.static_key(), key(&keys["static_public"]));
    let signed = identity.certificate().signed_bytes(identity.static_key(), authority.public_key());
    assert_eq!(signed.to_vec(), bytes(&transcript["signed_bytes"]));

    // The STR2 client of the capture knew ChaChaPoly alone.
    let ciphers = match profile {
        Profile::Str2 => CipherList::only(Cipher::ChaChaPoly),
        _ => CipherList::CHACHAPOLY_FIRST,
    };
    let config = InitiatorConfig {
        profile,
        ciphers,
        ..InitiatorConfig::new(Authentication::Authority(*authority.public_key()))
    };
    let policy = Policy { serve_str2: profile == Profile::Str2, ..Policy::default() };
    let mut initiator = Initiator::<Crypto>::new(&config, key(&keys["init_ephemeral_secret"]));
    let mut responder = Responder::<Crypto>::new(&identity, &policy, key(&keys["resp_ephemeral_secret"]));

    let wire: Vec<Vec<u8>> = transcript["wire"].as_array().unwrap().iter().map(|m| bytes(&m["hex"])).collect();
    let [offer, choice, act1, act2] = wire.as_slice() else { panic!("four messages") };
    let mut out = [0; OUTPUT_ROOM];
    let written = expect(initiator.process(from, &[], &mut out), &[], &out);
    assert_eq!(written, *offer);
    let written = expect(responder.process(offer, &mut out), offer, &out);
    assert_eq!(written, *choice);
    let written = expect(initiator.process(from, choice, &mut out), choice, &out);
    assert_eq!(written, *act1);
    let written = expect(responder.process(act1, &mut out), act1, &out);
    assert_eq!(written, *act2);
    let written = expect(initiator.process(from, act2, &mut out), act2, &out);
    assert!(written.is_empty());
    let (ours, theirs) = (initiator.established().unwrap(), responder.established().unwrap());

    assert_eq!(ours.handshake_hash, key(&transcript["handshake_hash"]));
    assert_eq!(theirs.handshake_hash, ours.handshake_hash);
    assert_eq!(theirs.peer, PeerIdentity::Anonymous);
    assert_eq!(
        ours.peer,
        PeerIdentity::Authenticated {
            authority: *authority.public_key(),
            static_key: *identity.static_key(),
            not_valid_after: until
        }
    );

    let mut near = Transport::<Crypto>::sealed(ours.send, ours.receive);
    let mut far = Transport::<Crypto>::sealed(theirs.send, theirs.receive);
    for record in transcript["transport"].as_array().unwrap() {
        let (from, to) = if record["dir"] == "i2r" { (&mut near, &mut far) } else { (&mut far, &mut near) };
        let (plain, mut wire) = (bytes(&record["plain"]), bytes(&record["wire"]));
        let mut buffer = vec![0; from.sealed_len(plain.len())];
        buffer[from.head_room()..][..plain.len()].copy_from_slice(&plain);
        assert_eq!(from.seal_frame(&mut buffer, plain.len()), Ok(wire.len()));
        assert_eq!(buffer, wire);
        let range = to.open_record(&mut wire).unwrap();
        assert_eq!(wire[range], plain);
    }
}

/// D-SEC-8, D-SEC-11, D-SEC-12: the Noise project's known answers for both ciphers.
#[test]
fn official_vectors_of_the_nx_pattern() {
    official_vectors::<RustCrypto>();
    official_vectors::<AwsLc>();
}

fn official_vectors<Crypto: Provider>() {
    let file = load("vectors/noise-official-nx-25519-blake2s.json");
    let mut seen = Vec::new();
    for (name, cipher) in
        [("Noise_NX_25519_ChaChaPoly_BLAKE2s", Cipher::ChaChaPoly), ("Noise_NX_25519_AESGCM_BLAKE2s", Cipher::AesGcm)]
    {
        let vectors = file[name].as_array().unwrap();
        for vector in vectors {
            official::<Crypto>(vector, cipher);
        }
        seen.push(vectors.len());
    }
    assert_eq!(seen, [2, 2]);
}

fn official<Crypto: Provider>(vector: &Value, cipher: Cipher) {
    let message = |at: usize| (bytes(&vector["messages"][at]["payload"]), bytes(&vector["messages"][at]["ciphertext"]));
    let mut out = vec![0; 1024];

    let prologue = bytes(&vector["init_prologue"]);
    let (payload, expected) = message(0);
    let (initiator, len) =
        nx::Initiator::<Crypto>::start(cipher, &[&prologue], secret(&vector["init_ephemeral"]), &payload, &mut out)
            .unwrap();
    assert_eq!(out[..len], expected);

    let prologue = bytes(&vector["resp_prologue"]);
    let responder = nx::Responder::<Crypto>::new(cipher, &[&prologue]);
    let static_secret = secret(&vector["resp_static"]);
    let static_public = Crypto::x25519_public(&static_secret);
    let ephemeral = secret(&vector["resp_ephemeral"]);
    let (payload, act2) = message(1);
    let (mut theirs, len) =
        responder.finish(&expected, &ephemeral, (&static_secret, &static_public), &payload, &mut out).unwrap();
    assert_eq!(out[..len], act2);

    let mut act2 = act2;
    let (mut ours, shown, text) = initiator.finish(&mut act2).unwrap();
    assert_eq!(text, payload);
    assert_eq!(*shown, static_public);
    assert_eq!(ours.handshake_hash, theirs.handshake_hash);
    if let Some(hash) = vector.get("handshake_hash") {
        assert_eq!(ours.handshake_hash, key(hash));
    }

    for at in 2..vector["messages"].as_array().unwrap().len() {
        let (payload, expected) = message(at);
        let (seal, open) = if at % 2 == 0 {
            (&mut ours.initiator_to_responder, &mut theirs.initiator_to_responder)
        } else {
            (&mut theirs.responder_to_initiator, &mut ours.responder_to_initiator)
        };
        let (mut text, mut tag) = (payload.clone(), [0; 16]);
        seal.encrypt(&[], &mut text, &mut tag).unwrap();
        assert_eq!([&text[..], &tag].concat(), expected);
        open.decrypt(&[], &mut text, &tag).unwrap();
        assert_eq!(text, payload);
    }
}

/// The entries of one name in the draft's catalogue.
fn catalogue(name: &str) -> Vec<Value> {
    let entries = load("spec/draft.json")["test_vectors"].as_array().unwrap().clone();
    entries.into_iter().filter(|entry| entry["name"] == name).collect()
}

/// Decodes base58check of any length, for the signature.
fn base58(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes: Vec<u8> = Vec::new();
    for c in text.bytes() {
        let mut carry = ALPHABET.iter().position(|a| *a == c).unwrap();
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry % 256).unwrap();
            carry /= 256;
        }
        while carry > 0 {
            bytes.push(u8::try_from(carry % 256).unwrap());
            carry /= 256;
        }
    }
    bytes.reverse();
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// D-SEC-14, D-SEC-15: a published certificate verifies, and is what the authority's secret key makes.
#[test]
fn published_certificate() {
    the_published_certificate::<RustCrypto>();
    the_published_certificate::<AwsLc>();
}

fn the_published_certificate<Crypto: Provider>() {
    let entries = catalogue("certificate");
    let [entry] = entries.as_slice() else { panic!("one certificate") };
    let text = |name: &str| entry[name].as_str().unwrap();
    let public = |name: &str| match text(name).parse().unwrap() {
        AuthorityKey::Ed25519(key) => key,
        AuthorityKey::Secp256k1XOnly(_) => panic!("wrong kind of key"),
    };
    let (authority_public, static_public) = (public("authority_public"), public("server_static_public"));
    let authority_secret = parse_secret(text("authority_secret")).unwrap();
    assert_eq!(secret_text(&authority_secret).as_str(), text("authority_secret"));
    let authority = Authority::<Crypto>::from_seed(authority_secret);
    assert_eq!(*authority.public_key(), authority_public);
    let static_secret = parse_secret(text("server_static_secret")).unwrap();
    assert_eq!(Crypto::x25519_public(&static_secret), static_public);

    let certificate = Certificate {
        version: entry["version"].as_u64().unwrap().try_into().unwrap(),
        valid_from: time(&entry["valid_from"]),
        not_valid_after: time(&entry["not_valid_after"]),
        signature: base58(text("signature")).try_into().unwrap(),
    };
    let (from, until) = (certificate.valid_from, certificate.not_valid_after);
    assert_eq!(authority.certify(&static_public, from, until), Ok(certificate));

    let verify =
        |certificate: &Certificate, wall| certificate.verify::<Crypto>(&static_public, &authority_public, wall, 0);
    assert_eq!(verify(&certificate, from), Ok(()));
    assert_eq!(verify(&certificate, until), Ok(()));
    let before = UnixTime::from_secs(from.as_secs() - 1);
    assert_eq!(verify(&certificate, before), Err(CertificateError::NotYetValid { valid_from: from }));
    let after = UnixTime::from_secs(until.as_secs() + 1);
    assert_eq!(verify(&certificate, after), Err(CertificateError::Expired { not_valid_after: until }));
    let version = Certificate { version: 1, ..certificate };
    assert_eq!(verify(&version, from), Err(CertificateError::Version(1)));
    for bit in 0..512 {
        let mut forged = certificate;
        forged.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&forged, from), Err(CertificateError::Signature), "bit {bit}");
    }
}

/// D-SEC-16: the published negotiation, with AES-GCM as the only offer.
#[test]
fn published_negotiation() {
    the_published_negotiation::<RustCrypto>();
    the_published_negotiation::<AwsLc>();
}

fn the_published_negotiation<Crypto: Provider>() {
    let entries = catalogue("negotiation");
    let [entry] = entries.as_slice() else { panic!("one negotiation") };
    let framed = |value: &Value| {
        let message = bytes(value);
        [&u16::try_from(message.len()).unwrap().to_le_bytes()[..], &message].concat()
    };
    let (offer, choice) = (framed(&entry["initiator_hex"]), framed(&entry["responder_hex"]));

    let now = UnixTime::from_secs(0);
    let mut out = [0; OUTPUT_ROOM];
    let config = InitiatorConfig {
        ciphers: CipherList::only(Cipher::AesGcm),
        ..InitiatorConfig::new(Authentication::AcceptAnyone)
    };
    let mut initiator = Initiator::<Crypto>::new(&config, [1; 32]);
    assert_eq!(expect(initiator.process(now, &[], &mut out), &[], &out), offer);

    let authority = Authority::<Crypto>::from_seed(Secret::from_bytes([2; 32]));
    let identity = Identity::issue(Secret::from_bytes([3; 32]), &authority, now, now).unwrap();
    let mut responder = Responder::<Crypto>::new(&identity, &Policy::default(), [4; 32]);
    assert_eq!(expect(responder.process(&offer, &mut out), &offer, &out), choice);
    assert_eq!(expect(initiator.process(now, &choice, &mut out), &choice, &out).len(), 34);
}

/// D-URL-2: the published key of a URL.
#[test]
fn published_url_key() {
    let entries = catalogue("url-key");
    let [entry] = entries.as_slice() else { panic!("one key") };
    let expected = AuthorityKey::Ed25519(key(&entry["key_hex"]));
    assert_eq!(entry["encoded"].as_str().unwrap().parse(), Ok(expected));
    assert_eq!(expected.to_string(), entry["encoded"].as_str().unwrap());
}
