//! How many solutions wait for their verdicts, and whose: so that nobody's keep those of others from being heard.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{config::SOLUTIONS_HEAP, gate::Network, host::wake::Signal, role::ConnectionId};

/// Solutions of one connection that wait for their verdicts at most: as many as a pool holds. Where blocks cost work nobody finds so many on one tip;
/// where they cost none, on a test network, a client can make as many as it likes.
pub const PLACES: usize = SOLUTIONS_HEAP;

/// Solutions of all clients that wait at most, but for one more that each connection may have in its hands. One address (an IPv6 address counts as its
/// /64 network) has half of them at most, however often it comes again. When half are taken an address that wants more may have four, in the last quarter
/// one. So it takes 80 addresses more to keep another client's first block from being heard.
pub const PLACES_OF_ALL: usize = 4 * PLACES;

/// The places of a provider.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    taken: usize,
    /// Those of connections that have some, by the ids' serial numbers. Trees, because strangers choose the keys of one and there is no entropy here for a hasher.
    connections: BTreeMap<u64, usize>,
    /// Those of addresses that have some, also of connections that are gone.
    addresses: BTreeMap<Network, Address>,
    /// Who reads nothing before there is a place, by serial number.
    held_back: BTreeMap<u64, (Network, Arc<Signal>)>,
}

#[derive(Debug, Default)]
struct Address {
    taken: usize,
    /// That it is held back was said.
    told: bool,
}

/// A solution's place among those that wait for their verdicts. Dropping it makes room for the next one.
#[derive(Debug)]
#[must_use = "a place is given back when it is dropped"]
pub struct Place {
    places: Arc<Places>,
    connection: u64,
    network: Network,
}

impl Book {
    fn may_take(&self, connection: u64, network: Network) -> bool {
        let of_connection = self.connections.get(&connection).copied().unwrap_or_default();
        let of_address = self.addresses.get(&network).map_or(0, |address| address.taken);
        let share = match PLACES_OF_ALL.saturating_sub(self.taken) {
            0 => 0,
            free if free > PLACES_OF_ALL / 2 => PLACES_OF_ALL / 2,
            free if free > PLACES_OF_ALL / 4 => 4,
            _ => 1,
        };
        of_connection < PLACES && of_address < share
    }
}

impl Places {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing in it is half done when something panics: it only counts.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client is to be read; if not, its signal comes when that may have changed.
    pub(super) fn may_take(&self, id: ConnectionId, peer: IpAddr, signal: &Arc<Signal>) -> bool {
        let (serial, network) = (id.serial(), peer.into());
        let mut book = self.book();
        let may_take = book.may_take(serial, network);
        if may_take {
            book.held_back.remove(&serial);
        } else {
            book.held_back.entry(serial).or_insert_with(|| (network, Arc::clone(signal)));
        }
        may_take
    }

    /// One more, whether or not there is one: what was read is handed on.
    pub(super) fn take(self: &Arc<Self>, id: ConnectionId, peer: IpAddr) -> Place {
        let (connection, network) = (id.serial(), peer.into());
        let mut book = self.book();
        book.taken += 1;
        *book.connections.entry(connection).or_default() += 1;
        book.addresses.entry(network).or_default().taken += 1;
        drop(book);
        Place { places: Arc::clone(self), connection, network }
    }

    /// Whether it is to be said that an address is held back: once, until nothing of it waits.
    pub(super) fn is_first_time(&self, peer: IpAddr) -> bool {
        let mut book = self.book();
        let address = book.addresses.get_mut(&peer.into());
        address.is_some_and(|address| !core::mem::replace(&mut address.told, true))
    }

    /// The connection is gone. What it found still waits.
    pub(super) fn forget(&self, id: ConnectionId) {
        self.book().held_back.remove(&id.serial());
    }

