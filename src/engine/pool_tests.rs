use super::*;

const PART: u64 = 64 << 10;

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

#[tokio::test]
async fn each_stream_gets_its_promised_part_when_the_rest_is_gone() {
    let pool = BufferPool::new(3 * PART);
    let greedy = pool.reserve(PART).await.unwrap();
    let modest = pool.reserve(PART).await.unwrap();
    let _held = [
        greedy.acquire(PART, soon()).await.unwrap(),
        greedy.acquire(PART, soon()).await.unwrap(),
    ];
    assert_eq!(greedy.acquire(PART, soon()).await.err().unwrap().kind(), Kind::Timeout);
    assert!(modest.acquire(PART, soon()).await.is_ok());
}

#[tokio::test]
async fn more_streams_than_the_budget_holds_are_refused_by_name() {
    let pool = BufferPool::new(2 * PART);
    let _open = [pool.reserve(PART).await.unwrap(), pool.reserve(PART).await.unwrap()];
    let error = pool.reserve(PART).await.err().unwrap();
    assert_eq!(error.kind(), Kind::NoMemory);
    assert!(error.to_string().contains("[pool] budget"), "{error}");
}

#[tokio::test]
async fn a_part_above_the_whole_budget_is_refused_at_once() {
    let pool = BufferPool::new(PART);
    let began = Instant::now();
    let error = pool.reserve(PART + 1).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Config, "nobody waits for that");
    assert!(
        error.to_string().contains("is larger than [pool] budget 64 KiB"),
        "{error}"
    );
    assert!(began.elapsed() < CLOSING);
    assert!(pool.reserve(PART).await.is_ok());
}

#[tokio::test]
async fn a_new_stream_waits_for_one_that_is_just_being_closed() {
    let pool = BufferPool::new(PART);
    let closing = pool.reserve(PART).await.unwrap();
    assert_eq!(pool.try_reserve(PART).err().unwrap().kind(), Kind::NoMemory);
    let closed = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(closing);
    };
    let (opened, ()) = tokio::join!(pool.reserve(PART), closed);
    assert!(opened.is_ok());
}

#[tokio::test]
async fn a_waiting_stream_wakes_when_a_buffer_returns() {
    let pool = BufferPool::new(2 * PART);
    let stream = pool.reserve(PART).await.unwrap();
    let first = stream.acquire(PART, soon()).await.unwrap();
    let second = stream.acquire(PART, soon()).await.unwrap();
    let returned = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        drop(first);
    };
    let in_time = Instant::now() + Duration::from_secs(10);
    let (woken, ()) = tokio::join!(stream.acquire(PART, in_time), returned);
    assert!(woken.is_ok());
    drop(second);
}

#[tokio::test]
async fn buffers_are_reused_and_the_budget_bounds_what_is_mapped_across_sizes() {
    let pool = BufferPool::new(8 * PART);
    let stream = pool.reserve(PART).await.unwrap();
    for _ in 0..100 {
        let held: Vec<_> = (0..7).map_while(|_| stream.try_acquire(PART)).collect();
        assert_eq!(held.len(), 7);
        assert!(
            stream.try_acquire(PART).is_none(),
            "the reservation is kept for what must go on"
        );
        stream.acquire(PART, soon()).await.unwrap();
    }
    assert_eq!(pool.mapped_bytes() as u64, 8 * PART);
    let large = stream.acquire(4 * PART, soon()).await.unwrap();
    assert!(pool.mapped_bytes() as u64 <= 8 * PART);
    drop(large);
}

#[tokio::test]
async fn parts_that_outgrow_the_budget_become_smaller_parts() {
    let pool = BufferPool::new(4 * PART);
    let streams = [0; 3].map(|_| pool.try_reserve(PART).unwrap());
    let held = streams[0].acquire(PART, soon()).await.unwrap();
    let soon = Instant::now() + Duration::from_secs(30);
    assert_eq!(
        streams[1]
            .acquire_up_to(2 * PART, soon, |_| true, || ())
            .await
            .unwrap()
            .as_slice()
            .len() as u64,
        2 * PART
    );
    let grown = streams[1].acquire_up_to(2 * PART, soon, |_| true, || ()).await.unwrap();
    assert_eq!(
        streams[2]
            .acquire_up_to(2 * PART, soon, |_| true, || ())
            .await
            .unwrap()
            .as_slice()
            .len() as u64,
        PART
    );
    drop((held, grown));
}

