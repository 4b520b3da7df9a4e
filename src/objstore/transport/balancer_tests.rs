use std::collections::VecDeque;

use super::super::pace::{RECENT, SAMPLES_MIN};
use super::*;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn all(count: u16) -> Vec<SocketAddr> {
    (1..=count).map(address).collect()
}

fn choose(addresses: &Addresses, among: &[SocketAddr]) -> InFlightGuard {
    addresses.choose(among).0.unwrap()
}

/// Lets every address move `parts` parts, `slow` of them twenty times slower.
fn move_parts(addresses: &Addresses, among: &[SocketAddr], parts: u32, slow: Option<SocketAddr>) {
    for _ in 0..parts {
        for address in among {
            let ticket = choose(addresses, &[*address]);
            let time = if slow == Some(*address) { 1000 } else { 50 };
            ticket.moved(16 << 20, Duration::from_millis(time));
        }
    }
}

/// Lets the back-off pass.
fn wait_out(addresses: &Addresses, address: SocketAddr) {
    if let Some(quarantine) = &mut addresses.lock().health.get_mut(&address).unwrap().quarantine {
        quarantine.until = Instant::now();
    }
}

fn is_used(addresses: &Addresses, among: &[SocketAddr], wanted: SocketAddr) -> bool {
    let tickets: Vec<_> = (0..2 * among.len()).map(|_| choose(addresses, among)).collect();
    tickets.iter().any(|ticket| ticket.address() == wanted)
}

