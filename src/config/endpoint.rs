//! Where a server answers: one name for Host, SNI and signature, and the addresses behind it.

use std::fmt;

/// The endpoint of one server. The first URL's host and port are its name; every URL's host is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// At least one: what connections are spread over. A name is resolved again whenever one is dialled.
    pub targets: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// Makes one endpoint of several URLs of one scheme; the error says what a valid URL is.
    pub fn parse(urls: &[impl AsRef<str>]) -> Result<Self, String> {
        let mut parsed = Vec::with_capacity(urls.len());
        for url in urls {
            parsed.push(parse_url(url.as_ref())?);
        }
        let Some((https, first)) = parsed.first().cloned() else {
            return Err("at least one URL such as \"https://s3.vast.example.com\"".into());
        };
        if parsed.iter().any(|(scheme, _)| *scheme != https) {
            return Err("URLs of one scheme: all https or all http".into());
        }
        let targets = parsed.into_iter().map(|(_, target)| target).collect();
        Ok(Self {
            https,
            host: first.host,
            port: first.port,
            targets,
        })
    }

    /// `https://host[:port]`, the port only when it is not the scheme's own.
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// `host[:port]` as it stands in the Host header and in signatures.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn parse_url(url: &str) -> Result<(bool, Target), String> {
    const VALID: &str = "a URL of scheme, host and optional port only, such as \"https://s3.vast.example.com:443\"";
    let uri: http::Uri = url.parse().map_err(|_| VALID.to_owned())?;
    let https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(VALID.into()),
    };
    let authority = uri.authority().ok_or(VALID)?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
    // `Authority` accepts `host:` and `host:99999` and only drops the port.
    let port_given = authority
        .as_str()
        .rsplit_once(':')
        .is_some_and(|(_, tail)| !tail.ends_with(']'));
    if !bare || authority.host().is_empty() || (port_given && authority.port_u16().is_none_or(|port| port == 0)) {
        return Err(VALID.into());
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    Ok((https, Target { host, port }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_url_names_and_all_are_targets() {
        let endpoint =
            Endpoint::parse(&["https://s3.example.com", "https://10.0.0.1", "https://10.0.0.2:8443/"]).unwrap();
        assert_eq!(endpoint.url(), "https://s3.example.com");
        let targets: Vec<_> = endpoint.targets.iter().map(ToString::to_string).collect();
        assert_eq!(targets, ["s3.example.com:443", "10.0.0.1:443", "10.0.0.2:8443"]);
        assert_eq!(
            Endpoint::parse(&["http://[::1]:9000"]).unwrap().url(),
            "http://[::1]:9000"
        );
    }

    #[test]
    fn urls_with_path_user_or_wrong_port_are_refused() {
        for url in [
            "s3.example.com",
            "ftp://x",
            "http://",
            "http://x/bucket",
            "http://u:p@x",
            "http://x:99999",
            "http://x?y",
        ] {
            assert!(Endpoint::parse(&[url]).is_err(), "{url}");
        }
        assert!(Endpoint::parse(&["http://x", "https://y"]).is_err());
        assert!(Endpoint::parse(&[] as &[&str]).is_err());
    }
}
