use std::time::{Duration, Instant};

use super::*;
use crate::error::Kind;

const PART: usize = 5 << 20;

#[tokio::test]
async fn bytes_behind_the_open_part_are_refused_and_never_left_out() {
    let pool = crate::engine::pool::BufferPool::new(2 * PART as u64);
    let reservation = pool.reserve(PART as u64).await.unwrap();
    let buffer = reservation
        .acquire(PART as u64, Instant::now() + Duration::from_secs(1))
        .await
        .unwrap();
    let mut part = OpenPart::new(buffer, PART);
    let data = vec![7; PART + 1];
    assert_eq!(part.copy(PART as u64 + 1, &data).unwrap_err().kind(), Kind::Internal);
    assert_eq!(part.copy(0, &data).unwrap(), Filled::Taken(PART));
    assert_eq!(part.copy(PART as u64, &data).unwrap(), Filled::PartNeeded);
    // A part that is said to be larger than its memory.
    part.capacity = 2 * PART + (64 << 20);
    let behind = part.buffer.as_slice().len() as u64;
    assert_eq!(part.copy(behind, &data).unwrap_err().kind(), Kind::Internal);
}
