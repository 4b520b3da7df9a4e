//! Names to addresses, and a connection to each address.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};
use vastost::config::{Config, Server, Target};
use vastost::engine::process::Engine;
use vastost::error::Error as LibraryError;

use super::report::Report;

/// Every address that takes a connection.
pub fn check(
    config: &Config,
    server: &Server,
    engine: &Engine,
    report: &mut Report,
) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let limit = config.transfer.connect_timeout;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for target in &server.endpoint.targets {
        for address in resolve(target, limit, engine, report)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }

    let mut reached = Vec::new();
    for address in addresses {
        if connect(address, limit, engine, report)? {
            reached.push(address);
        }
    }
    Ok(reached)
}

fn resolve(
    target: &Target,
    limit: Duration,
    engine: &Engine,
    report: &mut Report,
) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        report.pass("name", format!("{target} is an address"))?;
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let asked = (target.host.clone(), target.port);
    let answer = engine.runtime().run(async move {
        let found = tokio::time::timeout(limit, lookup_host(asked)).await;
        Ok::<_, LibraryError>(match found {
            Ok(Ok(found)) => Ok(found.collect::<Vec<_>>()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        })
    })?;

    match answer {
        Ok(found) if !found.is_empty() => {
            let ips: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
            report.pass("name", format!("{} is {}", target.host, ips.join(", ")))?;
            Ok(found)
        }
        other => {
            let why = other.err().unwrap_or_else(|| "no address".into());
            report.fail(
                "name",
                format!("{}: {why}", target.host),
                "correct `endpoints`, or the name in DNS or /etc/hosts",
            )?;
            Ok(Vec::new())
        }
    }
}

fn connect(address: SocketAddr, limit: Duration, engine: &Engine, report: &mut Report) -> Result<bool, Box<dyn Error>> {
    let started = Instant::now();
    let answer = engine.runtime().run(async move {
        let connected = tokio::time::timeout(limit, TcpStream::connect(address)).await;
        Ok::<_, LibraryError>(match connected {
            Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no connection within {limit:?}")),
        })
    })?;

    match answer {
        Ok(()) => {
            let took = started.elapsed().as_secs_f64() * 1000.0;
            report.pass("tcp", format!("{address} connected in {took:.1} ms"))?;
            Ok(true)
        }
        Err(why) => {
            let advice = "check that the cluster's address is up, the port right, and no firewall in between";
            report.fail("tcp", format!("{address}: {why}"), advice)?;
            Ok(false)
        }
    }
}
