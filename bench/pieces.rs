//! What the pieces of the data path cost alone: `cargo bench -p vastost-bench --bench pieces`.
//!
//! Copy and CRC64NVME of a part in calls of 256 KiB, MD5 of parts side by side, buffers out of the pool and back, and a
//! sidecar of the most parts that an image can have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use md5_simd::Md5Engine;
use vastost::catalog::format::escape::Name;
use vastost::catalog::format::image_id::{ImageDef, ImageId};
use vastost::catalog::format::keys::{Attempt, Keys};
use vastost::catalog::format::parse::parse_sidecar;
use vastost::catalog::format::record::{Content, ImageState, SCHEMA, Sidecar, Writer, now_text, to_bytes};
use vastost::engine::checksum::{Crc64, Crc64Hasher, Md5Sum};
use vastost::engine::md5_lanes::{Md5Lanes, Priority};
use vastost::engine::pool::BufferPool;
use vastost::objstore::s3::types::{ObjectInfo, SentPart};

const PART: usize = 16 << 20;
const CALL: usize = 256 << 10;
/// S3's most parts in one object.
const PARTS: u32 = 10_000;

/// What `stsp_write_image` does with a part's bytes, against the copy alone.
fn copy(criterion: &mut Criterion) {
    let from = vec![7; CALL];
    let mut to = vec![0; PART];
    let mut group = criterion.benchmark_group("a part of 16 MiB in calls of 256 KiB");
    group.throughput(Throughput::Bytes(PART as u64));
    group.bench_function("copied", |bencher| {
        bencher.iter(|| {
            to.chunks_exact_mut(CALL)
                .for_each(|to| to.copy_from_slice(black_box(&from)))
        });
    });
    group.bench_function("copied with CRC64NVME", |bencher| {
        bencher.iter(|| {
            let mut hasher = Crc64Hasher::default();
            to.chunks_exact_mut(CALL)
                .for_each(|to| hasher.copy(to, black_box(&from)));
            hasher.value()
        });
    });
    group.bench_function("CRC64NVME of a part that is not in the cache", |bencher| {
        bencher.iter(|| Crc64::of(black_box(&to)));
    });
    group.finish();
}

/// The scalar hash, the engine's lanes filled more and more, and the thread that fills them with what is queued. The thread
/// waits for lanes to fill, so its figures for few parts are of that wait.
fn md5(criterion: &mut Criterion) {
    let lanes = Md5Lanes::start().unwrap();
    let mut group = criterion.benchmark_group("MD5 of parts of 16 MiB");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(PART as u64));
    let part = Bytes::from(vec![7; PART]);
    group.bench_function("one after the other, md-5", |bencher| {
        bencher.iter(|| Md5Sum::of(black_box(&part)))
    });
    for queued in [1, 2, 4, 8, 16] {
        let parts: Vec<_> = (0..queued).map(|n| Bytes::from(vec![n; PART])).collect();
        let inputs: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        group.throughput(Throughput::Bytes((parts.len() * PART) as u64));
        group.bench_with_input(BenchmarkId::new("side by side", queued), &inputs, |bencher, inputs| {
            let mut sums = vec![[0; 16]; inputs.len()];
            bencher.iter(|| Md5Engine::new().hash_many(black_box(inputs), &mut sums));
        });
        group.bench_with_input(
            BenchmarkId::new("by the hashing thread", queued),
            &parts,
            |bencher, parts| {
                bencher.iter(|| {
                    let all =
                        futures::future::join_all(parts.iter().map(|part| lanes.hash(part.clone(), Priority::Urgent)));
                    futures::executor::block_on(all)
                });
            },
        );
    }
    group.finish();
    lanes.stop();
}

fn pool(criterion: &mut Criterion) {
    let pool = BufferPool::new(1 << 30);
    let reservation = pool.try_reserve(PART as u64).unwrap();
    let deadline = Instant::now() + Duration::from_secs(3600);
    let mut group = criterion.benchmark_group("a buffer of 16 MiB");
    group.bench_function("out of the pool and back", |bencher| {
        bencher.iter(|| futures::executor::block_on(reservation.acquire(PART as u64, deadline)).unwrap());
    });
    group.finish();
}

fn sidecar(criterion: &mut Criterion) {
    let bytes = to_bytes(&sidecar_of(PARTS)).unwrap();
    let mut group = criterion.benchmark_group("a sidecar of 10,000 parts");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let keys = Keys::new("");
    let id = id();
    group.bench_function("read", |bencher| {
        bencher.iter(|| parse_sidecar(&keys, &id, black_box(&bytes)).unwrap())
    });
    let sidecar = parse_sidecar(&keys, &id, &bytes).unwrap();
    group.bench_function("written", |bencher| {
        bencher.iter(|| to_bytes(black_box(&sidecar)).unwrap())
    });
    group.finish();
}

fn id() -> ImageId {
    ImageId::new(Name::new("db01_1795305600_C1_F1"), 1_795_305_600).unwrap()
}

fn sidecar_of(parts: u32) -> Sidecar {
    let part = |number: u32| SentPart {
        number,
        size: PART as u64,
        etag: Md5Sum::of(&number.to_le_bytes()).to_hex(),
        crc64: Crc64(u64::from(number)),
    };
    let sent: Vec<_> = (1..=parts).map(part).collect();
    let object = ObjectInfo {
        size: u64::from(parts) * PART as u64,
        etag: "00-1".into(),
        ..ObjectInfo::default()
    };
    Sidecar {
        schema: SCHEMA,
        state: ImageState::Complete,
        image: ImageDef {
            id: id(),
            policy: Name::default(),
            image_type: 1,
        },
        content: Content::new(&Keys::new("").data(&id(), &Attempt::new()), &object, &sent),
        meta: None,
        created: now_text(),
        completed: now_text(),
        writer: Writer::this(),
        rebuilt: None,
        retention: None,
    }
}

criterion_group!(pieces, copy, md5, pool, sidecar);
criterion_main!(pieces);