    fn give_back(&self, connection: u64, network: Network) {
        let mut book = self.book();
        book.taken = book.taken.saturating_sub(1);
        if let Some(taken) = book.connections.get_mut(&connection) {
            *taken -= 1;
            if *taken == 0 {
                book.connections.remove(&connection);
            }
        }
        if let Some(address) = book.addresses.get_mut(&network) {
            address.taken -= 1;
            if address.taken == 0 {
                book.addresses.remove(&network);
            }
        }
        let mut held_back = core::mem::take(&mut book.held_back);
        let mut woken = Vec::new();
        held_back.retain(|serial, (network, signal)| {
            let may_take = book.may_take(*serial, *network);
            if may_take {
                woken.push(Arc::clone(signal));
            }
            !may_take
        });
        book.held_back = held_back;
        drop(book);
        // Not under the lock: what a waker does is its own.
        for signal in woken {
            signal.wake();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.connection, self.network);
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::{role::connections::Connections, storage::Heap};

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    /// The ids of so many connections.
    fn ids(count: usize) -> Vec<ConnectionId> {
        let mut connections = Connections::<(), Heap, 1, 4_096>::default();
        (0..count).map(|_| connections.insert(|_| ()).unwrap()).collect()
    }

    /// Whoever comes again and again from however few addresses leaves places to the others, each of whom has fewer the more there are.
    #[test]
    fn no_few_addresses_take_all_places() {
        let (places, signal) = (Arc::<Places>::default(), Arc::<Signal>::default());
        let ids = ids(2_000);
        let mut ids = ids.into_iter();
        let mut taken = Vec::new();
        // Each connection of an address takes as many as it may and goes.
        let mut flood = |n: u32, taken: &mut Vec<Place>| {
            let before = taken.len();
            for _ in 0..5 {
                let id = ids.next().unwrap();
                let of_connection = taken.len();
                while places.may_take(id, address(n), &signal) {
                    taken.push(places.take(id, address(n)));
                }
                assert!(taken.len() - of_connection <= PLACES);
                places.forget(id);
            }
            taken.len() - before
        };
        assert_eq!(flood(0, &mut taken), 128);
        let others: Vec<_> = (1..=82).map(|n| flood(n, &mut taken)).collect();
        assert_eq!((&others[..16], &others[16..80], &others[80..]), (&[4; 16][..], &[1; 64][..], &[0; 2][..]));
        assert_eq!(taken.len(), PLACES_OF_ALL);
        taken.clear();
        let book = places.book();
        assert_eq!((book.taken, book.connections.len(), book.addresses.len(), book.held_back.len()), (0, 0, 0, 0));
    }

    /// D-TDP-18: who is held back hears of the place that comes free for it, whoever's it was; who has left hears nothing.
    #[test]
    fn who_is_held_back_hears_of_the_next_place() {
        let places = Arc::<Places>::default();
        let ids = ids(4);
        let signals: Vec<_> = ids.iter().map(|_| Arc::<Signal>::default()).collect();
        let may = |n: usize| places.may_take(ids[n], address(if n < 2 { 1 } else { 2 }), &signals[n]);
        let is_woken = |n: usize| block_on(poll_once(signals[n].woken())).is_some();
        let mut first: Vec<_> = (0..PLACES).map(|_| places.take(ids[0], address(1))).collect();
        assert!(!may(0) && may(1), "a connection that fills its places leaves its neighbour's alone");
        let second: Vec<_> = (0..PLACES).map(|_| places.take(ids[1], address(1))).collect();
        let mut third: Vec<_> = (0..4).map(|_| places.take(ids[2], address(2))).collect();
        assert!((0..3).all(|n| !may(n)) && !may(3));
        places.forget(ids[3]);
        first.pop();
        assert!((0..4).all(|n| !is_woken(n)), "an address that has so many adds none to half of all");
        third.pop();
        assert_eq!([0, 1, 2, 3].map(is_woken), [false, false, true, false]);
        assert!(may(2));
        drop(third);
        assert_eq!([0, 1, 2, 3].map(is_woken), [true, false, false, false]);
        drop(second);
        assert_eq!([0, 1, 2, 3].map(is_woken), [false, true, false, false]);
        assert!(places.is_first_time(address(1)) && !places.is_first_time(address(1)));
        drop(first);
        assert!(!places.is_first_time(address(1)), "nothing of it waits");
    }
}