#[test]
fn requests_are_spread_evenly_whatever_ends_first() {
    let addresses = Addresses::default();
    let among = all(4);
    let mut tickets: VecDeque<_> = (0..16).map(|_| choose(&addresses, &among)).collect();
    let mut counts = HashMap::new();
    let mut random = 88_172_645_463_325_252_u64;
    for _ in 0..4000 {
        // Xorshift: which one ends next has no pattern.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        drop(tickets.remove(random as usize % tickets.len()));
        let ticket = choose(&addresses, &among);
        *counts.entry(ticket.address()).or_insert(0) += 1;
        tickets.push_back(ticket);
    }
    assert!(counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[test]
fn an_address_that_fails_rests_is_probed_and_comes_back_on_trial() {
    let addresses = Addresses::default();
    let among = all(2);
    choose(&addresses, &[among[0]]).shut(Cause::Lost, "no route to host");
    assert!(!is_used(&addresses, &among, among[0]));
    wait_out(&addresses, among[0]);
    assert_eq!(addresses.choose(&among).1, [among[0]]);
    assert_eq!(addresses.choose(&among).1, [], "one probe at a time");
    addresses.probed(among[0], true);
    let first = choose(&addresses, &among);
    let tickets: Vec<_> = (0..4).map(|_| choose(&addresses, &among)).collect();
    let on_trial = tickets
        .iter()
        .chain([&first])
        .filter(|ticket| ticket.address() == among[0]);
    assert_eq!(on_trial.count(), 1);
    first.moved(16 << 20, Duration::from_millis(50));
    tickets
        .iter()
        .for_each(|ticket| ticket.moved(16 << 20, Duration::from_millis(50)));
    drop((first, tickets));
    assert!(addresses.lock().health[&among[0]].on_trial.is_none());
}

#[test]
fn each_quarantine_soon_after_another_is_longer() {
    let addresses = Addresses::default();
    let one = address(1);
    let mut waits = Vec::new();
    for _ in 0..7 {
        addresses.shut(one, Cause::Lost, "test");
        let until = addresses.lock().health[&one].quarantine.as_ref().unwrap().until;
        waits.push(until.duration_since(Instant::now()).as_secs_f64().round() as u64);
        wait_out(&addresses, one);
        addresses.choose(&all(2));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
}

#[test]
fn an_address_that_is_far_slower_than_its_peers_is_shut_and_shut_again_by_one_part_on_trial() {
    let addresses = Addresses::default();
    let among = all(3);
    move_parts(&addresses, &among, SAMPLES_MIN, Some(among[1]));
    assert!(!is_used(&addresses, &among, among[1]));
    assert!(is_used(&addresses, &among, among[0]) && is_used(&addresses, &among, among[2]));
    wait_out(&addresses, among[1]);
    addresses.choose(&among);
    addresses.probed(among[1], true);
    move_parts(&addresses, &among, 1, Some(among[1]));
    assert!(!is_used(&addresses, &among, among[1]));
}

#[test]
fn a_store_that_gets_slow_as_a_whole_loses_no_address() {
    let addresses = Addresses::default();
    let among = all(3);
    move_parts(&addresses, &among, 10, None);
    for _ in 0..20 {
        for address in &among {
            choose(&addresses, &[*address]).moved(16 << 20, Duration::from_millis(190));
        }
    }
    assert!(among.iter().all(|address| is_used(&addresses, &among, *address)));
}

#[test]
fn errors_of_one_address_shut_it_and_errors_of_all_shut_none() {
    let addresses = Addresses::default();
    let among = all(2);
    for _ in 0..2 * ERRORS_MAX {
        among
            .iter()
            .for_each(|address| choose(&addresses, &[*address]).answered(503));
    }
    assert!(among.iter().all(|address| is_used(&addresses, &among, *address)));
    choose(&addresses, &[among[0]]).answered(200);
    choose(&addresses, &[among[1]]).answered(503);
    assert!(!is_used(&addresses, &among, among[1]));
}

#[test]
fn of_addresses_in_quarantine_the_least_bad_is_used() {
    let addresses = Addresses::default();
    let among = all(3);
    addresses.shut(among[0], Cause::Lost, "test");
    addresses.shut(among[1], Cause::Slow, "test");
    addresses.shut(among[2], Cause::Errors, "test");
    let tickets: Vec<_> = (0..6).map(|_| choose(&addresses, &among)).collect();
    assert!(tickets.iter().all(|ticket| ticket.address() == among[1]));
}

#[test]
fn the_only_address_is_used_whatever_it_did() {
    let addresses = Addresses::default();
    let one = address(1);
    addresses.shut(one, Cause::Lost, "test");
    wait_out(&addresses, one);
    let (ticket, probes) = addresses.choose(&[one]);
    assert_eq!((ticket.as_ref().unwrap().address(), probes), (one, vec![]));
    ticket.unwrap().answered(200);
    assert!(addresses.lock().health[&one].quarantine.is_none());
    assert!(addresses.choose(&[]).0.is_none());
}

#[tokio::test]
async fn little_requests_that_may_be_hedged_have_a_usual_time_of_their_own() {
    let addresses = Addresses::default();
    let among = all(2);
    assert_eq!(
        (addresses.usual_time(1), addresses.usual_time(PACE_BYTES_MIN)),
        (Some(LATE), None)
    );
    for _ in 0..RECENT {
        let tries = hedge_state::Tries::default();
        tries
            .first(async { choose(&addresses, &among).moved(100, Duration::from_millis(40)) })
            .await;
        // What is never sent twice does not tell when something is late.
        choose(&addresses, &among).moved(100, Duration::from_secs(9));
    }
    assert_eq!(addresses.usual_time(1), Some(Duration::from_millis(40)));
    assert_eq!(addresses.usual_time(PACE_BYTES_MIN), None);
}

#[tokio::test]
async fn a_second_try_keeps_away_from_where_the_first_one_waits() {
    let addresses = Addresses::default();
    let among = all(2);
    let tries = hedge_state::Tries::default();
    let first = tries.first(async { choose(&addresses, &among) }).await;
    let other = among
        .iter()
        .copied()
        .find(|address| *address != first.address())
        .unwrap();
    let _busy = [0; 5].map(|_| choose(&addresses, &[other]));
    assert_eq!(
        choose(&addresses, &among).address(),
        first.address(),
        "it has the fewest under way"
    );
    let second = tries.second(async { choose(&addresses, &among) }).await;
    assert_eq!((second.address(), tries.waiting().unwrap().1), (other, vec![other]));
    assert!(addresses.has_any(&[other]));
    addresses.shut(other, Cause::Lost, "test");
    assert!(!addresses.has_any(&[other]));
    wait_out(&addresses, other);
    assert!(addresses.has_any(&[other]));
    let third = tries.second(async { choose(&addresses, &among) }).await;
    assert_eq!(third.address(), other, "where the first one waits is the last choice");
    tries.decide();
    assert_eq!((first.is_moot(), second.is_moot()), (false, true));
    drop(first);
    assert!(tries.waiting().is_none(), "it waits nowhere, so it is not late");
}
