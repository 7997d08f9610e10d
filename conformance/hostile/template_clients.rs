//! Hostile template clients, and a hostile template provider.

use adit::message::template::{CoinbaseOutputConstraints, RequestTransactionData, SubmitSolution, ToClient, ToServer};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Responder, TemplateDistribution};
use adit::role::provider::{NewTemplate, Provider};
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::coinbase::TemplateCoinbase;
use adit::template::server::Request;
use adit::template::{Constraints, Tip};
use adit::time::Instant;
use adit::wire::{B064K, Revision};

use crate::costs_nothing_in_the_long_run;
use crate::house::Wire;

const NOW: Instant = Instant::from_secs(1_000);

fn constraints(size: u32) -> ToServer<'static> {
    ToServer::CoinbaseOutputConstraints(CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: size,
        coinbase_output_max_additional_sigops: 0.into(),
    })
}

fn provider() -> Box<Provider<Heap>> {
    let mut provider = Box::new(Provider::<Heap>::default());
    let coinbase = TemplateCoinbase {
        tx_version: 2,
        script_prefix: &[1, 7],
        input_sequence: u32::MAX,
        value_remaining: 5_000,
        outputs_count: 0,
        outputs: &[],
        lock_time: 0,
    };
    let room = Constraints { max_additional_size: 1_000, max_additional_sigops: 100 };
    let template = NewTemplate { basis: Basis::Next, version: 0x2000_0000, coinbase, merkle_path: &[], room };
    let id = provider.new_template(&template).expect("a good template");
    let tip = Tip { prev_hash: [1; 32], header_timestamp: 1_700_000_000, n_bits: 0x1703_a30c, target: Target::ZERO };
    provider.new_tip(NOW, id, tip).expect("a future template");
    provider
}

/// D-TDP-16: questions about templates that there are not, solutions that are none, other constraints each time: answered or reported, never
/// kept; and another client is served as ever.
#[test]
fn a_flood_of_questions_and_false_blocks_costs_nothing() {
    let mut provider = provider();
    let id = provider.connect(Revision::Draft).expect("a place");
    let mut wire = Wire::new(1 << 16);
    let coinbase = vec![0xff; 10_000];
    assert!(provider.handle(NOW, id, constraints(10), &mut wire.out()).is_ok());
    costs_nothing_in_the_long_run(&mut provider, |provider, n| {
        let unknown = ToServer::RequestTransactionData(RequestTransactionData { template_id: u64::from(n) + 100 });
        assert_eq!(provider.handle(NOW, id, unknown, &mut wire.out()), Ok(None));
        for template_id in [1, u64::from(n) + 100] {
            let solution = ToServer::SubmitSolution(SubmitSolution {
                template_id,
                version: n,
                header_timestamp: n,
                header_nonce: n,
                coinbase_tx: B064K::new(&coinbase),
            });
            let request = provider.handle(NOW, id, solution, &mut wire.out());
            assert!(matches!(request, Ok(Some(Request::NoBlock(..)) | None)), "{request:?}");
        }
        let request = provider.handle(NOW, id, constraints(n % 900), &mut wire.out());
        assert!(matches!(request, Ok(Some(Request::Constraints(_)))), "{request:?}");
        while let Some(dirty) = provider.poll_dirty() {
            assert!(provider.poll_outbound(dirty, &mut wire.out()).is_ok());
        }
        let mut errors = 0;
        wire.drain::<Initiator, TemplateDistribution>(|message| {
            errors += u32::from(matches!(message, ToClient::RequestTransactionDataError(_)));
        });
        assert_eq!(errors, 1);
    });
    let honest = provider.connect(Revision::Draft).expect("a place");
    assert!(provider.handle(NOW, honest, constraints(100), &mut wire.out()).is_ok());
    assert!(provider.poll_outbound(honest, &mut wire.out::<Responder, _>()).is_ok());
    let mut names = vec![];
    wire.drain::<Initiator, TemplateDistribution>(|message| {
        names.push(matches!(message, ToClient::NewTemplate(_)));
        names.push(matches!(message, ToClient::SetNewPrevHash(_)));
    });
    assert_eq!(names, [true, false, false, true]);
}

/// Clients that come, announce something and go.
#[test]
fn template_clients_that_come_and_go_leave_nothing() {
    let mut provider = provider();
    let mut wire = Wire::new(1 << 16);
    costs_nothing_in_the_long_run(&mut provider, |provider, n| {
        let id = provider.connect(Revision::Draft).expect("a place");
        if n % 2 == 0 {
            assert!(provider.handle(NOW, id, constraints(n), &mut wire.out()).is_ok());
        }
        provider.disconnect(id);
        while let Some(dirty) = provider.poll_dirty() {
            assert!(provider.poll_outbound(dirty, &mut wire.out()).is_ok());
        }
        wire.drain::<Initiator, TemplateDistribution>(|_| ());
    });
    assert_eq!(provider.connections(), 0);
}
