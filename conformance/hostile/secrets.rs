//! Secrets leave memory when their owner ends, and nothing prints them. Looks at the bytes of whole values, before and after.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr;

use adit::buffer::{Input, Output};
use adit::connection::{Connection, NoiseServer, Progress, ResponderConfig, Security, SetupPolicy};
use adit::crypto::{Aead as _, BothCiphers, ChaChaPolyOnly, Cipher, HmacKey, RustCrypto, Secret};
use adit::noise::x25519::{self, Authority, Identity};
use adit::protocol::{Initiator, Mining, Responder};
use adit::time::{Instant, UnixTime};
use adit_conformance::pair::{PairConfig, WALL, configs};

const SECRET: [u8; 32] = *b"a secret that nobody is to keep.";

/// A value in memory of its own, which stays readable when the value is gone.
struct Watched<T> {
    place: *mut T,
    gone: bool,
}

impl<T> Watched<T> {
    fn new(value: T) -> Self {
        assert!(size_of::<T>() > 0);
        // SAFETY: the layout has a size, checked above; the memory is written before anything reads it as `T`.
        let place = unsafe { alloc_zeroed(Layout::new::<T>()) }.cast::<T>();
        assert!(!place.is_null());
        // SAFETY: fresh memory of this layout.
        unsafe { place.write(value) };
        Self { place, gone: false }
    }

    fn get(&mut self) -> &mut T {
        assert!(!self.gone);
        // SAFETY: the value is there until `end`, and this borrow is the only one.
        unsafe { &mut *self.place }
    }

    /// Drops the value where it is.
    fn end(&mut self) {
        assert!(!self.gone);
        self.gone = true;
        // SAFETY: the value is there and is not used any more.
        unsafe { ptr::drop_in_place(self.place) };
    }

    /// The bytes at the value's place, whatever they mean now.
    fn bytes(&self) -> Vec<u8> {
        let from = self.place.cast::<u8>();
        // SAFETY: inside of the allocation, which was zeroed as a whole; volatile, so that the compiler takes nothing about it for granted.
        (0..size_of::<T>()).map(|at| unsafe { from.add(at).read_volatile() }).collect()
    }

    fn holds(&self, secret: &[u8]) -> bool {
        self.bytes().windows(secret.len()).any(|window| window == secret)
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        if !self.gone {
            self.end();
        }
        // SAFETY: allocated with this layout, and nothing points here any more.
        unsafe { dealloc(self.place.cast(), Layout::new::<T>()) };
    }
}

/// Asserts that a value holds the secret until it is dropped, and not a moment longer.
fn wiped_on_drop<T>(value: T, secret: &[u8]) {
    let mut watched = Watched::new(value);
    assert!(watched.holds(secret), "{}: the secret is not there to begin with", std::any::type_name::<T>());
    watched.end();
    assert!(!watched.holds(secret), "{}: the secret outlives it", std::any::type_name::<T>());
}

fn secret() -> Secret {
    Secret::from_bytes(SECRET)
}

fn far() -> UnixTime {
    UnixTime::from_secs(WALL.as_secs() + 1_000)
}

#[test]
fn owners_of_secrets_wipe_them() {
    // The check can fail: bytes that nobody wipes stay.
    let mut plain = Watched::new(SECRET);
    plain.end();
    assert!(plain.holds(&SECRET));

    wiped_on_drop(secret(), &SECRET);
    wiped_on_drop(Authority::<RustCrypto>::from_seed(secret()), &SECRET);
    let authority = Authority::<RustCrypto>::from_seed(Secret::from_bytes([7; 32]));
    let identity = Identity::issue::<RustCrypto>(secret(), &authority, WALL, far()).expect("a period");
    wiped_on_drop(identity, &SECRET);
    wiped_on_drop(adit::address::secret_text(&secret()), adit::address::secret_text(&secret()).as_str().as_bytes());
}

/// The handshakes keep the ephemeral secret that they were given, and wipe it.
#[test]
fn handshakes_wipe_their_ephemeral_secret() {
    // To each its own: where a value has bytes that it does not use, those of the stack stand that it was made on, with what the one before
    // left there when it was moved.
    let [a, b, c, d] = [1, 2, 3, 4].map(|owner| SECRET.map(|byte| byte ^ owner));
    let (client, server) = configs(&PairConfig::default());
    let Security::Noise(noise) = &client.security else { panic!("sealed by default") };
    wiped_on_drop(x25519::Initiator::<RustCrypto>::new(noise, a), &a);
    let Security::Noise(NoiseServer { identity, policy }) = &server.security else { panic!("sealed by default") };
    wiped_on_drop(x25519::Responder::<RustCrypto>::new(identity, policy, b), &b);
    wiped_on_drop(Connection::<Initiator, Mining>::initiator(&client, c, Instant::ORIGIN), &c);
    wiped_on_drop(Connection::<Responder, Mining>::responder(&server, d, Instant::ORIGIN), &d);
}

