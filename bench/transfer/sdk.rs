//! The client that is aws-sdk-s3 with its own HTTP client, told to hash nothing: what the SDK costs without the plug-in.
//!
//! It copies every byte once, into or out of buffers that are used again, as a client must that is handed bytes by a caller.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use vastost::engine::checksum::{Crc64, Crc64Hasher};

use super::args::{CALL, Direction, IN_FLIGHT, PART, SOURCE, Work};
use super::limit::touched;
use super::site::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// Small objects put at once.
const FILL_IN_FLIGHT: usize = 32;
/// As many threads as the plug-in moves bytes with.
const THREADS: usize = 2;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub fn run(work: &Work) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    let moved = runtime.expect("a runtime").block_on(async {
        let client = client(&format!("http://{}", work.address));
        match work.direction {
            Direction::Up => upload(&client, work).await,
            Direction::Down => download(&client, work).await,
        }
    });
    moved.expect("move the bytes");
}

/// Makes the benchmark's bucket on a server that is new.
pub fn make_bucket(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime
        .block_on(client(url).create_bucket().bucket(BUCKET).send())
        .expect("make the bucket");
}

/// Makes a bucket that everybody may list, with objects of `size` spaces.
pub fn fill_open_bucket(url: &str, bucket: &str, keys: impl Iterator<Item = String>, size: u64) {
    let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{bucket}"),
    }] });
    let body = Bytes::from(vec![b' '; usize::try_from(size).expect("fits memory")]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = client(url);
        client
            .create_bucket()
            .bucket(bucket)
            .send()
            .await
            .expect("make the bucket");
        client
            .put_bucket_policy()
            .bucket(bucket)
            .policy(policy.to_string())
            .send()
            .await
            .expect("open the bucket");
        let puts = keys.map(|key| {
            client
                .put_object()
                .bucket(bucket)
                .key(key)
                .body(body.clone().into())
                .send()
        });
        let puts = futures::stream::iter(puts).buffer_unordered(FILL_IN_FLIGHT);
        puts.for_each(|put| async { drop(put.expect("put a sidecar")) }).await;
    });
}

fn client(url: &str) -> Client {
    let settings = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    Client::from_conf(settings.build())
}

/// Offsets and lengths of all parts.
fn spans(bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..bytes)
        .step_by(usize::try_from(PART).expect("fits memory"))
        .map(move |at| (at, PART.min(bytes - at)))
}

async fn upload(client: &Client, work: &Work) -> Result<(), Failure> {
    let begun = client
        .create_multipart_upload()
        .bucket(BUCKET)
        .key("sdk")
        .send()
        .await?;
    let id = begun.upload_id().ok_or("no upload id")?;
    let source = touched(SOURCE);
    let shelf = Arc::new(Shelf::default());
    let sends = spans(work.bytes).zip(1..).map(|((_, len), number)| {
        let source = &source;
        let shelf = &shelf;
        async move {
            let (body, crc) = shelf.fill(source, usize::try_from(len)?, work.crc);
            let request = client
                .upload_part()
                .bucket(BUCKET)
                .key("sdk")
                .upload_id(id)
                .part_number(number);
            let request = request.set_checksum_crc64_nvme(crc.map(Crc64::to_base64));
            let sent = request
                .body(ByteStream::from(body))
                .customize()
                .disable_payload_signing()
                .send()
                .await?;
            let part = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag().map(Into::into));
            Ok::<_, Failure>(part.build())
        }
    });
    let in_flight = usize::try_from(IN_FLIGHT)?;
    let mut parts: Vec<CompletedPart> = futures::stream::iter(sends)
        .buffer_unordered(in_flight)
        .try_collect()
        .await?;
    parts.sort_by_key(CompletedPart::part_number);
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key("sdk")
        .upload_id(id);
    complete.multipart_upload(list).send().await?;
    Ok(())
}

async fn download(client: &Client, work: &Work) -> Result<(), Failure> {
    let key = format!("zeros-{}", work.bytes);
    let gets = spans(work.bytes).map(|(offset, len)| {
        let range = format!("bytes={offset}-{}", offset + len - 1);
        let request = client.get_object().bucket(BUCKET).key(&key).range(range);
        async move {
            let mut body = request.send().await?.body;
            let mut sink = touched(CALL);
            let mut done = 0;
            let mut hasher = Crc64Hasher::default();
            while let Some(frame) = body.try_next().await? {
                done += frame.len() as u64;
                for piece in frame.chunks(sink.len()) {
                    let to = &mut sink[..piece.len()];
                    if work.crc {
                        hasher.copy(to, piece)
                    } else {
                        to.copy_from_slice(piece)
                    }
                    black_box(to);
                }
            }
            black_box(hasher.value());
            if done == len {
                Ok(())
            } else {
                Err::<(), Failure>("a body ended early".into())
            }
        }
    });
    let in_flight = usize::try_from(IN_FLIGHT)?;
    futures::stream::iter(gets)
        .buffer_unordered(in_flight)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Part buffers that are free.
#[derive(Default)]
struct Shelf(Mutex<Vec<Vec<u8>>>);

/// A buffer that returns to its shelf when the SDK has let go of it.
struct Lent {
    buffer: Vec<u8>,
    len: usize,
    shelf: Arc<Shelf>,
}

impl Shelf {
    fn fill(self: &Arc<Self>, source: &[u8], len: usize, crc: bool) -> (Bytes, Option<Crc64>) {
        let free = self.0.lock().expect("nobody panics with it").pop();
        let mut buffer = free.unwrap_or_else(|| touched(PART));
        let mut hasher = Crc64Hasher::default();
        for to in buffer[..len].chunks_mut(source.len()) {
            let from = &source[..to.len()];
            if crc {
                hasher.copy(to, from)
            } else {
                to.copy_from_slice(from)
            }
        }
        (
            Bytes::from_owner(Lent {
                buffer,
                len,
                shelf: Arc::clone(self),
            }),
            crc.then(|| hasher.value()),
        )
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.shelf.0.lock().expect("nobody panics with it").push(buffer);
    }
}
