//! A way between two programs that can be cut and mended while both go on.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Carries connections to a port of this machine. Its threads end with the test's process.
pub(crate) struct Wire {
    pub(crate) port: u16,
    /// The streams under way; none while it is cut.
    streams: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Wire {
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire =
            Self { port: listener.local_addr().unwrap().port(), streams: Arc::new(Mutex::new(Some(Vec::new()))) };
        let streams = Arc::clone(&wire.streams);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                // Cut, or nobody is there: the stream is closed at once.
                let Some(streams) = &mut *streams else { continue };
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _broken = io::copy(&mut from, &mut to);
                        let _gone = to.shutdown(Shutdown::Write);
                    });
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

    pub(crate) fn mend(&self) {
        *self.streams.lock().unwrap() = Some(Vec::new());
    }
}