#[tokio::test]
async fn a_frozen_buffer_returns_with_its_last_clone_even_after_its_stream() {
    let pool = BufferPool::new(2 * PART);
    let stream = pool.reserve(PART).await.unwrap();
    let mut buffer = stream.acquire(PART, soon()).await.unwrap();
    buffer.as_mut_slice()[..3].copy_from_slice(b"abc");
    let body = buffer.freeze(3).unwrap();
    let clone = body.clone();
    drop(stream);
    drop(body);
    assert_eq!(&clone[..], b"abc");
    drop(clone);
    let again = pool.reserve(2 * PART).await.unwrap();
    assert!(again.acquire(2 * PART, soon()).await.is_ok());
}

#[tokio::test]
async fn idle_streams_that_have_the_budget_lend_it_to_one_whose_parts_grow() {
    let pool = BufferPool::new(16 * PART);
    let streams = [0; 16].map(|_| pool.try_reserve(PART).unwrap());
    let grow = |stream: usize, until| streams[stream].acquire_up_to(2 * PART, until, |_| false, || ());
    let size = |buffer: &Buffer| buffer.as_slice().len() as u64;
    // No small part would do, and none is given; two large ones are out at once, a quarter of the budget.
    let held = [grow(0, soon()).await.unwrap(), grow(0, soon()).await.unwrap()];
    assert_eq!(held.each_ref().map(size), [2 * PART, 2 * PART]);
    assert_eq!(grow(1, soon()).await.err().unwrap().kind(), Kind::Timeout);
    // Who has lent gets its own part at once.
    let own = futures::future::try_join_all(streams.iter().map(|stream| stream.acquire(PART, soon())));
    drop(own.await.unwrap());
    drop(held);
    assert!(pool.mapped_bytes() as u64 <= 20 * PART);
    for _ in 0..100 {
        assert_eq!(size(&grow(1, soon()).await.unwrap()), 2 * PART);
    }
}

#[tokio::test]
async fn a_part_that_must_be_large_is_lent_one_at_a_time_though_all_streams_are_busy() {
    let pool = BufferPool::new(4 * PART);
    let streams = [0; 4].map(|_| pool.try_reserve(PART).unwrap());
    let busy = streams.iter().skip(2).map(|stream| stream.acquire(PART, soon()));
    let _busy = futures::future::try_join_all(busy).await.unwrap();
    let grow = |stream: usize| streams[stream].acquire_up_to(3 * PART, soon(), |_| false, || ());
    let lent = grow(0).await.unwrap();
    assert_eq!(grow(1).await.err().unwrap().kind(), Kind::Timeout);
    drop(lent);
    assert!(grow(1).await.is_ok());
}

#[tokio::test]
async fn buffers_that_nobody_uses_are_given_back_on_request() {
    let pool = BufferPool::new(4 * PART);
    let stream = pool.reserve(PART).await.unwrap();
    let kept = stream.try_acquire(PART).unwrap();
    drop([stream.try_acquire(PART), stream.try_acquire(PART)]);
    pool.release_idle();
    assert_eq!(pool.mapped_bytes() as u64, PART);
    drop(kept);
}

#[tokio::test]
async fn a_buffer_gives_no_body_that_is_longer_than_itself() {
    let pool = BufferPool::new(2 * PART);
    let stream = pool.reserve(PART).await.unwrap();
    let buffer = stream.acquire(PART, soon()).await.unwrap();
    let len = buffer.as_slice().len() + 1;
    assert_eq!(buffer.freeze(len).unwrap_err().kind(), Kind::Internal);
}
