//! A template provider: many template clients by id, one book of templates that the owner fills.
//!
//! The owner has the node: it makes templates and tips, keeps their transactions, and broadcasts found blocks. Order of calls: see
//! [`Provider`].

use core::fmt;

use super::connections::{ConnectionId, Connections};
use crate::config::{TEMPLATE_CLIENTS_HEAP, TEMPLATE_CLIENTS_INLINE};
use crate::error::Error;
use crate::message::template::ToServer;
use crate::storage::{NoRoom, Storage};
use crate::template::book::{Basis, BookError, Known};
use crate::template::coinbase::TemplateCoinbase;
use crate::template::server::{HandleError, Request, ToTemplateClient};
use crate::template::{Constraints, TemplateBook, TemplateServer, Tip};
use crate::time::Instant;
use crate::wire::{B016M, Revision, U256};

/// An id that names no connection (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownConnection;

impl fmt::Display for UnknownConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such connection (any more)")
    }
}

impl core::error::Error for UnknownConnection {}

/// Why a client's message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderError {
    /// The id names no connection.
    UnknownConnection,
    /// The client broke a rule, or its answer could not be sent.
    Handle(HandleError),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownConnection => UnknownConnection.fmt(f),
            Self::Handle(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ProviderError {}

/// A template as the owner hands it in. Transactions stay with the owner, under the id that it gets.
#[derive(Clone, Copy, Debug)]
pub struct NewTemplate<'a> {
    /// On the tip, or on a block to come.
    pub basis: Basis,
    /// The header's version.
    pub version: u32,
    /// What it says about its coinbase.
    pub coinbase: TemplateCoinbase<'a>,
    /// Hashes beside the coinbase's way to the root, deepest first: see [`MerklePath`](crate::template::merkle_path::MerklePath).
    pub merkle_path: &'a [U256],
    /// What it leaves for the client's part of the coinbase (D-TDP-6).
    pub room: Constraints,
}

/// Many template clients.
///
/// - [`connect`](Self::connect) when a client finished its setup, [`disconnect`](Self::disconnect) when it is gone;
/// - [`handle`](Self::handle) each message and do what the [`Request`] asks;
/// - [`new_template`](Self::new_template) and [`new_tip`](Self::new_tip) when the node has news;
/// - after any of these: [`poll_dirty`](Self::poll_dirty) until it is empty, and [`poll_outbound`](Self::poll_outbound) for each id; after
///   `Full` again when its buffer was drained;
/// - look at [`wanted`](Self::wanted): a client may need a template with more room than there is.
///
/// There are no deadlines here.
pub struct Provider<S: Storage> {
    clients: Connections<TemplateServer, S, TEMPLATE_CLIENTS_INLINE, TEMPLATE_CLIENTS_HEAP>,
    book: TemplateBook<S>,
    /// What all present clients together want.
    wanted: Constraints,
    starved: bool,
}

impl<S: Storage> fmt::Debug for Provider<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("clients", &self.clients.len())
            .field("tip", &self.book.tip())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Default for Provider<S> {
    fn default() -> Self {
        Self::starting_at(1)
    }
}

impl<S: Storage> Provider<S> {
    /// A provider without clients whose first template gets `first_id`: see [`TemplateBook::starting_at`].
    #[must_use]
    pub fn starting_at(first_id: u64) -> Self {
        Self {
            clients: Connections::default(),
            book: TemplateBook::starting_at(first_id),
            wanted: Constraints::default(),
            starved: false,
        }
    }

    /// A client finished its setup.
    pub fn connect(&mut self, revision: Revision) -> Result<ConnectionId, NoRoom> {
        self.clients.insert(|_| TemplateServer::new(revision))
    }

