//! Object Lock, as the SDK sees it. Locks of these cases are GOVERNANCE, or end within seconds, so that nothing stays.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus,
    ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
};
use vastost::engine::checksum::Md5Sum;

use super::on_every_server;
use crate::sdk::{Refusal, Sdk, refused};
use vastost_testkit::test_store::{Site, Wish};

on_every_server!(
    a_locked_version_stays_and_a_marker_may_hide_it,
    governance_gives_way_to_the_bypass_and_compliance_does_not,
    a_retention_may_grow_and_not_shrink,
    a_legal_hold_holds_while_it_is_on,
    the_default_retention_of_a_bucket_is_that_of_its_objects,
    a_bucket_without_object_lock_takes_no_locks,
);

/// A server's way to say that a version is locked: AWS and this one, then MinIO.
fn is_locked(refusal: &Refusal) -> bool {
    refusal.is(403, "AccessDenied") || refusal.is(400, "InvalidRequest")
}

fn from_now(time: Duration) -> DateTime {
    DateTime::from(SystemTime::now() + time)
}

const DAY: Duration = Duration::from_secs(86_400);

fn put_locked(sdk: &Sdk, key: &str, mode: ObjectLockMode, time: Duration) -> String {
    let put = sdk
        .client
        .put_object()
        .bucket(&sdk.bucket)
        .key(key)
        .body(key.as_bytes().to_vec().into());
    let put = put.content_md5(Md5Sum::of(key.as_bytes()).to_base64());
    let put = put.object_lock_mode(mode).object_lock_retain_until_date(from_now(time));
    sdk.run(put.send()).unwrap().version_id().unwrap().to_owned()
}

fn bypass(sdk: &Sdk, key: &str, id: &str) -> Result<(), Refusal> {
    let delete = sdk.client.delete_object().bucket(&sdk.bucket).key(key).version_id(id);
    refused(sdk.run(delete.bypass_governance_retention(true).send())).map(drop)
}

fn retain(sdk: &Sdk, key: &str, id: &str, time: Duration, bypass: bool) -> Result<(), Refusal> {
    let retention = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Governance);
    let retention = retention.retain_until_date(from_now(time)).build();
    let put = sdk
        .client
        .put_object_retention()
        .bucket(&sdk.bucket)
        .key(key)
        .version_id(id)
        .retention(retention);
    refused(sdk.run(put.set_bypass_governance_retention(bypass.then_some(true)).send())).map(drop)
}

