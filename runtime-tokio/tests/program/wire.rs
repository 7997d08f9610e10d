//! A way between two programs that can be cut and mended while both go on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// Carries connections to a port of this machine. Its threads end with the test's process.
pub(crate) struct Wire {
    pub(crate) port: u16,
    /// The streams under way; none while it is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
    /// What is sent gets lost.
    lossy: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            streams: Arc::new(Mutex::new(Some(Vec::new()))),
            lossy: Arc::default(),
        };
        let (streams, lossy) = (Arc::clone(&wire.streams), Arc::clone(&wire.lossy));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                // Cut, or nobody is there: the stream is closed at once.
                let Some(streams) = &mut *streams else { continue };
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let lossy = Arc::clone(&lossy);
                    thread::spawn(move || carry(from, to, &lossy));
                }
                streams.extend([near, far]);
            }
        });
        wire
    }

    /// Breaks all connections, and every one that comes.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().unwrap().take().into_iter().flatten() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing arrives, and nobody is told.
    pub(crate) fn lose(&self) {
        self.lossy.store(true, SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.lossy.store(false, SeqCst);
        *self.streams.lock().unwrap() = Some(Vec::new());
    }
}

/// Carries bytes one way until the sender ends.
fn carry(mut from: TcpStream, mut to: TcpStream, lossy: &AtomicBool) {
    let mut bytes = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !lossy.load(SeqCst) && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    if !lossy.load(SeqCst) {
        let _gone = to.shutdown(Shutdown::Write);
    }
}
