//! Two stacks of embassy-net joined by a cable in one process: the board's and the pool's.

use std::boxed::Box;
use std::cell::Cell;
use std::rc::Rc;
use std::vec::Vec;

use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Stack, StackResources, StaticConfigV4};
use embassy_net_driver_channel::driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::{self as channel, Device, Runner, State};

use super::time::Tasks;

const MTU: usize = 600;

pub(crate) const BOARD: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
pub(crate) const POOL: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// Both stacks, the cable between them, and a name server on the pool's that knows `pool.test`.
pub(crate) struct Net {
    pub(crate) board: Stack<'static>,
    pub(crate) pool: Stack<'static>,
    /// While this is false frames are lost.
    pub(crate) plugged: Rc<Cell<bool>>,
}

fn end() -> (Runner<'static, MTU>, Device<'static, MTU>) {
    let state: &'static mut State<MTU, 4, 4> = Box::leak(Box::new(State::new()));
    let (mut runner, device) = channel::new(state, HardwareAddress::Ip);
    runner.set_link_state(LinkState::Up);
    (runner, device)
}

fn stack(tasks: &mut Tasks<'_>, device: Device<'static, MTU>, address: Ipv4Address, seed: u64) -> Stack<'static> {
    let config = StaticConfigV4 {
        address: Ipv4Cidr::new(address, 24),
        gateway: None,
        dns_servers: [POOL].into_iter().collect(),
    };
    let resources: &'static mut StackResources<8> = Box::leak(Box::new(StackResources::new()));
    let (stack, mut runner) = embassy_net::new(device, Config::ipv4_static(config), resources, seed);
    tasks.spawn(async move { runner.run().await });
    stack
}

impl Net {
    pub(crate) fn new(tasks: &mut Tasks<'_>) -> Self {
        let (ours, board) = end();
        let (theirs, pool) = end();
        let plugged = Rc::new(Cell::new(true));
        let (_, mut from_board, mut to_board) = {
            let (state, rx, tx) = ours.split();
            (state, tx, rx)
        };
        let (_, mut to_pool, mut from_pool) = theirs.split();
        let cable = Rc::clone(&plugged);
        tasks.spawn(async move {
            loop {
                let frame = from_board.tx_buf().await;
                let copy = Vec::from(&*frame);
                from_board.tx_done();
                if cable.get() {
                    to_pool.rx_buf().await[..copy.len()].copy_from_slice(&copy);
                    to_pool.rx_done(copy.len());
                }
            }
        });
        let cable = Rc::clone(&plugged);
        tasks.spawn(async move {
            loop {
                let frame = from_pool.tx_buf().await;
                let copy = Vec::from(&*frame);
                from_pool.tx_done();
                if cable.get() {
                    to_board.rx_buf().await[..copy.len()].copy_from_slice(&copy);
                    to_board.rx_done(copy.len());
                }
            }
        });
        let board = stack(tasks, board, BOARD, 1);
        let pool = stack(tasks, pool, POOL, 2);
        tasks.spawn(names(pool));
        Self { board, pool, plugged }
    }
}

/// Answers every question of a name that begins with `pool` with the pool's address, and every other with "no such name".
async fn names(stack: Stack<'static>) {
    let (mut rx_meta, mut tx_meta) = ([PacketMetadata::EMPTY; 2], [PacketMetadata::EMPTY; 2]);
    let (mut rx, mut tx) = ([0; 512], [0; 512]);
    let mut socket = UdpSocket::new(stack, &mut rx_meta, &mut rx, &mut tx_meta, &mut tx);
    socket.bind(53).unwrap();
    loop {
        let mut packet = [0; 512];
        let (len, from) = socket.recv_from(&mut packet).await.unwrap();
        let question = &packet[..len];
        let known = question[12..].starts_with(b"\x04pool");
        let mut answer = Vec::from(question);
        // A response, recursion available, and its code.
        (answer[2], answer[3]) = (0x81, if known { 0x80 } else { 0x83 });
        if known {
            answer[7] = 1;
            // The question's name, A, IN, a minute, four bytes.
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(POOL.octets());
        }
        socket.send_to(&answer, from).await.unwrap();
    }
}
