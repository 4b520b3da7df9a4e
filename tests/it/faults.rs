//! What a network and a server in trouble do to the plug-in, by a scripted proxy.
//!
//! Of every case: what was reported good restores byte for byte; what was reported bad is absent, pending, or complete
//! and whole; a flipped byte is neither stored nor returned as good; nothing hangs.

/// Answers that are not whole, or not the ones that were asked for.
mod answers;
/// A host or a server whose clock is wrong, `Retry-After`.
mod hints;
/// What a store proves, and what becomes of an image where it does not.
mod proofs;
/// Sequential and small reads, records, listings.
mod reads;
/// What the store is told last: CompleteMultipartUpload, and asking whether it is there.
mod settling;
/// Every request refused for a while.
mod storm;
/// Every request of a backup.
mod writes;

use std::time::{Duration, Instant};

use vastost::ost::abi::{STSP_CLOSEF_COMPLETE, STSP_II_IMAGE_PENDING, STSP_OPEN_READ};
use vastost::ost::status::{STSP_EBUSY, STSP_ENOENT};
use vastost_testkit::host::{Definition, HostResult, HostServer};

use vastost_testkit::proxy::{Action, Answer, Proxy, Request, When};
use vastost_testkit::test_store::{CALL, PART, Site, Wish, backup, image, pattern, restore};

/// Deadlines that a loopback server meets and a test can wait for.
const RETRY: &str = "[retry]\nattempts = 5\nbackoff_initial = \"10 ms\"\nbackoff_max = \"2 s\"\nattempt_timeout = \"2 s\"\n\
    stall_timeout = \"2 s\"\nfloor_rate = \"2 MB\"\noperation_timeout = \"8 s\"\n";

/// A server behind a proxy that passes everything on; its capabilities are known already.
struct Field {
    site: Site,
    proxy: Proxy,
    server: HostServer,
    _limit: Limit,
}

impl Field {
    fn new(wish: &Wish) -> Self {
        let limit = Limit::of(Duration::from_secs(400));
        let site = Site::new(&wish.small_parts().with(RETRY));
        let proxy = Proxy::start(&site.url);
        site.point_at(&[proxy.url()]);
        let server = site.open();
        backup(&server, &image("probe", 1), b"some bytes", CALL);
        Self {
            site,
            proxy,
            server,
            _limit: limit,
        }
    }

    /// The first `times` requests of an operation on a folder meet a fault.
    fn fail_first(&self, times: usize, operation: &'static str, folder: &'static str, fault: Fault) {
        self.proxy.script(move |request| {
            if request.is(operation, folder) && request.nth <= times {
                fault()
            } else {
                Action::Forward
            }
        });
    }

    /// Every request of an operation on a folder meets a fault.
    fn fail_all(&self, operation: &'static str, folder: &'static str, fault: Fault) {
        self.fail_first(usize::MAX, operation, folder, fault);
    }

    /// A backup that may fail.
    fn try_backup(&self, def: &Definition, data: &[u8]) -> HostResult<()> {
        let image = self.server.create("main", def)?;
        for (index, chunk) in data.chunks(CALL).enumerate() {
            if let Err(error) = image.write(chunk, (index * CALL) as u64) {
                let _ = image.close(0);
                return Err(error);
            }
        }
        image.close(STSP_CLOSEF_COMPLETE)
    }

    /// A restore that may fail.
    fn try_restore(&self, def: &Definition, call: usize) -> HostResult<Vec<u8>> {
        let image = self.server.open("main", def, STSP_OPEN_READ)?;
        let mut data = Vec::new();
        let mut buffer = vec![0; call];
        let read = loop {
            match image.read(&mut buffer, data.len() as u64) {
                Ok(0) => break Ok(data),
                Ok(len) => data.extend_from_slice(&buffer[..len as usize]),
                Err(error) => break Err(error),
            }
        };
        image.close(0)?;
        read
    }

    /// Backs up under a script that lets it succeed, and restores without one.
    fn survives(&self, def: &Definition, data: &[u8], what: &str) {
        let done = self.try_backup(def, data);
        let faults = self.proxy.faults();
        let seen = self.proxy.recent();
        self.proxy.forward_all();
        assert!(done.is_ok(), "{what}: {done:?}\n{}", trace(&seen));
        assert!(faults > 0, "{what}: the fault never met its request\n{}", trace(&seen));
        assert!(
            restore(&self.server, def, CALL) == data,
            "{what}: other bytes came back"
        );
    }

    /// After a failure, with the network whole again: no image, the whole one, or a pending one with the first of its bytes.
    fn is_consistent(&self, def: &Definition, data: &[u8], what: &str) {
        self.proxy.forward_all();
        let seen = match self.try_restore(def, CALL) {
            Ok(seen) => seen,
            Err(error) => {
                assert!([STSP_ENOENT, STSP_EBUSY].contains(&error.code), "{what}: {error:?}");
                return;
            }
        };
        let pending = self.server.info("main", def).unwrap().flags & STSP_II_IMAGE_PENDING != 0;
        let consistent = if pending { data.starts_with(&seen) } else { seen == data };
        assert!(
            consistent,
            "{what}: an image of {} other bytes, pending: {pending}",
            seen.len()
        );
    }
}

type Fault = fn() -> Action;

/// Faults that keep the request from the server, or from its answer.
const BROKEN: [(&str, Fault); 6] = [
    ("reset before the body", || Action::ResetRequest(When::Before)),
    ("reset in the body", || Action::ResetRequest(When::Within)),
    ("reset after the body", || Action::ResetRequest(When::After)),
    ("answer lost", || Action::DropAnswer),
    ("answer broken off", || Action::ResetAnswer),
    ("answer cut short", || Action::TruncateAnswer),
];

/// A server that answers that it cannot now.
const REFUSED: [(&str, Fault); 4] = [
    ("500", || Action::Answer(Answer::error(500, "InternalError"))),
    ("503", || {
        Action::Answer(Answer::error(503, "SlowDown").header("Retry-After", "1"))
    }),
    ("503 without a code", || {
        Action::Answer(Answer {
            status: 503,
            ..Answer::default()
        })
    }),
    ("429 without a code", || {
        Action::Answer(Answer {
            status: 429,
            ..Answer::default()
        })
    }),
];

/// A server that says nothing.
const SILENT: [(&str, Fault); 2] = [("silent", || Action::Hold), ("done and silent", || Action::HoldAnswer)];

/// Two parts and a piece.
fn several_parts(seed: u64) -> Vec<u8> {
    pattern(2 * PART + 1000, seed)
}

fn trace(requests: &[Request]) -> String {
    let line = |r: &Request| {
        format!(
            "{} {} {} {:?} {:?}",
            r.number,
            r.operation(),
            r.key(),
            r.queries,
            r.length
        )
    };
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Ends the test program when a case hangs: the calls block in the plug-in and could not be given up otherwise.
struct Limit {
    /// Dropped, it tells that the case has ended.
    _running: std::sync::mpsc::Sender<()>,
}

impl Limit {
    fn of(time: Duration) -> Self {
        let (running, receiver) = std::sync::mpsc::channel::<()>();
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let start = Instant::now();
        std::thread::spawn(move || {
            if receiver.recv_timeout(time) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                println!("{name} hangs: {:?} have passed", start.elapsed());
                std::process::abort();
            }
        });
        Self { _running: running }
    }
}
