//! What a store checks before it keeps bytes, and what it tells of them afterwards, as the SDK sees it.

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use vastost::engine::checksum::{Crc64, Md5Sum, bare_etag, composite_etag};

use super::on_every_server;
use crate::sdk::{Refusal, Sdk, refused};
use vastost_testkit::test_store::{PART, Site, Wish, pattern};

on_every_server!(
    a_wrong_content_md5_or_crc64nvme_is_refused_and_nothing_is_kept,
    a_wrong_part_is_refused_and_not_listed,
    an_upload_has_the_etag_and_the_crc64nvme_of_its_parts,
    a_completion_is_refused_unless_its_parts_are_there_and_large_enough,
    a_part_can_be_copied_from_an_object,
    a_put_on_condition_keeps_what_is_there,
    ranges_are_exact,
);

fn a_wrong_content_md5_or_crc64nvme_is_refused_and_nothing_is_kept(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let put = || {
        sdk.client
            .put_object()
            .bucket(&sdk.bucket)
            .key("a")
            .body(b"bytes".to_vec().into())
    };
    let wrong = refused(sdk.run(put().content_md5(Md5Sum::of(b"other").to_base64()).send())).unwrap_err();
    assert!(wrong.is(400, "BadDigest"), "{wrong:?}");
    let wrong = refused(sdk.run(put().checksum_crc64_nvme(Crc64::of(b"other").to_base64()).send())).unwrap_err();
    assert_eq!(wrong.status, 400, "{wrong:?}");
    assert_eq!(sdk.get("a", None).unwrap_err().status, 404);
    let crc = Crc64::of(b"bytes").to_base64();
    let right = sdk.run(put().checksum_crc64_nvme(&crc).send()).unwrap();
    assert_eq!(right.checksum_crc64_nvme(), Some(crc.as_str()));
    assert_eq!(bare_etag(right.e_tag().unwrap()), Md5Sum::of(b"bytes").to_hex());
    let head = sdk
        .client
        .head_object()
        .bucket(&sdk.bucket)
        .key("a")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(sdk.run(head.send()).unwrap().checksum_crc64_nvme(), Some(crc.as_str()));
}

/// An upload with CRC64NVME of the whole object.
struct Upload<'a> {
    sdk: &'a Sdk,
    id: String,
}

impl<'a> Upload<'a> {
    fn begin(sdk: &'a Sdk) -> Self {
        let begin = sdk.client.create_multipart_upload().bucket(&sdk.bucket).key("a");
        let begin = begin
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject);
        let id = sdk.run(begin.send()).unwrap().upload_id().unwrap().to_owned();
        Self { sdk, id }
    }

    fn send(&self, number: i32, data: &[u8], crc64: Crc64) -> Result<CompletedPart, Refusal> {
        let part = self
            .sdk
            .client
            .upload_part()
            .bucket(&self.sdk.bucket)
            .key("a")
            .upload_id(&self.id);
        let part = part
            .part_number(number)
            .checksum_crc64_nvme(crc64.to_base64())
            .body(data.to_vec().into());
        let sent = refused(self.sdk.run(part.send()))?;
        let done = CompletedPart::builder()
            .part_number(number)
            .e_tag(sent.e_tag().unwrap());
        Ok(done.checksum_crc64_nvme(crc64.to_base64()).build())
    }

    fn complete(&self, parts: &[CompletedPart], crc64: Option<Crc64>) -> Result<(String, String), Refusal> {
        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.to_vec()))
            .build();
        let complete = self
            .sdk
            .client
            .complete_multipart_upload()
            .bucket(&self.sdk.bucket)
            .key("a");
        let complete = complete
            .upload_id(&self.id)
            .multipart_upload(list)
            .checksum_type(ChecksumType::FullObject);
        let complete = complete.set_checksum_crc64_nvme(crc64.map(Crc64::to_base64));
        let done = refused(self.sdk.run(complete.send()))?;
        let own = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok((
            bare_etag(&own(done.e_tag())).to_owned(),
            own(done.checksum_crc64_nvme()),
        ))
    }
}

