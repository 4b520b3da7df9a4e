//! As much of WebDriver as the tests need, over chromedriver's HTTP.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A headless Chromium with a profile of its own; ends with this value.
pub struct Browser {
    driver: Child,
    /// Kept open: a driver that cannot write would end.
    _stdout: BufReader<ChildStdout>,
    port: u16,
    session: String,
    _profile: TempDir,
}

pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// Different colours.
    pub colours: usize,
}

impl Browser {
    pub fn start() -> Self {
        let (driver, stdout, port) = start_driver();
        let profile = TempDir::new().unwrap();
        let mut browser = Self {
            driver,
            _stdout: stdout,
            port,
            session: String::new(),
            _profile: profile,
        };
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1360,900",
            &format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let session = browser.request("POST", "/session", &wanted);
        browser.session = session["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {session}"))
            .into();
        browser
    }

    pub fn go(&self, url: &str) {
        self.call("url", &json!({ "url": url }));
    }

    /// Runs a script; its `return` is the value.
    pub fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub fn click(&self, selector: &str) {
        let element = self.call("element", &json!({ "using": "css selector", "value": selector }));
        let id = element
            .as_object()
            .and_then(|element| element.values().next())
            .and_then(Value::as_str);
        self.call(
            &format!("element/{}/click", id.unwrap_or_else(|| panic!("{element}"))),
            &json!({}),
        );
    }

    /// Every address that the document at `url` asked for; the browser's own pages before it do not count.
    pub fn requests_of(&self, url: &str) -> Vec<String> {
        let events = self
            .log("performance")
            .into_iter()
            .map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let asked = sent
            .map(|event| event["message"]["params"].clone())
            .filter(|asked| asked["documentURL"] == url);
        let requests: Vec<_> = asked
            .map(|asked| asked["request"]["url"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            !requests.is_empty(),
            "not even the page itself was seen: the log does not work"
        );
        requests
    }

    /// What the page said on its console.
    pub fn console(&self) -> Vec<String> {
        self.log("browser")
    }

    pub fn screenshot(&self) -> Picture {
        let text = self.request("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text.as_str().unwrap())
            .unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        let colours: std::collections::HashSet<_> = pixels.chunks(frame.color_type.samples()).collect();
        Picture {
            width: frame.width,
            height: frame.height,
            colours: colours.len(),
        }
    }

    fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.call("se/log", &json!({ "type": kind }));
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    fn call(&self, command: &str, body: &Value) -> Value {
        self.request("POST", &format!("/session/{}/{command}", self.session), body)
    }

    /// The `value` of the answer.
    fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.exchange(method, path, body).unwrap();
        assert!(answer["value"]["error"].is_null(), "{method} {path}: {answer}");
        answer["value"].clone()
    }

    /// One request on a connection of its own.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let port = self.port;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
        let about = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &about + &body).as_bytes())?;
        read_answer(&mut BufReader::new(stream))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also when a test has failed: the driver's end alone would leave the browser behind.
        drop(self.exchange("DELETE", &format!("/session/{}", self.session), &Value::Null));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<Value> {
    let mut length = 0;
    for line in reader.by_ref().lines() {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// A chromedriver and its port. It takes a free IPv4 port, wants the same on IPv6, and ends when another program has that.
fn start_driver() -> (Child, BufReader<ChildStdout>, u16) {
    let mut said = String::new();
    for _ in 0..5 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts: apt-get install chromium chromium-driver");
        let mut stdout = BufReader::new(driver.stdout.take().unwrap());
        if let Some(port) = port_of(&mut stdout, &mut said) {
            return (driver, stdout, port);
        }
        drop(driver.kill());
        drop(driver.wait());
    }
    panic!("chromedriver started five times without a port:\n{said}");
}

/// The port that chromedriver says it has taken, none where it ends instead. What it says goes to `said`.
fn port_of(stdout: &mut impl BufRead, said: &mut String) -> Option<u16> {
    loop {
        let from = said.len();
        if stdout.read_line(said).unwrap() == 0 {
            return None;
        }
        let line = said[from..].trim_end().trim_end_matches('.');
        if line.contains("started successfully on port ") {
            return Some(line.rsplit(' ').next().unwrap().parse().unwrap());
        }
    }
}