/// Both ends of an open connection hold the same two keys and little else in common: what stands in both is secret, and is gone from an end as
/// soon as that is closed or failed, while the value itself lives on.
#[test]
fn keys_leave_memory_when_the_connection_ends() {
    for fails in [false, true] {
        let (client, server) = configs(&PairConfig::default());
        let mut client = Watched::new(Connection::<Initiator, Mining>::initiator(&client, [1; 32], Instant::ORIGIN));
        let mut server = Watched::new(Connection::<Responder, Mining>::responder(&server, [2; 32], Instant::ORIGIN));
        let mut to_client = (Input::new([0; 2_048]), Output::new([0; 2_048]));
        let mut to_server = (Input::new([0; 2_048]), Output::new([0; 2_048]));
        let mut secured = 0;
        for _ in 0..4 {
            let (near, far) = (&mut to_client, &mut to_server);
            secured += usize::from(matches!(
                client.get().advance(Instant::ORIGIN, WALL, &mut near.0, &mut near.1),
                Ok(Progress::Event(_))
            ));
            pass(&mut near.1, &mut far.0);
            secured += usize::from(matches!(
                server.get().advance(Instant::ORIGIN, WALL, &mut far.0, &mut far.1),
                Ok(Progress::Event(_))
            ));
            pass(&mut far.1, &mut near.0);
        }
        assert_eq!(secured, 2);
        let keys = common_keys(&client.bytes(), &server.bytes());
        assert!(keys.len() >= 2, "both directions have a key");
        if fails {
            let (input, output) = (&mut to_client.0, &mut to_client.1);
            input.space()[..34].copy_from_slice(&[&[32, 0][..], &[0; 32]].concat());
            input.commit(34).expect("there is space");
            assert!(client.get().advance(Instant::ORIGIN, WALL, input, output).is_err());
        } else {
            client.get().close();
        }
        for key in &keys {
            assert!(!shows(&format!("{:?}", server.get()), key));
            assert!(!client.holds(key), "a key stays after the end, fails: {fails}");
            assert!(server.holds(key), "the other end lives");
        }
    }
}

fn pass(from: &mut Output<[u8; 2_048]>, to: &mut Input<[u8; 2_048]>) {
    let bytes = from.filled().to_vec();
    to.space()[..bytes.len()].copy_from_slice(&bytes);
    to.commit(bytes.len()).expect("there is space");
    from.consume(bytes.len()).expect("what is filled");
}

/// Runs of 32 bytes that stand in both and look random.
fn common_keys(a: &[u8], b: &[u8]) -> Vec<Vec<u8>> {
    let random = |window: &&[u8]| {
        let mut different = window.to_vec();
        different.sort_unstable();
        different.dedup();
        different.len() > 20
    };
    let there: std::collections::BTreeSet<&[u8]> = b.windows(32).collect();
    a.windows(32).filter(random).filter(|window| there.contains(window)).map(<[u8]>::to_vec).collect()
}

/// Whether a print shows the beginning of a secret: as text, in hexadecimal or as a list of bytes.
fn shows(print: &str, secret: &[u8]) -> bool {
    let bytes = |form: fn(&u8) -> String| secret[..4].iter().map(form).collect::<Vec<_>>();
    let hexadecimal = bytes(|byte| format!("{byte:02x}"));
    let forms = [bytes(u8::to_string).join(", "), hexadecimal.concat(), hexadecimal.join(", 0x")];
    let text = String::from_utf8_lossy(&secret[..4]).into_owned();
    forms.iter().any(|form| print.to_lowercase().contains(form)) || print.contains(&text)
}

/// What holds secrets may be part of what its owner prints, and shows nothing of them.
#[test]
fn nothing_prints_a_secret() {
    for print in [format!("{SECRET:?}"), format!("{SECRET:#04x?}").replace("\n    ", " "), hex::encode(SECRET)] {
        assert!(shows(&print, &SECRET), "the check can fail: {print}");
    }
    let authority = Authority::<RustCrypto>::from_seed(secret());
    let public = authority.public_key();
    assert_eq!(format!("{authority:?}"), format!("Authority {{ public: {public:?}, .. }}"));
    let identity = Identity::issue::<RustCrypto>(secret(), &authority, WALL, far()).expect("a period");
    let (client, _) = configs(&PairConfig::default());
    let Security::Noise(initiator) = &client.security else { panic!("sealed by default") };
    let noise = NoiseServer { identity: identity.clone(), policy: x25519::Policy::default() };
    let responder = ResponderConfig::new(Security::Noise(noise.clone()), SetupPolicy::new(0));
    let connection = Connection::<Responder, Mining>::responder(&responder, SECRET, Instant::ORIGIN);
    let key = adit::address::secret_text(&secret());
    assert_eq!(format!("{key:?}"), "KeyText(..)");
    for print in [
        format!("{:?}", secret()),
        format!("{identity:?}"),
        format!("{noise:?}"),
        format!("{responder:?}"),
        format!("{connection:?}"),
        format!("{:?}", x25519::Initiator::<RustCrypto>::new(initiator, SECRET)),
        format!("{:?}", x25519::Responder::<RustCrypto>::new(&identity, &noise.policy, SECRET)),
        format!("{:?}", HmacKey::new(&SECRET)),
        format!("{:?}", BothCiphers::new(Cipher::ChaChaPoly, &SECRET)),
        format!("{:?}", BothCiphers::new(Cipher::AesGcm, &SECRET)),
        format!("{:?}", ChaChaPolyOnly::new(Cipher::ChaChaPoly, &SECRET)),
    ] {
        assert!(!shows(&print, &SECRET), "{print}");
    }
}
