//! The effective configuration as text, for `vastost-s3 config show`.

use std::fmt::Write;

use super::credentials::Source;
use super::value::time_text;
use super::{Config, LogFormat, Rotation, Server, WireChoice, size_text};

/// A valid `vastost.toml` with every key at the value in force. It can hold no secret: [`Config`] has none.
pub fn show(config: &Config) -> String {
    let mut text = format!("state_dir = {}\n", quote(&config.state_dir.display().to_string()));
    for server in config.servers.values() {
        show_server(&mut text, server);
    }
    show_engine(&mut text, config);
    text
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn show_server(text: &mut String, server: &Server) {
    let scheme = if server.endpoint.https { "https" } else { "http" };
    let urls: Vec<_> = server
        .endpoint
        .targets
        .iter()
        .map(|target| quote(&format!("{scheme}://{target}")))
        .collect();
    let _ = writeln!(
        text,
        "\n[server.{}]\nendpoints = [{}]\nregion = {}",
        quote(&server.name),
        urls.join(", "),
        quote(&server.region)
    );
    if let Some(prefix) = &server.bucket_prefix {
        let _ = writeln!(text, "bucket_prefix = {}", quote(prefix));
    }
    if let Some(file) = &server.tls.ca_file {
        let _ = writeln!(text, "tls.ca_file = {}", quote(&file.display().to_string()));
    }
    if let Some(name) = &server.tls.server_name {
        let _ = writeln!(text, "tls.server_name = {}", quote(name));
    }
    let _ = match &server.credentials {
        Source::NetBackup => writeln!(text, "credentials.source = \"netbackup\""),
        Source::Aws => writeln!(text, "credentials.source = \"aws\""),
        Source::File(path) => {
            writeln!(
                text,
                "credentials = {{ source = \"file\", file = {} }}",
                quote(&path.display().to_string())
            )
        }
        Source::Profile(name) => writeln!(
            text,
            "credentials = {{ source = \"profile\", profile = {} }}",
            quote(name)
        ),
    };

    for lsu in &server.lsus {
        let _ = writeln!(text, "\n[[server.{}.lsu]]", quote(&server.name));
        let _ = writeln!(text, "name = {}\nbucket = {}", quote(&lsu.name), quote(&lsu.bucket));
        let _ = writeln!(
            text,
            "prefix = {}\ndescription = {}",
            quote(&lsu.prefix),
            quote(&lsu.description)
        );
        let _ = writeln!(text, "capacity = {}", quote(&size_text(lsu.capacity_bytes)));
    }
}

fn show_engine(text: &mut String, config: &Config) {
    let transfer = &config.transfer;
    let retry = &config.retry;
    let wire = match config.integrity.wire {
        WireChoice::Auto => "auto",
        WireChoice::Crc64Nvme => "crc64nvme",
        WireChoice::Md5 => "md5",
        WireChoice::None => "none",
    };

    let _ = writeln!(text, "\n[transfer]");
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("part_size", quote(&size_text(transfer.part_size_bytes)));
    line("image_size_max", quote(&size_text(transfer.image_size_max_bytes)));
    line("parts_in_flight", transfer.parts_in_flight.to_string());
    line("parts_in_flight_max", transfer.parts_in_flight_max.to_string());
    line("read_ahead_parts", transfer.read_ahead_parts.to_string());
    line("connections", transfer.connections.to_string());
    line("connection_max_age", quote(&time_text(transfer.connection_max_age)));
    line("connection_idle", quote(&time_text(transfer.connection_idle)));
    line("connect_timeout", quote(&time_text(transfer.connect_timeout)));
    line("ack_timeout", quote(&time_text(transfer.ack_timeout)));
    line("io_threads", transfer.io_threads.to_string());
    line("writer_lease", quote(&time_text(transfer.writer_lease)));
    line("\n[pool]\nbudget", quote(&size_text(config.pool.budget_bytes)));
    line("\n[integrity]\nwire", quote(wire));
    line("second_look", quote(&time_text(config.integrity.second_look)));
    line("\n[retry]\nattempts", retry.attempts.to_string());
    line("backoff_initial", quote(&time_text(retry.backoff_initial)));
    line("backoff_max", quote(&time_text(retry.backoff_max)));
    line("token_bucket", retry.token_bucket.to_string());
    line("floor_rate", quote(&size_text(retry.floor_rate_bytes)));
    line("attempt_timeout", quote(&time_text(retry.attempt_timeout)));
    line("stall_timeout", quote(&time_text(retry.stall_timeout)));
    line("operation_timeout", quote(&time_text(retry.operation_timeout)));
    line("hedge_percent", retry.hedge_percent.to_string());
    line("\n[metrics]\ninterval", quote(&time_text(config.metrics.interval)));
    if let Some(dir) = &config.metrics.dir {
        line("dir", quote(&dir.display().to_string()));
    }
    line("\n[log]\nlevel", quote(&config.log.level));
    let format = if config.log.format == LogFormat::Json {
        "json"
    } else {
        "text"
    };
    line("format", quote(format));
    let rotate = match config.log.rotate {
        Rotation::Never => "never".to_owned(),
        Rotation::Daily => "daily".to_owned(),
        Rotation::Size(bytes) => size_text(bytes),
    };
    line("rotate", quote(&rotate));
    line("keep", config.log.keep.to_string());
    if let Some(file) = &config.log.file {
        line("file", quote(&file.display().to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_parses_back_to_the_same_configuration() {
        let text = include_str!("../../config/vastost.toml");
        let path = std::path::Path::new("/etc/vastost/vastost.toml");
        let config = Config::parse(text, path).unwrap();
        let again = Config::parse(&show(&config), path).unwrap();
        assert_eq!(format!("{config:?}"), format!("{again:?}"));
    }
}
