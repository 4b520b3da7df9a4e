//! Link arguments of the plug-in; nothing else is built or asked here.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=packaging/exports.map");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if target("OS") != "linux" {
        return;
    }
    // A host that calls dlclose while a thread of ours ends, or with thread-local destructors of ours, would crash.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // rustc exports the C functions of every crate below us. Its linker on x86_64, lld, takes a second version script, and
    // so does zig's, which refuses --exclude-libs. GNU ld takes one script alone.
    let linker = std::env::var("RUSTC_LINKER").unwrap_or_default();
    let program = std::path::Path::new(&linker).file_name().unwrap_or_default();
    let zig = program.to_string_lossy().starts_with("zig");
    if zig || target("ARCH") == "x86_64" {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-cdylib-link-arg=-Wl,--version-script={folder}/packaging/exports.map");
        // Of the names to hide some are gone already in optimised builds.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--undefined-version");
    } else {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
