use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn target(host: &str) -> Target {
    Target {
        host: host.into(),
        port: 80,
    }
}

fn address(last: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(last).unwrap()], 80))
}

/// A resolver whose n-th answer is address n, or an error from answer `works` on, each given when a permit is there.
struct Resolver {
    names: Names,
    asked: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
}

fn resolver(works: usize, permits: usize) -> Resolver {
    let asked = Arc::new(AtomicUsize::new(0));
    let permits = Arc::new(Semaphore::new(permits));
    let count = Arc::clone(&asked);
    let gate = Arc::clone(&permits);
    let names = Names::with(PATIENCE, move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            if number < works {
                Ok(vec![address(number)])
            } else {
                Err(io::Error::other("SERVFAIL"))
            }
        })
    });
    Resolver { names, asked, permits }
}

impl Resolver {
    async fn get(&self) -> io::Result<Vec<SocketAddr>> {
        self.names.addresses(&[target("a")]).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets the answers get older.
    fn age(&self, by: Duration) {
        let mut names = self.names.lock();
        names
            .values_mut()
            .for_each(|name| name.asked = name.asked.and_then(|asked| asked.checked_sub(by)));
    }

    async fn until(&self, wanted: &[SocketAddr]) {
        while self.get().await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_is_used_while_one_task_asks_again() {
    let resolver = resolver(9, 1);
    assert_eq!(resolver.get().await.unwrap(), [address(0)]);
    assert_eq!(resolver.get().await.unwrap(), [address(0)]);
    assert_eq!(resolver.asked(), 1, "a fresh answer is used alone");
    resolver.age(FRESH);
    for _ in 0..3 {
        assert_eq!(resolver.get().await.unwrap(), [address(0)]);
        tokio::task::yield_now().await;
    }
    assert_eq!(resolver.asked(), 2);
    resolver.permits.add_permits(1);
    resolver.until(&[address(1)]).await;
}

#[tokio::test]
async fn an_old_answer_is_not_used_before_the_resolver_was_asked() {
    let resolver = resolver(9, 2);
    resolver.get().await.unwrap();
    resolver.age(KNOWN);
    assert_eq!(resolver.get().await.unwrap(), [address(1)]);
}

#[tokio::test]
async fn requests_at_once_share_one_question() {
    let resolver = resolver(9, 9);
    let all = futures::future::join_all((0..5).map(|_| resolver.get())).await;
    assert!(all.into_iter().all(|found| found.unwrap() == [address(0)]));
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test]
async fn a_resolver_that_is_out_takes_nothing_away_and_is_not_waited_for() {
    let resolver = resolver(1, 9);
    resolver.get().await.unwrap();
    resolver.age(KNOWN);
    assert_eq!(resolver.get().await.unwrap(), [address(0)]);
    assert_eq!(resolver.asked(), 2);
    for _ in 0..9 {
        assert_eq!(resolver.get().await.unwrap(), [address(0)]);
    }
    assert_eq!(resolver.asked(), 2, "a failure too is an answer for a while");
}

#[tokio::test]
async fn a_name_that_never_resolved_is_asked_for_each_time_it_is_all_there_is() {
    let resolver = resolver(0, 9);
    let error = resolver.get().await.unwrap_err();
    assert_eq!(error.to_string(), "resolve a: SERVFAIL");
    resolver.get().await.unwrap_err();
    assert!(resolver.asked() >= 2);
}

#[tokio::test]
async fn a_slow_name_holds_up_no_other() {
    let names = Names::with(PATIENCE, |target| {
        Box::pin(async move {
            if target.host == "slow" {
                futures::future::pending().await
            } else {
                Ok(vec![address(7)])
            }
        })
    });
    let targets = [target("slow"), target("10.0.0.1"), target("quick")];
    let began = Instant::now();
    assert_eq!(names.addresses(&targets).await.unwrap(), [address(1), address(7)]);
    assert!(began.elapsed() < PATIENCE / 2);
    let again = Instant::now();
    for _ in 0..20 {
        assert_eq!(names.addresses(&targets).await.unwrap(), [address(1), address(7)]);
    }
    assert!(again.elapsed() < 10 * GRACE, "it is not waited for at each request");
}
