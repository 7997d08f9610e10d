//! Against a scripted node on loopback.

mod resent;
mod submissions;

use std::path::Path;

use adit::time::UnixTime;
use bitcoin::hashes::Hash;
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::block_template::tests::{answer, prev, room, transaction};
use super::script::{Call, Script};
use super::shared::KEPT;
use super::*;
use crate::source::tests::{coinbase_of, solve};
use crate::source::{SolvedBlock, TemplateSource};

/// When the program starts in these tests, and thus its first template's id.
const NOW: u32 = 1_800_000_000;
const FIRST_ID: u64 = 1_800_000_000_000_000;

/// No waits where the test waits for what happens, generous limits where nothing should happen.
fn quick() -> Settings {
    let backoff =
        BackoffConfig { first: Duration::from_millis(2), cap: Duration::from_millis(10), ..BackoffConfig::default() };
    let never = Duration::from_secs(86_400);
    Settings {
        limits: Limits { connect: Duration::from_secs(5), answer: 1 << 16 },
        pace: Pace {
            answer: Duration::from_secs(30),
            look: never,
            look_without_long_poll: never,
            refresh: never,
            least: Duration::ZERO,
            backoff,
        },
        patience: Patience { backoff, then: backoff.cap, ..SETTINGS.patience },
    }
}

fn config(script: &Script, cookie: Option<&Path>) -> NodeConfig {
    let password = cookie.is_none().then(|| "secret".to_owned());
    NodeConfig {
        url: format!("http://{}", script.address),
        cookie_file: cookie.map(Into::into),
        user: password.is_some().then(|| "miner".into()),
        password: password.map(Into::into),
        blocks_directory: None,
    }
}

fn follow(script: &Script, settings: Settings) -> Starting {
    follow_with(&config(script, None), settings)
}

fn follow_with(config: &NodeConfig, settings: Settings) -> Starting {
    Node::follow_with(config, Clock::start_at(UnixTime::from_secs(NOW)), settings).unwrap()
}

/// A source and what it shows.
struct Followed {
    source: TemplateSource,
    node: Node,
    templates: watch::Receiver<Arc<Template>>,
    health: watch::Receiver<Health>,
}

impl Followed {
    /// A node that gave its first template, with room for outputs of 100 bytes, and waits in a long poll.
    async fn start(script: &mut Script, settings: Settings) -> (Self, Arc<Template>, Call) {
        let starting = follow(script, settings);
        script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
        let mut this = Self::ready(starting).await;
        this.source.set_room(room(100));
        let first = this.next().await;
        let poll = script.expect("getblocktemplate").await;
        (this, first, poll)
    }

    async fn ready(mut starting: Starting) -> Self {
        let node = starting.ready().await.unwrap();
        let mut health = node.health();
        health.mark_unchanged();
        Self { source: TemplateSource::Node(node.clone()), templates: node.templates(), health, node }
    }

    async fn next(&mut self) -> Arc<Template> {
        self.templates.changed().await.unwrap();
        self.templates.borrow_and_update().clone()
    }

