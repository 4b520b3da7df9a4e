use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::config::Config;
use crate::metrics::registry::Metrics;
use crate::metrics::request::ServerMetrics;
use crate::net::dialer::Dialler;
use crate::net::tls::Trust;

fn keys_file(path: &Path, id: &str) {
    let pair = KeyPair {
        access_key_id: id.into(),
        secret_access_key: "s".into(),
        session_token: Some("t".into()),
    };
    let draft = path.with_extension("new");
    std::fs::write(&draft, pair.to_file_text()).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(draft, path).unwrap();
}

fn keys(path: &Path) -> Keys {
    let text = format!(
        "[server.v]\nendpoints = [\"http://127.0.0.1:9\"]\ncredentials = {{ source = \"file\", file = \"{}\" }}\n",
        path.display()
    );
    let config = Config::parse(&text, Path::new("/x/vastost.toml")).unwrap();
    let server = config.server("v").unwrap();
    let metrics = ServerMetrics::new(&Arc::new(Metrics::new()), server);
    let dialler = Dialler::new(&server.endpoint, Trust::default(), &config.transfer, &config.retry);
    Keys::new(server, None, &Transport::new(dialler, &config.transfer, metrics)).unwrap()
}

/// As if the last time were longer ago.
fn age(keys: &Keys, by: Duration) {
    let mut held = keys.held();
    held.read = held.read.map(|at| at - by);
    held.looked = held.looked.map(|at| at - by);
    held.changed = held.changed.map(|at| at - by);
}

async fn id(keys: &Keys) -> String {
    let credentials = keys.credentials().await.unwrap();
    assert_eq!(credentials.session_token(), Some("t"));
    credentials.access_key_id().to_owned()
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_one_that_cannot_be_read_leaves_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    keys_file(&path, "first");
    let keys = keys(&path);
    assert_eq!(id(&keys).await, "first");
    keys_file(&path, "second");
    assert_eq!(id(&keys).await, "first", "not looked at again yet");
    age(&keys, LOOK * 2);
    assert_eq!(id(&keys).await, "second");
    std::fs::write(&path, "half a fi").unwrap();
    age(&keys, LOOK * 2);
    assert_eq!(id(&keys).await, "second");
    keys_file(&path, "third");
    age(&keys, LOOK * 2);
    assert_eq!(id(&keys).await, "third");
}

#[tokio::test]
async fn a_refusal_asks_the_source_at_once_and_pays_for_a_try_only_when_there_are_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    keys_file(&path, "first");
    let keys = keys(&path);
    assert_eq!(id(&keys).await, "first");
    assert!(!keys.were_refused(), "they are the only keys there are");
    keys_file(&path, "second");
    assert!(
        keys.were_refused() && keys.were_refused(),
        "all that were sent with the old ones go again"
    );
    assert_eq!(id(&keys).await, "second");
    assert!(keys.were_refused(), "and those that come back late");
    age(&keys, UNDER_WAY * 2);
    assert!(!keys.were_refused());
}

#[test]
fn answers_that_refuse_keys_are_known_by_status_or_code() {
    let refuses = |status: u16, body: &'static str| {
        let body = aws_smithy_types::body::SdkBody::from(body);
        refuses_keys(&HttpResponse::new(status.try_into().unwrap(), body))
    };
    assert!(refuses(403, "") && refuses(401, ""));
    assert!(refuses(400, "<Error><Code>ExpiredToken</Code></Error>"));
    assert!(!refuses(400, "<Error><Code>InvalidArgument</Code></Error>") && !refuses(404, ""));
}
