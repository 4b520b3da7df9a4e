//! What is measured: every combination that the options name and the configuration can do.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vastost::catalog::lsu::Capabilities;
use vastost::catalog::lsu::Lsu;
use vastost::config::{Config, Integrity, Transfer, show, size_text};

use super::options::{Options, Wire};
use crate::init::files;
use crate::output::human_size;
use crate::site::{Plugin, Site};
use crate::temporary::TemporaryFolder;

/// The most that all streams of a combination write without `--size`: five seconds of 6 GiB/s.
const BYTES_MAX: u64 = 32 << 30;

/// One setting of the engine and a number of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Combination {
    pub wire: Wire,
    pub part_size: u64,
    pub parts_in_flight: usize,
    pub streams: usize,
}

/// All that is to be measured.
pub struct Plan {
    pub combinations: Vec<Combination>,
    /// What the configuration does not allow, and why.
    pub left_out: Vec<String>,
}

impl Plan {
    pub fn new(config: &Config, options: &Options, capabilities: Capabilities) -> Result<Self, Box<dyn Error>> {
        let mut plan = Self {
            combinations: Vec::new(),
            left_out: Vec::new(),
        };
        for combination in all(config, options, &wires(options, capabilities)?) {
            match combination.fits(config) {
                Ok(()) => plan.combinations.push(combination),
                Err(why) if plan.left_out.contains(&why) => {}
                Err(why) => plan.left_out.push(why),
            }
        }
        if plan.combinations.is_empty() {
            return Err(format!("nothing can be measured: {}", plan.left_out.join("; ")).into());
        }
        Ok(plan)
    }

    /// The most that the LSU holds at one time. Without `--size` it is the free room, up to a limit.
    pub fn bytes(&self, options: &Options, lsu: &Lsu) -> Result<u64, Box<dyn Error>> {
        let streams = self
            .combinations
            .iter()
            .map(|combination| combination.streams as u64)
            .max()
            .unwrap_or(1);
        let needed = options.size.map(|size| size.saturating_mul(streams));
        let Some(room) = room(lsu) else {
            return Ok(needed.unwrap_or(BYTES_MAX));
        };
        // Less than two parts for each stream would say nothing about parts.
        let parts = self
            .combinations
            .iter()
            .map(|c| 2 * c.part_size * c.streams as u64)
            .max()
            .unwrap_or_default();
        let needed = needed.unwrap_or(parts);

        if needed > room {
            let name = &lsu.config().name;
            let needed = human_size(needed);
            let room = human_size(room);
            let advice = "measure with a smaller --size or fewer --streams";
            return Err(format!("LSU {name} has room for {room}, and the bench needs {needed}; {advice}").into());
        }

        Ok(if options.size.is_some() {
            needed
        } else {
            room.min(BYTES_MAX)
        })
    }
}

impl Combination {
    /// The plug-in, new, with this setting in force. The file with it is read once, so it is gone when this returns.
    pub fn plugin(&self, site: &Site) -> Result<Plugin, Box<dyn Error>> {
        let folder = TemporaryFolder::new("bench")?;
        let path = self.write_config(&site.config, &folder)?;
        Site {
            config: Config::load(&path)?,
            server: site.server.clone(),
        }
        .plugin()
    }

    fn write_config(&self, config: &Config, folder: &TemporaryFolder) -> Result<PathBuf, Box<dyn Error>> {
        let path = folder.path().join("vastost.toml");
        files::write(&path, &show(&self.config(config)), 0o600, false)?;
        Ok(path)
    }

    /// The administrator's configuration with this setting in it.
    fn config(&self, config: &Config) -> Config {
        let transfer = Transfer {
            part_size_bytes: self.part_size,
            parts_in_flight: self.parts_in_flight,
            parts_in_flight_max: self.parts_in_flight,
            read_ahead_parts: self.parts_in_flight,
            connections: self.connections(config),
            ..config.transfer.clone()
        };
        Config {
            transfer,
            integrity: Integrity {
                wire: self.wire.choice(),
                ..config.integrity.clone()
            },
            ..config.clone()
        }
    }