fn a_wrong_part_is_refused_and_not_listed(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let upload = Upload::begin(&sdk);
    let wrong = upload.send(1, b"bytes", Crc64::of(b"other")).unwrap_err();
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let part = sdk
        .client
        .upload_part()
        .bucket(&sdk.bucket)
        .key("a")
        .upload_id(&upload.id)
        .part_number(1);
    let part = part
        .content_md5(Md5Sum::of(b"other").to_base64())
        .body(b"bytes".to_vec().into());
    assert!(refused(sdk.run(part.send())).is_err());
    let list = sdk
        .client
        .list_parts()
        .bucket(&sdk.bucket)
        .key("a")
        .upload_id(&upload.id);
    assert_eq!(sdk.run(list.send()).unwrap().parts().len(), 0);
}

fn an_upload_has_the_etag_and_the_crc64nvme_of_its_parts(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let upload = Upload::begin(&sdk);
    let data = pattern(2 * PART + 77, 5);
    let pieces: Vec<_> = data.chunks(PART).collect();
    // In any order.
    let send = |n: usize| upload.send(n as i32, pieces[n - 1], Crc64::of(pieces[n - 1])).unwrap();
    let mut parts: Vec<_> = (1..=pieces.len()).rev().map(send).collect();
    parts.reverse();
    let list = sdk
        .client
        .list_parts()
        .bucket(&sdk.bucket)
        .key("a")
        .upload_id(&upload.id);
    let listed = sdk.run(list.send()).unwrap();
    for (part, piece) in listed.parts().iter().zip(&pieces) {
        assert_eq!(part.checksum_crc64_nvme(), Some(Crc64::of(piece).to_base64().as_str()));
        assert_eq!(bare_etag(part.e_tag().unwrap()), Md5Sum::of(piece).to_hex());
    }
    let wrong = upload.complete(&parts, Some(Crc64::of(b"other"))).unwrap_err();
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let etags: Vec<_> = pieces.iter().map(|piece| Md5Sum::of(piece).to_hex()).collect();
    let etag = composite_etag(etags.iter().map(String::as_str)).unwrap();
    let crc = Crc64::of(&data).to_base64();
    assert_eq!(
        upload.complete(&parts, Some(Crc64::of(&data))).unwrap(),
        (etag, crc.clone())
    );
    let head = sdk
        .client
        .head_object()
        .bucket(&sdk.bucket)
        .key("a")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(sdk.run(head.send()).unwrap().checksum_crc64_nvme(), Some(crc.as_str()));
    assert!(sdk.get("a", None).unwrap() == data);
    let told = sdk.client.get_object_attributes().bucket(&sdk.bucket).key("a");
    let told = sdk
        .run(
            told.object_attributes(ObjectAttributes::ObjectParts)
                .max_parts(1000)
                .send(),
        )
        .unwrap();
    let sizes: Vec<_> = told
        .object_parts()
        .unwrap()
        .parts()
        .iter()
        .filter_map(|part| part.size())
        .collect();
    assert_eq!(sizes, pieces.iter().map(|piece| piece.len() as i64).collect::<Vec<_>>());
}

fn a_completion_is_refused_unless_its_parts_are_there_and_large_enough(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let upload = Upload::begin(&sdk);
    let small = pattern(1000, 1);
    let large = pattern(PART, 2);
    let one = upload.send(1, &small, Crc64::of(&small)).unwrap();
    let two = upload.send(2, &large, Crc64::of(&large)).unwrap();
    let error = upload.complete(&[one.clone(), two.clone()], None).unwrap_err();
    assert!(error.is(400, "EntityTooSmall"), "{error:?}");
    let error = upload.complete(&[two.clone(), one.clone()], None).unwrap_err();
    assert!(error.is(400, "InvalidPartOrder"), "{error:?}");
    let missing = CompletedPart::builder().part_number(3).e_tag(two.e_tag().unwrap());
    let missing = missing.checksum_crc64_nvme(Crc64::of(&large).to_base64()).build();
    let error = upload.complete(&[two.clone(), missing], None).unwrap_err();
    assert!(error.is(400, "InvalidPart"), "{error:?}");
    let other = CompletedPart::builder()
        .part_number(2)
        .e_tag(Md5Sum::of(b"other").to_hex());
    let other = other.checksum_crc64_nvme(Crc64::of(&large).to_base64()).build();
    let error = upload.complete(&[other], None).unwrap_err();
    assert!(error.is(400, "InvalidPart"), "{error:?}");
    // One part alone may be small, and parts that are not named are dropped.
    upload.complete(&[one], None).unwrap();
    assert!(sdk.get("a", None).unwrap() == small);
    // Again: refused, or answered as the first time, as AWS and VersityGW do for a while.
    let again = upload.complete(&[two], None);
    assert!(
        again.is_ok() || again.as_ref().is_err_and(|refusal| refusal.is(404, "NoSuchUpload")),
        "{again:?}"
    );
    assert!(sdk.get("a", None).unwrap() == small);
}

