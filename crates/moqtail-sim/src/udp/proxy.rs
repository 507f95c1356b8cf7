//! A UDP proxy on loopback, whose path can be made bad and good again while programs use it.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread::JoinHandle,
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::{
    io::ReadBuf,
    net::UdpSocket,
    sync::Notify,
    time::{Instant, Sleep},
};

use super::{
    direction::Direction,
    flow::{Flow, bind},
    queue::{Packet, Queue},
    weather::Weather,
};

/// Most clients at once; packets of further ones are lost.
const MAX_FLOWS: usize = 1024;

/// Larger than any UDP packet.
const MAX_PACKET: usize = 1 << 16;

/// Packets taken from one socket before the others have their turn.
const BATCH: usize = 64;

/// What happened to the packets of one direction so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that entered.
    pub packets: u64,
    /// Packets of them that were lost.
    pub lost: u64,
    /// Packets of them that were sent twice.
    pub duplicated: u64,
}

/// A path between any number of clients and one server: clients speak to [`UdpProxy::addr`] as if it were the server, and
/// the server sees each of them at a port of its own.
///
/// Each direction has a [`Weather`], clear at first, that can be changed at any time. What becomes of a packet follows from
/// the seed, its client (counted in order of appearance), its direction and its number there. The proxy has a
/// thread of its own, which ends when the proxy is dropped. Times are as exact as the system's timers, about 1 ms.
#[derive(Debug)]
pub struct UdpProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    weather: [Weather; 2],
    counts: [Counts; 2],
    rebinds: u64,
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UdpProxy {
    /// Opens a path to `server` on the same loopback address and a free port.
    ///
    /// # Errors
    /// The system has no socket or thread to give.
    pub fn start(server: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = bind(SocketAddr::new(server.ip(), 0))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let listener = UdpSocket::from_std(listener.into())?;
        drop(entered);
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                weather: [Weather::CLEAR; 2],
                counts: [Counts::default(); 2],
                rebinds: 0,
                over: false,
            }),
            changed: Notify::new(),
        });
        let path = Path {
            server,
            seed,
            listener,
            flows: Vec::new(),
            queue: Queue::default(),
            shared: shared.clone(),
            rebinds: 0,
            buffer: vec![0; MAX_PACKET],
        };
        let thread = std::thread::Builder::new()
            .name("udp-proxy".to_owned())
            .spawn(move || runtime.block_on(path.run()))?;
        Ok(Self {
            addr,
            shared,
            thread: Some(thread),
        })
    }

    /// Where clients reach the server through this path.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the weather of one direction for packets from now on. What is on its way arrives as decided.
    pub fn set(&self, direction: Direction, weather: Weather) {
        self.shared.lock().weather[direction as usize] = weather;
    }

    /// Changes the weather of both directions.
    pub fn set_both(&self, weather: Weather) {
        self.shared.lock().weather = [weather; 2];
    }

    /// Moves every client to another port towards the server, as a NAT does that lost its table. What the server
    /// sends to the old ones is lost.
    pub fn rebind(&self) {
        self.shared.lock().rebinds += 1;
        self.shared.changed.notify_one();
    }

    /// What happened in this direction so far.
    pub fn counts(&self, direction: Direction) -> Counts {
        self.shared.lock().counts[direction as usize]
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics only where the runtime does, and that was printed.
            let _ = thread.join();
        }
    }
}

/// The proxy's thread.
struct Path {
    server: SocketAddr,
    seed: u64,
    listener: UdpSocket,
    flows: Vec<Flow>,
    queue: Queue,
    shared: Arc<Shared>,
    /// Rebinds that were done.
    rebinds: u64,
    buffer: Vec<u8>,
}

impl Path {
    async fn run(mut self) {
        let shared = self.shared.clone();
        let mut timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        loop {
            let (over, rebinds) = {
                let state = shared.lock();
                (state.over, state.rebinds)
            };
            if over {
                return;
            }
            if self.rebinds != rebinds {
                self.rebinds = rebinds;
                for flow in &mut self.flows {
                    // Without a socket to give, the client stays where it is.
                    let _ = flow.rebind(self.server);
                }
            }
            tokio::select! {
                () = shared.changed.notified() => {}
                () = poll_fn(|cx| self.poll_turn(cx, timer.as_mut())) => {}
            }
        }
    }

    /// Takes what came and sends what is due; ready when it did something.
    fn poll_turn(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        let mut busy = false;
        for _ in 0..BATCH {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match self.listener.poll_recv_from(cx, &mut buffer) {
                Poll::Ready(Ok(client)) => {
                    let bytes = Bytes::copy_from_slice(buffer.filled());
                    busy = true;
                    if let Some(flow) = self.flow_of(client) {
                        self.enter(flow, Direction::ToServer, bytes);
                    }
                }
                // What the system says of a packet sent earlier.
                Poll::Ready(Err(_)) => busy = true,
                Poll::Pending => break,
            }
        }
        for flow in 0..self.flows.len() {
            for _ in 0..BATCH {
                let mut buffer = ReadBuf::new(&mut self.buffer);
                match self.flows[flow].upstream.poll_recv(cx, &mut buffer) {
                    Poll::Ready(Ok(())) => {
                        let bytes = Bytes::copy_from_slice(buffer.filled());
                        busy = true;
                        self.enter(flow, Direction::ToClient, bytes);
                    }
                    Poll::Ready(Err(_)) => busy = true,
                    Poll::Pending => break,
                }
            }
        }
        let now = Instant::now();
        while let Some(packet) = self.queue.arrived(now) {
            busy = true;
            self.send(&packet);
        }
        if busy {
            return Poll::Ready(());
        }
        let Some(due) = self.queue.due() else {
            return Poll::Pending;
        };
        timer.as_mut().reset(due);
        timer.poll(cx)
    }

    fn flow_of(&mut self, client: SocketAddr) -> Option<usize> {
        let known = self.flows.iter().position(|flow| flow.client == client);
        if known.is_some() || self.flows.len() >= MAX_FLOWS {
            return known;
        }
        let number = self.flows.len();
        // Seeds of neighbours have nothing in common.
        let seed = self.seed ^ (number as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let flow = Flow::new(client, self.server, seed).ok()?;
        self.flows.push(flow);
        Some(number)
    }

    fn enter(&mut self, flow: usize, direction: Direction, bytes: Bytes) {
        let mut state = self.shared.lock();
        let weather = state.weather[direction as usize];
        let fate = self.flows[flow].station(direction).next(&weather);
        let mut copies = 0;
        for travel in fate.copies() {
            let due = (!travel.is_zero()).then(|| Instant::now() + travel);
            let bytes = bytes.clone();
            let packet = Packet {
                flow,
                direction,
                bytes,
            };
            copies += u64::from(self.queue.add(due, packet));
        }
        let counts = &mut state.counts[direction as usize];
        counts.packets += 1;
        counts.lost += u64::from(copies == 0);
        counts.duplicated += u64::from(copies > 1);
    }

    /// A socket that takes nothing loses the packet, as a full router does. Tokio would not try a socket that it has not
    /// waited for.
    fn send(&self, packet: &Packet) {
        let flow = &self.flows[packet.flow];
        let _ = match packet.direction {
            Direction::ToServer => SockRef::from(&flow.upstream).send(&packet.bytes),
            Direction::ToClient => {
                SockRef::from(&self.listener).send_to(&packet.bytes, &flow.client.into())
            }
        };
    }
}