    /// As configured, or one for each part that can be under way.
    pub fn connections(&self, config: &Config) -> usize {
        config
            .transfer
            .connections
            .max(self.streams * self.parts_in_flight)
            .min(4096)
    }

    fn fits(&self, config: &Config) -> Result<(), String> {
        let budget = config.pool.budget_bytes;
        let part_size = size_text(self.part_size);
        let needed = self.part_size * self.streams as u64;
        if needed > budget {
            let streams = self.streams;
            let needed = human_size(needed);
            let budget = size_text(budget);
            return Err(format!(
                "{streams} streams with parts of {part_size} need {needed}; [pool] budget is {budget}"
            ));
        }
        let text = show(&self.config(config));
        let wrong = |error| format!("parts of {part_size} do not fit the configuration: {error}");
        Config::parse(&text, Path::new("bench")).map(drop).map_err(wrong)
    }
}

/// Modes outside, streams inside: related runs are listed together.
fn all(config: &Config, options: &Options, wires: &[Wire]) -> Vec<Combination> {
    let configured = [config.transfer.parts_in_flight];
    let in_flight = if options.in_flight.is_empty() {
        &configured[..]
    } else {
        &options.in_flight
    };
    let mut all = Vec::new();

    for wire in wires {
        for part_size in &options.part_size {
            for parts_in_flight in in_flight {
                all.extend(options.streams.iter().map(|streams| Combination {
                    wire: *wire,
                    part_size: *part_size,
                    parts_in_flight: *parts_in_flight,
                    streams: *streams,
                }));
            }
        }
    }

    all
}

fn wires(options: &Options, capabilities: Capabilities) -> Result<Vec<Wire>, Box<dyn Error>> {
    if options.wire.is_empty() {
        return Ok(Wire::ALL
            .into_iter()
            .filter(|wire| wire.is_done_by(capabilities))
            .collect());
    }
    match options.wire.iter().find(|wire| !wire.is_done_by(capabilities)) {
        None => Ok(options.wire.clone()),
        Some(wire) => Err(format!(
            "the endpoint is not proven to check {}; leave it out of --wire",
            wire.name()
        )
        .into()),
    }
}

/// What the LSU can still take; None when its capacity is not known.
fn room(lsu: &Lsu) -> Option<u64> {
    let capacity = lsu.config().capacity_bytes;
    let used = lsu.usage().map_or(0, |usage| usage.bytes);
    (capacity > 0).then(|| capacity.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_setting_changes_nothing_else_and_its_file_is_private() {
        let text = include_str!("../../../config/vastost.toml");
        let config = Config::parse(text, Path::new("/etc/vastost/vastost.toml")).unwrap();
        let setting = Combination {
            wire: Wire::None,
            part_size: 32 << 20,
            parts_in_flight: 8,
            streams: 16,
        };

        let folder = TemporaryFolder::new("bench").unwrap();
        let path = setting.write_config(&config, &folder).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(folder.path()).unwrap().mode() & 0o7777, 0o700);
        let mut read = Config::load(&path).unwrap();
        assert_eq!(
            (read.transfer.part_size_bytes, read.transfer.parts_in_flight),
            (32 << 20, 8)
        );
        assert_eq!((read.transfer.read_ahead_parts, read.transfer.connections), (8, 128));
        assert_eq!(
            read.integrity,
            Integrity {
                wire: vastost::config::WireChoice::None,
                ..vastost::config::Integrity::default()
            }
        );
        (read.path, read.transfer, read.integrity) =
            (config.path.clone(), config.transfer.clone(), config.integrity.clone());
        assert_eq!(format!("{read:?}"), format!("{config:?}"));
        drop(folder);
        assert!(!path.exists());
    }
}
