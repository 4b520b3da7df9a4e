//! An S3 client that is not ours: curl, which signs requests itself. What it puts and removes, nobody told the plug-in.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use vastost::config::Bucket;
use vastost_testkit::test_store::Site;

/// Keys that a server gives for an hour.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
}

/// One bucket behind the plug-in's back.
pub struct Foreign {
    url: String,
    bucket: Bucket,
    user: String,
}

/// curl's answer: status, headers in lower case, body.
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Foreign {
    pub fn new(site: &Site) -> Self {
        let user = format!("{}:{}", site.keys.access_key_id, site.keys.secret_access_key);
        Self {
            url: site.url.clone(),
            bucket: site.bucket.clone(),
            user,
        }
    }

    /// Puts an object with the given headers, such as `x-amz-meta-…`.
    pub fn put(&self, key: &str, body: &[u8], headers: &[(String, String)]) {
        self.send("PUT", &self.place(key), headers, Some(body)).expect(200);
    }

    pub fn get(&self, key: &str) -> Vec<u8> {
        self.send("GET", &self.place(key), &[], None).expect(200).body
    }

    pub fn get_json(&self, key: &str) -> serde_json::Value {
        serde_json::from_slice(&self.get(key)).expect("JSON")
    }

    pub fn delete(&self, key: &str) {
        self.send("DELETE", &self.place(key), &[], None).expect(204);
    }

    /// The object's own metadata, as headers that [`Foreign::put`] takes.
    pub fn metadata(&self, key: &str) -> Vec<(String, String)> {
        let headers = self.send("HEAD", &self.place(key), &[], None).expect(200).headers;
        headers
            .into_iter()
            .filter(|(name, _)| name.starts_with("x-amz-meta-"))
            .collect()
    }

    pub fn etag(&self, key: &str) -> String {
        let headers = self.send("HEAD", &self.place(key), &[], None).expect(200).headers;
        let etag = headers.into_iter().find(|(name, _)| name == "etag").expect("an ETag").1;
        etag.trim_matches('"').to_owned()
    }

    /// Copies an object within the bucket and gives the copy other metadata.
    pub fn copy_with(&self, from: &str, to: &str, metadata: &[(String, String)]) {
        let mut headers = vec![
            (
                "x-amz-copy-source".to_owned(),
                format!("/{}/{}", self.bucket, encode(from)),
            ),
            ("x-amz-metadata-directive".to_owned(), "REPLACE".to_owned()),
        ];
        headers.extend_from_slice(metadata);
        self.send("PUT", &self.place(to), &headers, None).expect(200);
    }

    /// Begins a multipart upload, gives its id.
    pub fn begin_upload(&self, key: &str) -> String {
        let body = self
            .send("POST", &format!("{}?uploads=", self.place(key)), &[], None)
            .expect(200)
            .body;
        between(&String::from_utf8_lossy(&body), "UploadId").remove(0)
    }

    /// The keys of all unfinished uploads.
    pub fn uploads(&self) -> Vec<String> {
        let body = self
            .send("GET", &format!("{}/{}?uploads=", self.url, self.bucket), &[], None)
            .expect(200)
            .body;
        between(&String::from_utf8_lossy(&body), "Key")
    }

    /// Every key that begins with `prefix`, with what changes when the object does.
    pub fn list(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut after = String::new();
        loop {
            // curl signs the query in the order that it is given: by name.
            let query = format!(
                "list-type=2&prefix={}&start-after={}",
                encode_all(prefix),
                encode_all(&after)
            );
            let reply = self
                .send("GET", &format!("{}/{}?{query}", self.url, self.bucket), &[], None)
                .expect(200);
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            for object in between(&text, "Contents") {
                let of = |name| between(&object, name).pop().unwrap_or_default();
                after = of("Key");
                found.insert(
                    after.clone(),
                    format!("{} {} {}", of("LastModified"), of("ETag"), of("Size")),
                );
            }
            if !text.contains("<IsTruncated>true<") {
                return found;
            }
        }
    }

    /// Temporary keys with the rights of `policy` alone, as an administrator would hand them to an auditor.
    #[cfg_attr(not(feature = "minio-tests"), allow(dead_code))]
    pub fn assume_role(&self, policy: &serde_json::Value) -> SessionKeys {
        let form = format!(
            "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600&Policy={}",
            encode_all(&policy.to_string())
        );
        let output = Command::new("curl")
            .args([
                "-sS",
                "--fail-with-body",
                "--aws-sigv4",
                "aws:amz:us-east-1:sts",
                "-u",
                &self.user,
            ])
            .args(["-d", &form, &format!("{}/", self.url)])
            .output()
            .expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let of = |name| between(&text, name).remove(0);
        SessionKeys {
            access_key_id: of("AccessKeyId"),
            secret_access_key: of("SecretAccessKey"),
            session_token: of("SessionToken"),
        }
    }

    fn place(&self, key: &str) -> String {
        format!("{}/{}/{}", self.url, self.bucket, encode(key))
    }

    fn send(&self, method: &str, url: &str, headers: &[(String, String)], body: Option<&[u8]>) -> Reply {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", &self.user]);
        curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        match method {
            "HEAD" => curl.arg("-I"),
            _ => curl.args(["-D", "-", "-X", method]),
        };
        if body.is_some() {
            curl.args(["-H", "content-type: application/octet-stream", "--data-binary", "@-"]);
        }
        for (name, value) in headers {
            // Some versions of curl cannot sign a header without a value.
            assert!(!value.is_empty(), "{name} has no value");
            curl.args(["-H", &format!("{name}: {value}")]);
        }
        curl.arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = curl.spawn().expect("curl is installed");
        let mut stdin = child.stdin.take().expect("stdin");
        let owned = body.unwrap_or_default().to_vec();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&owned)));
        let output = child.wait_with_output().expect("curl ends");
        feeder.join().expect("feeder");
        assert!(
            output.status.success(),
            "curl {method} {url}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Reply::parse(&output.stdout)
    }
}

impl Reply {
    fn parse(output: &[u8]) -> Self {
        let interim = output.starts_with(b"HTTP/1.1 100");
        let output = if interim {
            &output[b"HTTP/1.1 100 Continue\r\n\r\n".len()..]
        } else {
            output
        };
        let end = output
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("the end of the headers");
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status");
        let split = |line: &str| {
            line.split_once(':')
                .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        };
        let headers = head.lines().skip(1).filter_map(split).collect();
        Self {
            status,
            headers,
            body: output[end + 4..].to_vec(),
        }
    }

    fn expect(self, status: u16) -> Self {
        // A delete is answered with 200 by some servers.
        let good = self.status == status || (status == 204 && self.status == 200);
        assert!(good, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

/// What lies between the tags of that name.
fn between(xml: &str, tag: &str) -> Vec<String> {
    let open = format!("<{tag}>");
    let close = format!("</{tag}>");
    let rest = xml.split(&open).skip(1);
    rest.filter_map(|rest| rest.split_once(&close))
        .map(|(text, _)| text.replace("&#34;", "\""))
        .collect()
}

/// A key as a path; slashes stay.
fn encode(key: &str) -> String {
    encode_all(key).replace("%2F", "/")
}

fn encode_all(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
