//! More than one address for one server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{CALL, PART, Site, Wish, backup, image, pattern, restore};

/// Passes connections on to the real server and counts them.
struct Relay {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (server, count) = (server.trim_start_matches("http://").to_owned(), Arc::clone(&connections));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let (client, upstream) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Self { address, connections }
    }
}

/// Replaces the endpoint of a site's configuration.
fn point_at(site: &Site, addresses: &[SocketAddr]) {
    site.point_at(&addresses.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>());
}

#[test]
fn connections_use_every_address() {
    let site = Site::new(&Wish::default().small_parts());
    let relays = [0; 3].map(|_| Relay::to(&site.url));
    point_at(&site, &relays.each_ref().map(|relay| relay.address));
    let (server, data) = (site.open(), pattern(6 * PART, 1));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (server, data) = (&server, &data);
            scope.spawn(move || {
                backup(server, &image("spread", number), data, CALL);
                assert!(restore(server, &image("spread", number), CALL) == *data);
            });
        }
    });
    let used = relays.map(|relay| relay.connections.load(Ordering::Relaxed));
    assert!(used.iter().all(|count| *count > 0), "{used:?}");
}

#[test]
fn an_address_that_nobody_answers_on_is_passed_over() {
    let site = Site::new(&Wish::default().small_parts());
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = Relay::to(&site.url);
    point_at(&site, &[dead, relay.address]);
    let (server, data) = (site.open(), pattern(2 * PART + 1, 1));
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
    assert_eq!(relay.connections.load(Ordering::Relaxed), 1);
}