    /// The client is gone. Its id names nothing from now on, and the room that it alone wanted is free: look at [`constraints`](Self::constraints)
    /// and [`wanted`](Self::wanted) again.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(client) = self.clients.remove(id) {
            self.release(client.constraints());
        }
    }

    /// A client does not want this any more. Walks all clients only when the wish was the largest, or someone waits for a template.
    fn release(&mut self, wish: Option<Constraints>) {
        let Some(wish) = wish else { return };
        let Constraints { max_additional_size, max_additional_sigops } = self.wanted;
        if wish.max_additional_size >= max_additional_size || wish.max_additional_sigops >= max_additional_sigops {
            let wishes = self.clients.iter().filter_map(|(_, client)| client.constraints());
            self.wanted = wishes.fold(Constraints::default(), Constraints::join);
        }
        if self.starved {
            self.starved = self.clients.iter().any(|(_, client)| client.is_starved(&self.book));
        }
    }

    /// Number of clients.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.clients.len()
    }

    /// Takes a message of a client. What the owner has to do comes back as a value; a solution borrows from the message. On
    /// [`HandleError::Rule`] close the connection.
    pub fn handle<'m>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: ToServer<'m>,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<Option<Request<'m>>, ProviderError> {
        let client = self.clients.get_mut(id).ok_or(ProviderError::UnknownConnection)?;
        let before = client.constraints();
        let request = client.handle(now, message, &self.book, out).map_err(ProviderError::Handle)?;
        if let Some(Request::Constraints(constraints)) = request {
            self.starved |= client.is_starved(&self.book);
            self.wanted = self.wanted.join(constraints);
            self.release(before.filter(|before| !constraints.covers(*before)));
            self.clients.mark_dirty(id);
        }
        Ok(request)
    }

    /// A new template; gives its id, under which the owner keeps its transactions. All clients that it suits will be told.
    pub fn new_template(&mut self, template: &NewTemplate<'_>) -> Result<u64, BookError> {
        let NewTemplate { basis, version, coinbase, merkle_path, room } = template;
        let id = self.book.add(*basis, *version, coinbase, merkle_path, *room)?;
        if self.book.tip().is_some() {
            self.clients.mark_all_dirty();
        }
        self.starved &= !room.covers(self.wanted);
        Ok(id)
    }

    /// A new best block: all clients will be told to go on with `template_id`, a template that was added with [`Basis::Next`]
    /// (D-TDP-10, D-TDP-11).
    ///
    /// `now` is what the times of solutions are judged by (D-TDP-20). The owner may drop the transactions of templates for which [`template`](Self::template) finds nothing now.
    pub fn new_tip(&mut self, now: Instant, template_id: u64, tip: Tip) -> Result<(), BookError> {
        self.book.set_tip(now, template_id, tip)?;
        self.clients.mark_all_dirty();
        Ok(())
    }

    /// What is enough for every present client: new templates should leave that much room (D-TDP-5, D-TDP-6).
    #[must_use]
    pub const fn constraints(&self) -> Constraints {
        self.wanted
    }

    /// What a new template must leave room for, when a client waits for one; none when all are served. Stays until such a template is added or
    /// the client leaves. Leave more than that, in steps: a new template goes to all clients, and one of them may wish for a byte more in each message.
    #[must_use]
    pub fn wanted(&self) -> Option<Constraints> {
        self.starved.then_some(self.wanted)
    }

    /// A template that is still known, and how it stands.
    #[must_use]
    pub fn template(&self, id: u64) -> Option<Known<'_, S>> {
        self.book.get(id)
    }

    /// The present tip.
    #[must_use]
    pub const fn tip(&self) -> Option<&Tip> {
        self.book.tip()
    }

    /// The next client with something to be sent. Follow it with [`poll_outbound`](Self::poll_outbound).
    pub fn poll_dirty(&mut self) -> Option<ConnectionId> {
        self.clients.pop_dirty()
    }

    /// Sends a client what it has yet to be told. After [`Error::Full`] call again when its buffer was drained; a client that is gone has nothing.
    pub fn poll_outbound(&mut self, id: ConnectionId, out: &mut ToTemplateClient<'_>) -> Result<(), Error> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        client.poll_outbound(&self.book, out)?;
        self.starved |= client.is_starved(&self.book);
        Ok(())
    }

    /// Answers [`Request::Transactions`]: see [`TemplateServer::send_transactions`].
    pub fn send_transactions(
        &self,
        id: ConnectionId,
        template_id: u64,
        excess_data: &[u8],
        transactions: &[B016M<'_>],
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        let Some(client) = self.clients.get(id) else { return Ok(()) };
        client.send_transactions(template_id, excess_data, transactions, out)
    }

    /// Answers [`Request::Transactions`] with an error: see [`TemplateServer::refuse_transactions`].
    pub fn refuse_transactions(
        &self,
        id: ConnectionId,
        template_id: u64,
        error_code: &str,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        let Some(client) = self.clients.get(id) else { return Ok(()) };
        client.refuse_transactions(template_id, error_code, out)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::message::template::{CoinbaseOutputConstraints, RequestTransactionData};
    use crate::protocol::Initiator;
    use crate::storage::Inline;
    use crate::template::server::ClientViolation;
    use crate::template::testing::{ROOM, Wire, fields, tip};

    fn constraints(size: u32) -> ToServer<'static> {
        ToServer::CoinbaseOutputConstraints(CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: size,
            coinbase_output_max_additional_sigops: 0.into(),
        })
    }

    fn template(basis: Basis, room: u32) -> NewTemplate<'static> {
        let room = Constraints { max_additional_size: room, ..ROOM };
        NewTemplate { basis, version: 0x2000_0000, coinbase: fields(&[1, 7]), merkle_path: &[], room }
    }

    struct House {
        provider: Provider<Inline>,
        wire: Wire,
        now: Instant,
    }

    impl House {
        fn new() -> Self {
            Self { provider: Provider::default(), wire: Wire::new(4000, Revision::Draft), now: Instant::ORIGIN }
        }

        fn with_tip() -> Self {
            let mut house = Self::new();
            house.next_tip(1);
            house
        }

        fn next_tip(&mut self, n: u8) -> u64 {
            let id = self.provider.new_template(&template(Basis::Next, 100)).expect("taken");
            self.provider.new_tip(self.now, id, tip(n)).expect("future");
            id
        }

        fn handle(
            &mut self,
            id: ConnectionId,
            message: ToServer<'static>,
        ) -> Result<Option<Request<'static>>, ProviderError> {
            self.provider.handle(self.now, id, message, &mut self.wire.out())
        }

        /// Serves all dirty clients: who, and the messages that went to them.
        fn serve(&mut self) -> Vec<(ConnectionId, Vec<&'static str>)> {
            let mut served = Vec::new();
            while let Some(id) = self.provider.poll_dirty() {
                self.provider.poll_outbound(id, &mut self.wire.out()).expect("room");
                served.push((id, self.wire.names::<Initiator>()));
            }
            served
        }
    }

    /// D-TDP-2, D-TDP-3, D-TDP-10: every client hears of every template and tip, one that announced nothing of none.
    #[test]
    fn news_reach_all_clients_that_announced_their_constraints() {
        let mut house = House::with_tip();
        let ids: Vec<_> = (0..3).map(|_| house.provider.connect(Revision::Draft).expect("room")).collect();
        house.handle(ids[0], constraints(10)).expect("first");
        house.handle(ids[1], constraints(20)).expect("first");
        let both = vec!["NewTemplate", "SetNewPrevHash"];
        assert_eq!(house.serve(), [(ids[0], both.clone()), (ids[1], both.clone())]);
        assert_eq!(house.serve(), []);
        house.next_tip(2);
        assert_eq!(house.serve(), [(ids[0], both.clone()), (ids[1], both.clone()), (ids[2], vec![])]);
        house.provider.new_template(&template(Basis::Tip, 100)).expect("taken");
        house.provider.disconnect(ids[0]);
        assert_eq!(house.serve(), [(ids[1], vec!["NewTemplate"]), (ids[2], vec![])]);
        assert_eq!(house.provider.connections(), 2);
    }

    #[test]
    fn clients_wait_for_the_first_tip() {
        let mut house = House::new();
        let id = house.provider.connect(Revision::Draft).expect("room");
        house.handle(id, constraints(10)).expect("first");
        assert_eq!(house.serve(), [(id, vec![])]);
        let wanted = Constraints { max_additional_size: 10, max_additional_sigops: 0 };
        assert_eq!(house.provider.wanted(), Some(wanted));
        house.next_tip(1);
        assert_eq!(house.provider.wanted(), None);
        assert_eq!(house.serve(), [(id, vec!["NewTemplate", "SetNewPrevHash"])]);
    }

    /// D-TDP-5, D-TDP-6: the owner hears what a template must leave room for.
    #[test]
    fn a_client_that_needs_more_room_is_announced_until_it_is_served() {
        let mut house = House::with_tip();
        let id = house.provider.connect(Revision::Draft).expect("room");
        house.handle(id, constraints(500)).expect("first");
        assert_eq!(house.serve(), [(id, vec![])]);
        assert_eq!(house.provider.wanted().map(|wanted| wanted.max_additional_size), Some(500));
        house.provider.new_template(&template(Basis::Tip, 400)).expect("taken");
        assert!(house.provider.wanted().is_some());
        house.provider.new_template(&template(Basis::Tip, 500)).expect("taken");
        assert_eq!(house.serve(), [(id, vec!["NewTemplate", "SetNewPrevHash"])]);
        assert_eq!(house.provider.wanted(), None);
        assert_eq!(house.provider.constraints().max_additional_size, 500);
    }

    /// D-TDP-5, D-TDP-6: room is kept for those who are there, and given back when they leave or want less.
    #[test]
    fn room_is_kept_for_present_clients_only() {
        let mut house = House::with_tip();
        let [large, middle, small] = [(); 3].map(|()| house.provider.connect(Revision::Draft).expect("room"));
        let wanted = |house: &House| {
            (
                house.provider.constraints().max_additional_size,
                house.provider.wanted().map(|wanted| wanted.max_additional_size),
            )
        };
        for (id, size) in [(large, 900), (middle, 500), (small, 10)] {
            house.handle(id, constraints(size)).expect("taken");
            house.serve();
        }
        assert_eq!(wanted(&house), (900, Some(900)));
        house.provider.disconnect(large);
        assert_eq!(wanted(&house), (500, Some(500)), "the second largest waits still");
        house.provider.disconnect(large);
        house.handle(middle, constraints(60)).expect("taken");
        assert_eq!(wanted(&house), (60, None), "what is there is enough for it now");
        house.handle(middle, constraints(70)).expect("taken");
        assert_eq!(wanted(&house), (70, None));
        house.provider.disconnect(small);
        assert_eq!(wanted(&house), (70, None), "it was not the largest");
        house.provider.disconnect(middle);
        assert_eq!(wanted(&house), (0, None));
    }

    /// D-TDP-5, D-TDP-6: who comes back finds the template that was made for it, and would be left with that one.
    #[test]
    fn a_client_that_newer_templates_have_no_room_for_waits_for_one_that_has() {
        let mut house = House::with_tip();
        let news = |house: &mut House, room| house.provider.new_template(&template(Basis::Tip, room)).expect("taken");
        let first = house.provider.connect(Revision::Draft).expect("room");
        house.handle(first, constraints(900)).expect("taken");
        house.serve();
        news(&mut house, 900);
        house.serve();
        house.provider.disconnect(first);
        let again = house.provider.connect(Revision::Draft).expect("room");
        house.handle(again, constraints(900)).expect("taken");
        assert_eq!(house.serve(), [(again, vec!["NewTemplate", "SetNewPrevHash"])]);
        assert_eq!(house.provider.wanted(), None);
        news(&mut house, 100);
        assert_eq!(house.serve(), [(again, vec![])]);
        assert_eq!(house.provider.wanted().map(|wanted| wanted.max_additional_size), Some(900));
        news(&mut house, 900);
        assert_eq!((house.provider.wanted(), house.serve()), (None, vec![(again, vec!["NewTemplate"])]));
    }

    /// D-TDP-5: what nobody can use is not asked of the owner, or no one who needs more room later would ever be served.
    #[test]
    fn an_impossible_wish_is_refused_and_costs_the_others_nothing() {
        let mut house = House::with_tip();
        let [greedy, good] = [(); 2].map(|()| house.provider.connect(Revision::Draft).expect("room"));
        let largest = Constraints::LARGEST.max_additional_size;
        for size in [largest + 1, 1_000_000, u32::MAX] {
            let outcome = house.handle(greedy, constraints(size));
            assert_eq!(outcome, Err(ProviderError::Handle(HandleError::Rule(ClientViolation::TooMuchRoom))));
            assert_eq!((house.provider.wanted(), house.provider.constraints()), (None, Constraints::default()));
        }
        house.handle(good, constraints(largest)).expect("can be used");
        assert_eq!(house.provider.wanted().map(|wanted| wanted.max_additional_size), Some(largest));
    }

    /// D-TDP-1
    #[test]
    fn faults_of_one_client_are_its_own() {
        let mut house = House::with_tip();
        let [bad, good] = [(); 2].map(|()| house.provider.connect(Revision::Draft).expect("room"));
        let early = ToServer::RequestTransactionData(RequestTransactionData { template_id: 1 });
        assert!(matches!(house.handle(bad, early), Err(ProviderError::Handle(HandleError::Rule(_)))));
        house.provider.disconnect(bad);
        assert_eq!(house.handle(bad, early), Err(ProviderError::UnknownConnection));
        house.handle(good, constraints(1)).expect("first");
        house.serve();
        assert_eq!(house.handle(good, early), Ok(Some(Request::Transactions(1))));
        house.provider.send_transactions(good, 1, &[], &[], &mut house.wire.out()).expect("room");
        house.provider.refuse_transactions(bad, 1, "gone", &mut house.wire.out()).expect("nothing to do");
        assert_eq!(house.wire.names::<Initiator>(), ["RequestTransactionData.Success"]);
    }
}
