//! `demo`: a backup and a restore against a server inside the process.

pub fn run(_: &crate::args::Global, _: &crate::args::Demo) -> crate::Outcome {
    Err("demo is not built yet".into())
}