    async fn problem(&mut self) -> String {
        self.health.changed().await.unwrap();
        match self.health.borrow_and_update().clone() {
            Health::Bad(problem) => problem.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn submit(&self, solution: &Solution) -> JoinHandle<Verdict> {
        let (source, solution) = (self.source.clone(), solution.clone());
        tokio::spawn(async move { source.submit(solution).await })
    }
}

fn solved(template: &Template) -> (Solution, SolvedBlock) {
    solve(template, coinbase_of(template, &[0x51], 9), NOW + 200)
}

/// The text of the problem that a node makes of what `respond` does.
async fn problem_of(settings: Settings, respond: impl FnOnce(Call)) -> String {
    let mut script = Script::start().await;
    let mut starting = follow(&script, settings);
    respond(script.expect("getblocktemplate").await);
    starting.ready().await.unwrap_err().to_string()
}

#[tokio::test]
async fn templates_come_by_long_polling_with_rising_ids() {
    let mut script = Script::start().await;
    let starting = follow(&script, quick());
    let first = script.expect("getblocktemplate").await;
    assert_eq!(first.credentials, "miner:secret");
    assert_eq!(first.params[0]["rules"], json!(["segwit"]));
    assert_eq!(first.long_poll_id(), None);
    let looking = first.connection;
    first.result(&answer(&prev(1), &[]));
    let mut node = Followed::ready(starting).await;
    let template = node.templates.borrow().clone();
    assert_eq!((template.parts.id, template.parts.prev_hash[0]), (FIRST_ID, 1));

    let poll = script.expect("getblocktemplate").await;
    assert_eq!(poll.long_poll_id(), Some(format!("{}0", prev(1)).as_str()));
    assert_ne!(poll.connection, looking);
    let polling = poll.connection;
    // Fresh transactions on the same tip, then a new tip.
    poll.result(&answer(&prev(1), &[transaction(1, true)]));
    let template = node.next().await;
    assert_eq!((template.parts.id, template.parts.prev_hash[0]), (FIRST_ID + 1, 1));
    assert_eq!(template.parts.transactions.len(), 1);
    let poll = script.expect("getblocktemplate").await;
    assert_eq!(poll.long_poll_id(), Some(format!("{}1", prev(1)).as_str()));
    assert_eq!(poll.connection, polling, "the connection is kept");
    poll.result(&answer(&prev(2), &[]));
    let template = node.next().await;
    assert_eq!((template.parts.id, template.parts.prev_hash[0]), (FIRST_ID + 2, 2));
}

/// D-TDP-6
#[tokio::test]
async fn only_what_clients_gain_from_is_shown() {
    let mut script = Script::start().await;
    let (mut node, first, poll) = Followed::start(&mut script, quick()).await;
    assert_eq!((first.parts.id, first.parts.room), (FIRST_ID + 1, room(100)));
    let mut later = answer(&prev(1), &[]);
    later["curtime"] = json!(NOW + 160);
    poll.result(&later);
    // That the next poll is there means that the answer was dealt with.
    let poll = script.expect("getblocktemplate").await;
    assert!(!node.templates.has_changed().unwrap(), "the time alone is no news");
    // More room for a client's outputs is, at once and without asking the node; less waits for the next template, and what no block has is none.
    node.source.set_room(room(200));
    let roomier = node.next().await;
    assert_eq!((roomier.parts.id, roomier.parts.room, roomier.parts.time), (FIRST_ID + 2, room(200), NOW + 160));
    for size in [150, 5_000_000] {
        node.node.0.shared.wish(room(size));
        node.node.0.shared.set_next_room();
    }
    assert!(!node.templates.has_changed().unwrap());
    poll.result(&answer(&prev(2), &[]));
    assert_eq!(node.next().await.parts.room, room(150));
}

/// D-NET-2
#[tokio::test]
async fn a_solution_does_not_wait_for_the_long_poll_and_old_templates_still_make_blocks() {
    let mut script = Script::start().await;
    let (mut node, first, poll) = Followed::start(&mut script, quick()).await;
    poll.result(&answer(&prev(1), &[transaction(1, true)]));
    let second = node.next().await;
    let poll = script.expect("getblocktemplate").await;
    for (template, count, said, verdict) in [
        (&second, 2, Value::Null, Verdict::Accepted as fn(SolvedBlock) -> Verdict),
        (&first, 1, Value::Null, Verdict::Accepted),
        (&first, 1, json!("duplicate"), Verdict::Accepted),
        (&second, 2, json!("inconclusive"), Verdict::NotBest),
        (&second, 2, json!("bad-cb-amount"), |_| Verdict::Rejected("bad-cb-amount".into())),
    ] {
        let (solution, solved) = solved(template);
        let task = node.submit(&solution);
        let call = script.expect("submitblock").await;
        assert_ne!(call.connection, poll.connection);
        let bytes = hex::decode(call.params[0].as_str().unwrap()).unwrap();
        let block: bitcoin::Block = bitcoin::consensus::deserialize(&bytes).unwrap();
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert_eq!((block.txdata.len(), block.block_hash().to_byte_array()), (count, solved.hash));
        call.result(&said);
        assert_eq!(task.await.unwrap(), verdict(solved));
    }
}

#[tokio::test]
async fn templates_of_the_tip_before_are_kept_and_older_ones_are_not() {
    let mut script = Script::start().await;
    let (mut node, first, mut poll) = Followed::start(&mut script, quick()).await;
    for tip in 2..=3 {
        poll.result(&answer(&prev(tip), &[]));
        let _template = node.next().await;
        poll = script.expect("getblocktemplate").await;
        let is_kept = node.node.0.shared.template(first.parts.id).is_some();
        assert_eq!(is_kept, tip == 2, "tip {tip}");
    }
    for number in 0..KEPT as u64 + 10 {
        let mut answer = answer(&prev(3), &[]);
        answer["coinbasevalue"] = json!(number);
        poll.result(&answer);
        let _template = node.next().await;
        poll = script.expect("getblocktemplate").await;
    }
    assert_eq!(node.node.0.shared.kept(), KEPT);
}

/// The node restarts while a long poll and a solution are under way: it has a new cookie, is warming up first, and gets both again.
#[tokio::test]
async fn a_restart_of_the_node_is_survived_with_its_new_cookie() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:one").unwrap();
    let mut script = Script::start().await;
    let starting = follow_with(&config(&script, Some(&cookie)), quick());
    script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    let mut node = Followed::ready(starting).await;
    node.source.set_room(room(100));
    let first = node.next().await;
    let poll = script.expect("getblocktemplate").await;
    assert_eq!(poll.credentials, "__cookie__:one");
    let (solution, block) = solved(&first);
    let submit = node.submit(&solution);
    let _lost = script.expect("submitblock").await;

    let address = script.address;
    drop((poll, script));
    let problem = node.problem().await;
    assert!(problem.contains("ended") || problem.contains("server=1"), "{problem}");
    std::fs::write(&cookie, "__cookie__:two").unwrap();
    let mut script = Script::start_at(address).await;
    let (mut accepted, mut warmed, mut polled) = (false, 0, None);
    while !accepted || polled.is_none() {
        let call = script.call().await;
        match (call.credentials.as_str(), call.method.as_str()) {
            ("__cookie__:one", _) => call.body("401 Unauthorized", "text/html", ""),
            ("__cookie__:two", _) if warmed < 3 => {
                warmed += 1;
                call.error(-28, "Loading block index…");
            }
            ("__cookie__:two", "submitblock") => {
                call.result(&Value::Null);
                accepted = true;
            }
            ("__cookie__:two", "getblocktemplate") if call.long_poll_id().is_none() => {
                call.result(&answer(&prev(2), &[]));
            }
            ("__cookie__:two", "getblocktemplate") => polled = Some(call),
            _ => panic!("{call:?}"),
        }
    }
    assert_eq!(submit.await.unwrap(), Verdict::Accepted(block));
    let template = node.next().await;
    assert_eq!((template.parts.id, template.parts.prev_hash[0]), (FIRST_ID + 2, 2));
    let _good = node.health.wait_for(|health| matches!(health, Health::Good)).await.unwrap();
}

#[tokio::test]
async fn credentials_that_stay_wrong_are_a_problem_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:old").unwrap();
    let mut script = Script::start().await;
    let mut starting = follow_with(&config(&script, Some(&cookie)), quick());
    let refuse = |call: Call| call.body("401 Unauthorized", "text/html", "");
    refuse(script.expect("getblocktemplate").await);
    let problem = starting.ready().await.unwrap_err().to_string();
    assert!(problem.contains("refused user and password") && problem.contains(".cookie"), "{problem}");
    for _ in 0..3 {
        refuse(script.expect("getblocktemplate").await);
    }
    script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    let node = starting.ready().await.expect("the same problem is not told again");
    assert_eq!(node.templates().borrow().parts.id, FIRST_ID);
    assert!(script.expect("getblocktemplate").await.long_poll_id().is_some());
}

