//! More than one address for one server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vastost::ost::abi::STSP_CLOSEF_COMPLETE;
use vastost_testkit::host::HostFilter;

use vastost_testkit::proxy::{Action, Proxy, Request};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore, write_all};

/// Bytes that a relay moves at once.
const PIECE: usize = 64 << 10;

/// Passes connections on to the real server and counts them, until it is told to be another kind of node.
struct Relay {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    bytes: AtomicUsize,
    /// Milliseconds that a piece waits; [`FROZEN`]: for ever.
    wait: AtomicUsize,
}

/// A node that takes nothing in any more and closes nothing.
const FROZEN: usize = usize::MAX;

impl Relay {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let server = server.trim_start_matches("http://").to_owned();
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let client = client.unwrap();
                let upstream = TcpStream::connect(&server).unwrap();
                for (from, to) in [
                    (client.try_clone().unwrap(), upstream.try_clone().unwrap()),
                    (upstream, client),
                ] {
                    let counts = Arc::clone(&shared);
                    std::thread::spawn(move || counts.pass(from, to));
                }
            }
        });
        Self { address, counts }
    }

    fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> usize {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    fn wait(&self, milliseconds: usize) {
        self.counts.wait.store(milliseconds, Ordering::Relaxed);
    }
}

impl Counts {
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = vec![0; PIECE];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            match self.wait.load(Ordering::Relaxed) {
                0 => {}
                FROZEN => loop {
                    std::thread::park();
                },
                wait => std::thread::sleep(Duration::from_millis(wait as u64)),
            }
            self.bytes.fetch_add(len, Ordering::Relaxed);
            if to.write_all(&piece[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

/// Replaces the endpoint of a site's configuration.
fn point_at(site: &Site, addresses: &[SocketAddr]) {
    site.point_at(
        &addresses
            .iter()
            .map(|address| format!("http://{address}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn connections_use_every_address() {
    let site = Site::new(&Wish::default().small_parts());
    let relays = [0; 3].map(|_| Relay::to(&site.url));
    point_at(&site, &relays.each_ref().map(|relay| relay.address));
    let server = site.open();
    let data = pattern(6 * PART, 1);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let server = &server;
            let data = &data;
            scope.spawn(move || {
                backup(server, &image("spread", number), data, CALL);
                assert!(restore(server, &image("spread", number), CALL) == *data);
            });
        }
    });
    let used = relays.map(|relay| relay.connections());
    assert!(used.iter().all(|count| *count > 0), "{used:?}");
}

#[test]
fn an_address_that_nobody_answers_on_is_passed_over() {
    let site = Site::new(&Wish::default().small_parts());
    let dead = "127.0.0.1:1".parse().unwrap();
    let relay = Relay::to(&site.url);
    point_at(&site, &[dead, relay.address]);
    let server = site.open();
    let data = pattern(2 * PART + 1, 1);
    for number in 0..4 {
        backup(&server, &image("dead", number), &data, CALL);
        assert!(restore(&server, &image("dead", number), CALL) == data);
    }
}

#[test]
fn requests_in_a_row_share_one_connection() {
    let site = Site::new(&Wish::default());
    let relay = Relay::to(&site.url);
    point_at(&site, &[relay.address]);
    let server = site.open();
    for _ in 0..5 {
        server.lsu("main").unwrap();
    }
    assert_eq!(relay.connections(), 1);
}

/// Several streams store and restore an image each.
fn streams(site: &Site, count: u64, len: usize) {
    let server = site.open();
    let data = pattern(len, 5);
    std::thread::scope(|scope| {
        for number in 0..count {
            let server = &server;
            let data = &data;
            scope.spawn(move || {
                backup(server, &image("stream", number), data, CALL);
                assert!(restore(server, &image("stream", number), CALL) == *data);
            });
        }
    });
}

#[test]
fn a_node_that_is_far_slower_than_the_others_is_left_alone() {
    let site = Site::new(&Wish::default().small_parts());
    let relays = [0; 3].map(|_| Relay::to(&site.url));
    point_at(&site, &relays.each_ref().map(|relay| relay.address));
    // A part takes eight seconds there.
    relays[0].wait(100);
    streams(&site, 4, 8 * PART);
    let bytes = relays.map(|relay| relay.bytes());
    assert!(bytes[0] < bytes.iter().sum::<usize>() / 6, "{bytes:?}");
}

#[test]
fn parts_on_their_way_to_a_node_that_freezes_go_to_another() {
    // An attempt that nothing else ends would outlast the operation. The kernel of the node takes parts in all the same.
    let wish = Wish::default().small_parts();
    let wish = wish.with("[retry]\nattempt_timeout = \"50 s\"\noperation_timeout = \"50 s\"\n");
    let site = Site::new(&wish);
    let relays = [0; 2].map(|_| Relay::to(&site.url));
    point_at(&site, &relays.each_ref().map(|relay| relay.address));
    let frozen = Arc::clone(&relays[1].counts);
    std::thread::spawn(move || {
        while frozen.bytes.load(Ordering::Relaxed) < 10 * PART {
            std::thread::sleep(Duration::from_millis(1));
        }
        frozen.wait.store(FROZEN, Ordering::Relaxed);
    });
    let server = site.open();
    let data = pattern(30 * PART + 1, 6);
    backup(&server, &image("frozen", 1), &data, CALL);
    relays[1].wait(0);
    assert!(restore(&server, &image("frozen", 1), CALL) == data);
}

/// Nothing but a second try ends a silence in the time of a test.
const PATIENT: &str = "[retry]\nattempt_timeout = \"50 s\"\nstall_timeout = \"50 s\"\noperation_timeout = \"50 s\"\n";
/// A question or a small part is late after three seconds at most.
const SOON: Duration = Duration::from_secs(20);

/// Two nodes before one server.
struct Nodes {
    site: Site,
    proxies: [Proxy; 2],
}

impl Nodes {
    fn new(settings: &str) -> Self {
        let site = Site::new(&Wish::default().small_parts().with(settings));
        let proxies = [0; 2].map(|_| Proxy::start(&site.url));
        site.point_at(&proxies.each_ref().map(Proxy::url));
        // What the server can is found out before anything is silent.
        backup(&site.open(), &image("probe", 1), b"some bytes", CALL);
        Self { site, proxies }
    }

    /// The first of these requests is met by silence, at whichever node it comes to.
    fn silence_one(&self, is_meant: fn(&Request) -> bool) {
        let waiting = Arc::new(AtomicBool::new(true));
        for proxy in &self.proxies {
            let waiting = Arc::clone(&waiting);
            proxy.script(move |request| {
                let hold = is_meant(request) && waiting.swap(false, Ordering::Relaxed);
                if hold { Action::Hold } else { Action::Forward }
            });
        }
    }

    /// The nodes that were asked for this since the script was set, once for each time.
    fn asked(&self, is_meant: fn(&Request) -> bool) -> Vec<usize> {
        let at = |node: usize| {
            self.proxies[node]
                .recent()
                .iter()
                .filter(|request| is_meant(request))
                .count()
        };
        (0..2).flat_map(|node| vec![node; at(node)]).collect()
    }

    /// `act` meets one silence and does not wait for its end: the other node is asked, once.
    fn outlasts(&self, is_meant: fn(&Request) -> bool, act: impl FnOnce()) {
        self.silence_one(is_meant);
        let began = Instant::now();
        act();
        assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
        let faults: usize = self.proxies.iter().map(Proxy::faults).sum();
        assert_eq!(faults, 1);
        self.proxies.iter().for_each(Proxy::forward_all);
    }
}

fn is_little_part(request: &Request) -> bool {
    request.is("UploadPart", "backups") && request.length == Some(1)
}

#[test]
fn a_last_part_of_one_byte_on_its_way_to_a_silent_node_goes_to_the_other() {
    let nodes = Nodes::new(PATIENT);
    let server = nodes.site.open();
    let data = pattern(2 * PART + 1, 7);
    nodes.silence_one(is_little_part);
    let began = Instant::now();
    backup(&server, &image("little", 1), &data, CALL);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(nodes.asked(is_little_part), [0, 1]);
    assert!(restore(&server, &image("little", 1), CALL) == data);
}

#[test]
fn questions_that_a_node_leaves_unanswered_are_asked_of_the_other() {
    let nodes = Nodes::new(PATIENT);
    let server = nodes.site.open();
    let data = pattern(1000, 8);
    nodes.outlasts(
        |r| r.operation() == "HeadObject",
        || backup(&server, &image("asked", 1), &data, CALL),
    );
    let find = || drop(server.info("main", &image("asked", 1)).unwrap());
    nodes.outlasts(|r| r.is("GetObject", "catalog"), find);
    let list = || assert_eq!(server.list("main", &HostFilter::default()).unwrap().len(), 2);
    nodes.outlasts(|r| r.operation() == "ListObjectsV2", list);
    nodes.outlasts(
        |r| r.is("GetObject", "backups"),
        || assert!(restore(&server, &image("asked", 1), CALL) == data),
    );
}

#[test]
fn what_changes_something_is_not_sent_twice_for_being_slow() {
    let nodes = Nodes::new(PATIENT);
    let is_change = |request: &Request| {
        matches!(
            request.operation(),
            "PutObject" | "CreateMultipartUpload" | "CompleteMultipartUpload" | "DeleteObject"
        )
    };
    let server = nodes.site.open();
    let written = server.create("main", &image("slow", 1)).unwrap();
    write_all(&written, &pattern(2 * PART + 1, 9), 0, CALL);
    for proxy in &nodes.proxies {
        proxy.script(|request| match request.operation() {
            "CompleteMultipartUpload" => Action::After(Box::new(|| std::thread::sleep(Duration::from_secs(5)))),
            _ => Action::Forward,
        });
    }
    written.close(STSP_CLOSEF_COMPLETE).unwrap();
    let mut seen: Vec<_> = nodes.proxies.iter().flat_map(Proxy::recent).filter(is_change).collect();
    seen.retain(|request| !request.is("PutObject", "pending"));
    let mut names: Vec<_> = seen
        .iter()
        .map(|request| (request.operation(), request.folder()))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            ("CompleteMultipartUpload", "backups"),
            ("DeleteObject", "pending"),
            ("PutObject", "catalog")
        ]
    );
}

#[test]
fn without_hedge_percent_nothing_is_asked_for_twice() {
    let nodes = Nodes::new("[retry]\nattempt_timeout = \"5 s\"\nhedge_percent = 0\n");
    let server = nodes.site.open();
    nodes.silence_one(is_little_part);
    let began = Instant::now();
    backup(&server, &image("patient", 1), &pattern(2 * PART + 1, 7), CALL);
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}
