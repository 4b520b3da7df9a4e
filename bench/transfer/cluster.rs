//! Four nodes at four addresses of the loopback network, each a process that can be killed, stopped and slowed down.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::Board;
use super::site::Site;

pub const NODES: usize = 4;

pub struct Cluster {
    nodes: [Node; NODES],
    /// Host and port of what all nodes relay to.
    store: String,
    pace: u64,
}

struct Node {
    address: String,
    board_path: PathBuf,
    board: Board,
    process: Child,
}

impl Cluster {
    /// Four nodes that each move `pace` bytes a second.
    pub fn start(site: &Site, pace: u64) -> Self {
        let store = site.address();
        let nodes = std::array::from_fn(|index| {
            let free = TcpListener::bind(format!("127.0.0.{}:0", index + 1)).and_then(|listener| listener.local_addr());
            let address = free
                .expect("a free port: is all of 127.0.0.0/8 loopback here?")
                .to_string();
            let board_path = site.path(&format!("node-{}", index + 1));
            let board = Board::open(&board_path);
            board.set_pace(pace);
            let process = launch(&address, &store, &board_path);
            Node {
                address,
                board_path,
                board,
                process,
            }
        });
        Self { nodes, store, pace }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("http://{}", node.address))
            .collect()
    }

    /// Bytes that each node has relayed so far.
    pub fn moved(&self) -> [u64; NODES] {
        std::array::from_fn(|index| self.nodes[index].board.moved())
    }

    pub fn kill(&mut self, index: usize) {
        let process = &mut self.nodes[index].process;
        process.kill().and_then(|()| process.wait()).expect("kill a node");
    }

    pub fn restart(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.process = launch(&node.address, &self.store, &node.board_path);
    }

    /// The kernel goes on taking connections and bytes for it, and nobody answers.
    pub fn freeze(&self, index: usize) {
        self.signal(index, Signal::SIGSTOP);
    }

    pub fn thaw(&self, index: usize) {
        self.signal(index, Signal::SIGCONT);
    }

    /// Slower by a factor; 1 is the pace that it began with.
    pub fn slow_down(&self, index: usize, factor: u64) {
        self.nodes[index].board.set_pace(self.pace / factor);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let pid = i32::try_from(self.nodes[index].process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("signal a node");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.process.kill().and_then(|()| node.process.wait());
        }
    }
}

/// Returns when the node listens.
fn launch(address: &str, store: &str, board: &std::path::Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command
        .args(["node", address, store])
        .arg(board)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = command.spawn().expect("start a node");
    let mut ready = String::new();
    BufReader::new(process.stdout.as_mut().expect("its output"))
        .read_line(&mut ready)
        .expect("its word");
    assert_eq!(ready.trim(), "ready", "the node at {address} did not start");
    process
}