#[tokio::test]
async fn nobody_at_the_address_says_so() {
    let script = Script::start().await;
    let config = config(&script, None);
    drop(script);
    let problem = follow_with(&config, quick()).ready().await.unwrap_err().to_string();
    assert!(problem.contains("refused") && problem.contains("server=1"), "{problem}");
}

#[tokio::test]
async fn the_nodes_own_errors_say_what_to_do() {
    for (code, hint) in [(-10, "download"), (-9, "peers"), (-28, "soon"), (-32_601, "mining")] {
        let problem = problem_of(quick(), |call| call.error(code, "so it is")).await;
        assert!(problem.contains("so it is") && problem.contains(hint), "{problem}");
    }
}

#[tokio::test]
async fn answers_that_are_none_are_told_apart() {
    let fixed = |text: &str| text.as_bytes().to_vec();
    let json_head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    for (bytes, hint) in [
        (fixed("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "text/html"),
        (fixed("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "404"),
        (fixed("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "rpcallowip"),
        (
            fixed(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nfull up\r\n",
            ),
            "full up",
        ),
        (fixed(&format!("{json_head}Content-Length: 100\r\n\r\n{{\"result\":")), "ended before"),
        (fixed(&format!("{json_head}\r\n{{\"result\":")), "can't be read"),
        (fixed(&format!("{json_head}Content-Length: 4\r\n\r\nnull")), "can't be read"),
        (fixed(&format!("{json_head}Content-Length: 2\r\n\r\n{{}}")), "no answer to getblocktemplate"),
        (fixed("SSH-2.0-OpenSSH_9.9\r\n"), "something else"),
        (vec![], "ended before"),
        // Too long by its own word, and without one.
        (fixed(&format!("{json_head}Content-Length: 100000\r\n\r\n")), "more than 65536 bytes"),
        (fixed(&format!("{json_head}\r\n{}", " ".repeat(70_000))), "more than 65536 bytes"),
    ] {
        let sent = String::from_utf8_lossy(&bytes).chars().take(100).collect::<String>();
        let problem = problem_of(quick(), |call| call.raw(bytes, true)).await;
        assert!(problem.contains(hint), "{sent:?}: {problem}");
    }
    let foreign = json!({ "result": answer(&prev(1), &[]), "error": null, "id": "another" });
    let problem = problem_of(quick(), |call| call.json("200 OK", &foreign)).await;
    assert!(problem.contains("no answer to getblocktemplate"), "{problem}");
    let empty = |call: Call| call.result(&json!({}));
    assert!(problem_of(quick(), empty).await.contains("missing field"));
    let unusable = |call: Call| {
        let mut answer = answer(&prev(1), &[]);
        answer["rules"] = json!(["!future"]);
        call.result(&answer);
    };
    assert!(problem_of(quick(), unusable).await.contains("rules"));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_opened_anew() {
    let mut script = Script::start().await;
    let (mut node, _, poll) = Followed::start(&mut script, quick()).await;
    let body = |tip| {
        let body = json!({ "result": answer(&prev(tip), &[]), "error": null, "id": poll.id() });
        let text = body.to_string();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    };
    // Answered, and closed without a word.
    let bytes = body(2).into_bytes();
    let connection = poll.connection;
    poll.raw(bytes, true);
    assert_eq!(node.next().await.parts.prev_hash[0], 2);
    let again = script.expect("getblocktemplate").await;
    assert!(again.connection != connection && again.long_poll_id().is_some());
    again.result(&answer(&prev(3), &[]));
    assert_eq!(node.next().await.parts.prev_hash[0], 3);
    assert!(!node.health.has_changed().unwrap(), "no problem in between");
}

/// Time stands still until the call is in the script's hands; from then on it runs to the next timer.
#[tokio::test]
async fn a_node_that_does_not_answer_is_given_up_in_time() {
    let mut script = Script::start().await;
    let mut starting = follow(&script, quick());
    let call = script.expect("getblocktemplate").await;
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let problem = starting.ready().await.unwrap_err().to_string();
    assert!(problem.contains("getblocktemplate within 30 s"), "{problem}");
    assert!(begin.elapsed() < Duration::from_secs(31), "{:?}", begin.elapsed());
    drop(call);
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_in_time() {
    let mut script = Script::start().await;
    let mut starting = follow(&script, quick());
    let call = script.expect("getblocktemplate").await;
    call.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{".to_vec(), false);
    tokio::time::pause();
    let problem = starting.ready().await.unwrap_err().to_string();
    assert!(problem.contains("within 30 s"), "{problem}");
}

#[tokio::test]
async fn a_long_poll_may_take_hours_while_the_node_answers_otherwise() {
    let mut script = Script::start().await;
    let mut settings = quick();
    (settings.pace.look, settings.pace.refresh) = (SETTINGS.pace.look, SETTINGS.pace.refresh);
    // Paused time may run ahead while bytes are on their way.
    settings.pace.answer = Duration::from_secs(86_400);
    let (mut node, _, poll) = Followed::start(&mut script, settings).await;
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    // Looks at the tip, and a template from time to time; the long poll stays.
    let (mut looks, mut templates) = (0, 0);
    while begin.elapsed() < Duration::from_secs(2 * 3_600) {
        let call = script.call().await;
        assert_eq!(call.long_poll_id(), None);
        match call.method.as_str() {
            "getbestblockhash" => {
                looks += 1;
                call.result(&json!(prev(1)));
            }
            "getblocktemplate" => {
                templates += 1;
                call.result(&answer(&prev(1), &[]));
            }
            other => panic!("{other}"),
        }
    }
    assert!(looks >= 4 * templates && templates >= 100, "{looks} {templates}");
    // A look finds a new tip that the long poll did not tell of.
    loop {
        let call = script.call().await;
        if call.method == "getbestblockhash" {
            call.result(&json!(prev(2)));
            break;
        }
        call.result(&answer(&prev(1), &[]));
    }
    script.expect("getblocktemplate").await.result(&answer(&prev(2), &[]));
    assert_eq!(node.next().await.parts.prev_hash[0], 2);
    // The long poll for the old tip is over, another one waits for the next.
    let again = script.expect("getblocktemplate").await;
    assert!(again.long_poll_id().is_some_and(|id| id.starts_with(&prev(2))));
    assert_ne!(again.connection, poll.connection);
}

#[tokio::test]
async fn a_lost_node_is_noticed_during_a_long_poll() {
    let mut script = Script::start().await;
    let mut settings = quick();
    settings.pace.look = SETTINGS.pace.look;
    let (mut node, _, poll) = Followed::start(&mut script, settings).await;
    tokio::time::pause();
    let _silent = script.expect("getbestblockhash").await;
    let problem = node.problem().await;
    assert!(problem.contains("getbestblockhash within 30 s"), "{problem}");
    drop(poll);
}

#[tokio::test]
async fn a_node_without_long_polling_is_asked_often() {
    let mut script = Script::start().await;
    let mut settings = quick();
    settings.pace.look_without_long_poll = Duration::from_millis(1);
    let starting = follow(&script, settings);
    let without = |tip| {
        let mut answer = answer(&prev(tip), &[]);
        answer.as_object_mut().unwrap().remove("longpollid");
        answer
    };
    script.expect("getblocktemplate").await.result(&without(1));
    let mut node = Followed::ready(starting).await;
    script.expect("getbestblockhash").await.result(&json!(prev(1)));
    script.expect("getbestblockhash").await.result(&json!(prev(2)));
    script.expect("getblocktemplate").await.result(&without(2));
    assert_eq!(node.next().await.parts.prev_hash[0], 2);
}

#[tokio::test]
async fn a_node_that_answers_long_polls_at_once_is_not_asked_in_a_loop() {
    let mut script = Script::start().await;
    let settings = Settings { pace: Pace { least: Duration::from_secs(1), ..quick().pace }, ..quick() };
    let (_node, _, poll) = Followed::start(&mut script, settings).await;
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    poll.result(&answer(&prev(1), &[]));
    for _ in 0..10 {
        script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    }
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn following_ends_with_the_node() {
    let mut script = Script::start().await;
    let (node, _, poll) = Followed::start(&mut script, quick()).await;
    let task = node.node.0.task.abort_handle();
    let mut templates = node.templates.clone();
    drop(node);
    assert!(templates.changed().await.is_err());
    while !task.is_finished() {
        yield_now().await;
    }
    drop(poll);
    assert!(script.is_quiet());
}