fn a_part_can_be_copied_from_an_object(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let data = pattern(2 * PART + 500, 3);
    sdk.put("source", &data);
    let begun = sdk
        .run(sdk.client.create_multipart_upload().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    let id = begun.upload_id().unwrap();
    let source = format!("{}/source", sdk.bucket);
    let copy = |number: i32, range: &str| {
        let copy = sdk.client.upload_part_copy().bucket(&sdk.bucket).key("a").upload_id(id);
        copy.part_number(number).copy_source(&source).copy_source_range(range)
    };
    let ranges = [(1, 100, 100 + PART), (2, PART, 2 * PART + 500)];
    let mut parts = Vec::new();
    for (number, from, to) in ranges {
        let copied = sdk
            .run(copy(number, &format!("bytes={from}-{}", to - 1)).send())
            .unwrap();
        let etag = copied.copy_part_result().unwrap().e_tag().unwrap();
        assert_eq!(bare_etag(etag), Md5Sum::of(&data[from..to]).to_hex());
        parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
    }
    let other = copy(3, "bytes=0-9").copy_source_if_match(format!("\"{}\"", Md5Sum::of(b"other").to_hex()));
    let error = refused(sdk.run(other.send())).unwrap_err();
    assert!(error.is(412, "PreconditionFailed"), "{error:?}");
    let beyond = refused(sdk.run(copy(3, &format!("bytes=0-{}", data.len())).send())).unwrap_err();
    assert!([400, 416].contains(&beyond.status), "{beyond:?}");
    let list = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = sdk
        .client
        .complete_multipart_upload()
        .bucket(&sdk.bucket)
        .key("a")
        .upload_id(id);
    sdk.run(complete.multipart_upload(list).send()).unwrap();
    assert!(sdk.get("a", None).unwrap() == [&data[100..100 + PART], &data[PART..]].concat());
}

fn a_put_on_condition_keeps_what_is_there(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let put = |text: &str| {
        sdk.client
            .put_object()
            .bucket(&sdk.bucket)
            .key("a")
            .body(text.as_bytes().to_vec().into())
    };
    sdk.run(put("one").if_none_match("*").send()).unwrap();
    let refusal = refused(sdk.run(put("two").if_none_match("*").send())).unwrap_err();
    assert!(refusal.is(412, "PreconditionFailed"), "{refusal:?}");
    let etag = |text: &str| format!("\"{}\"", Md5Sum::of(text.as_bytes()).to_hex());
    let refusal = refused(sdk.run(put("two").if_match(etag("other")).send())).unwrap_err();
    assert!(refusal.is(412, "PreconditionFailed"), "{refusal:?}");
    assert_eq!(sdk.get("a", None).unwrap(), b"one");
    sdk.run(put("two").if_match(etag("one")).send()).unwrap();
    assert_eq!(sdk.get("a", None).unwrap(), b"two");
}

fn ranges_are_exact(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let data = pattern(100_000, 9);
    sdk.put("a", &data);
    sdk.put("empty", b"");
    let get = |key: &str, range: &str| {
        let got = refused(sdk.run(sdk.client.get_object().bucket(&sdk.bucket).key(key).range(range).send()))?;
        let told = got.content_range().unwrap().to_owned();
        let len = got.content_length().unwrap();
        let body = sdk.run(got.body.collect()).unwrap().to_vec();
        assert_eq!(body.len() as i64, len);
        Ok::<_, Refusal>((body, told))
    };
    let expected = (data[10..20].to_vec(), "bytes 10-19/100000".to_owned());
    assert_eq!(get("a", "bytes=10-19").unwrap(), expected);
    assert_eq!(get("a", "bytes=99990-200000").unwrap().0, data[99_990..]);
    assert_eq!(get("a", "bytes=-10").unwrap().0, data[99_990..]);
    assert_eq!(get("a", "bytes=50000-").unwrap().0, data[50_000..]);
    let beyond = get("a", "bytes=100000-").unwrap_err();
    assert!(beyond.is(416, "InvalidRange"), "{beyond:?}");
    let empty = get("empty", "bytes=0-").unwrap_err();
    assert!(empty.is(416, "InvalidRange"), "{empty:?}");
}