fn a_locked_version_stays_and_a_marker_may_hide_it(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_lock(&site);
    let id = put_locked(&sdk, "a", ObjectLockMode::Governance, DAY);
    let refusal = sdk.delete("a", Some(&id)).unwrap_err();
    assert!(is_locked(&refusal), "{refusal:?}");
    let head = sdk
        .run(sdk.client.head_object().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
    let until = head.object_lock_retain_until_date().unwrap().secs() - from_now(DAY).secs();
    assert!(until.abs() < 60, "{until} s");
    // A put of the key makes another version; a plain delete hides both.
    sdk.put("a", b"other");
    let (is_marker, _) = sdk.delete("a", None).unwrap();
    assert!(is_marker);
    assert_eq!(sdk.get("a", Some(&id)).unwrap(), b"a");
    bypass(&sdk, "a", &id).unwrap();
}

fn governance_gives_way_to_the_bypass_and_compliance_does_not(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_lock(&site);
    let governed = put_locked(&sdk, "a", ObjectLockMode::Governance, DAY);
    bypass(&sdk, "a", &governed).unwrap();
    assert_eq!(sdk.get("a", Some(&governed)).unwrap_err().status, 404);
    // Both servers keep whole seconds: three are more than two.
    let complied = put_locked(&sdk, "b", ObjectLockMode::Compliance, Duration::from_secs(4));
    let refusal = bypass(&sdk, "b", &complied).unwrap_err();
    assert!(is_locked(&refusal), "{refusal:?}");
    crate::writer::until("the end of the retention", || sdk.delete("b", Some(&complied)).is_ok());
}

fn a_retention_may_grow_and_not_shrink(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_lock(&site);
    let id = sdk.put("a", b"a");
    let none = sdk.client.get_object_retention().bucket(&sdk.bucket).key("a").send();
    let none = refused(sdk.run(none)).unwrap_err();
    // 404 by AWS's list of errors; MinIO and VersityGW say 400.
    assert_eq!(none.code, "NoSuchObjectLockConfiguration", "{none:?}");
    retain(&sdk, "a", &id, DAY, false).unwrap();
    retain(&sdk, "a", &id, 2 * DAY, false).unwrap();
    let refusal = retain(&sdk, "a", &id, DAY, false).unwrap_err();
    assert!(is_locked(&refusal), "{refusal:?}");
    let kept = sdk
        .run(sdk.client.get_object_retention().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    assert_eq!(
        kept.retention().unwrap().mode(),
        Some(&ObjectLockRetentionMode::Governance)
    );
    assert!(kept.retention().unwrap().retain_until_date().unwrap().secs() > from_now(DAY).secs() + 3600);
    retain(&sdk, "a", &id, DAY, true).unwrap();
    bypass(&sdk, "a", &id).unwrap();
}

fn a_legal_hold_holds_while_it_is_on(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_lock(&site);
    let id = sdk.put("a", b"a");
    let set = |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        sdk.run(
            sdk.client
                .put_object_legal_hold()
                .bucket(&sdk.bucket)
                .key("a")
                .legal_hold(hold)
                .send(),
        )
        .unwrap();
    };
    set(ObjectLockLegalHoldStatus::On);
    let head = sdk
        .run(sdk.client.head_object().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    assert_eq!(
        head.object_lock_legal_hold_status(),
        Some(&ObjectLockLegalHoldStatus::On)
    );
    let refusal = bypass(&sdk, "a", &id).unwrap_err();
    assert!(is_locked(&refusal), "{refusal:?}");
    set(ObjectLockLegalHoldStatus::Off);
    let hold = sdk
        .run(sdk.client.get_object_legal_hold().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    assert_eq!(
        hold.legal_hold().unwrap().status(),
        Some(&ObjectLockLegalHoldStatus::Off)
    );
    sdk.delete("a", Some(&id)).unwrap();
}

fn the_default_retention_of_a_bucket_is_that_of_its_objects(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::with_lock(&site);
    let none = sdk
        .run(sdk.client.get_object_lock_configuration().bucket(&sdk.bucket).send())
        .unwrap();
    let none = none.object_lock_configuration().unwrap();
    assert_eq!(
        (none.object_lock_enabled(), none.rule().is_some()),
        (Some(&ObjectLockEnabled::Enabled), false)
    );
    let default = DefaultRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .days(2)
        .build();
    let rule = ObjectLockRule::builder().default_retention(default).build();
    let wanted = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(rule)
        .build();
    let put = sdk
        .client
        .put_object_lock_configuration()
        .bucket(&sdk.bucket)
        .object_lock_configuration(wanted.clone());
    sdk.run(put.send()).unwrap();
    let is = sdk
        .run(sdk.client.get_object_lock_configuration().bucket(&sdk.bucket).send())
        .unwrap();
    assert_eq!(is.object_lock_configuration(), Some(&wanted));
    let id = sdk.put("a", b"a");
    let head = sdk
        .run(sdk.client.head_object().bucket(&sdk.bucket).key("a").send())
        .unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Governance));
    let off = head.object_lock_retain_until_date().unwrap().secs() - from_now(2 * DAY).secs();
    assert!(off.abs() < 60, "{off} s");
    bypass(&sdk, "a", &id).unwrap();
}

fn a_bucket_without_object_lock_takes_no_locks(wish: &Wish) {
    let site = Site::new(wish);
    let sdk = Sdk::new(&site);
    let none = sdk.client.get_object_lock_configuration().bucket(&sdk.bucket).send();
    let none = refused(sdk.run(none)).unwrap_err();
    assert!(none.is(404, "ObjectLockConfigurationNotFoundError"), "{none:?}");
    let put = sdk
        .client
        .put_object()
        .bucket(&sdk.bucket)
        .key("a")
        .body(b"a".to_vec().into());
    let put = put
        .content_md5(Md5Sum::of(b"a").to_base64())
        .object_lock_mode(ObjectLockMode::Governance);
    let refusal = refused(sdk.run(put.object_lock_retain_until_date(from_now(DAY)).send())).unwrap_err();
    assert!(refusal.is(400, "InvalidRequest"), "{refusal:?}");
    assert_eq!(sdk.get("a", None).unwrap_err().status, 404);
}
