//! Link arguments of the plug-in; nothing else is built or asked here.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=packaging/hidden.map");
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if target("OS") != "linux" {
        return;
    }
    // A host that calls dlclose while a thread of ours ends, or with thread-local destructors of ours, would crash.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    if target("ARCH") == "x86_64" {
        // rustc exports the C functions of every crate below us, and with LTO they are in no library that
        // --exclude-libs could name. Rust links with lld on this target, which takes a second version script.
        let hidden = format!(
            "{}/packaging/hidden.map",
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()
        );
        println!("cargo::rustc-cdylib-link-arg=-Wl,--version-script={hidden}");
        // Of the names to hide some are gone already in optimised builds.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--undefined-version");
    } else {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
