//! `include/stsp.h`: generated, committed, compared.

use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use vastost::ost::abi::*;

use vastost_testkit::repository;

use crate::run;

/// The header as it follows from the sources.
fn generate() -> String {
    let config = cbindgen::Config::from_file(repository("cbindgen.toml")).expect("cbindgen.toml");
    // cbindgen knows no strings that are not static C strings.
    let prefix = format!("\n// What server names of this plug-in begin with.\n#define STSP_PREFIX \"{STSP_PREFIX}\"");
    let config = cbindgen::Config {
        after_includes: Some(prefix),
        ..config
    };
    let builder = cbindgen::Builder::new().with_config(config);
    let entry = ["life", "server", "lsu", "image", "image_list"].map(|noun| format!("src/ost/entry/{noun}.rs"));
    let files = ["src/ost/abi.rs", "src/ost/status.rs"].map(ToOwned::to_owned);
    let bindings = files
        .iter()
        .chain(&entry)
        .fold(builder, |builder, file| builder.with_src(repository(file)))
        .generate();
    let mut text = Vec::new();
    bindings.expect("bindings").write(&mut text);
    // The rule for pointers stands once, in the head of the header.
    String::from_utf8(text)
        .expect("UTF-8")
        .replace("//\n// # Safety\n// See [`super`].\n", "")
}

#[test]
fn header_is_the_one_that_follows_from_the_sources() {
    let file = repository("include/stsp.h");
    let fresh = generate();
    if std::env::var_os("VASTOST_UPDATE_HEADER").is_some() {
        std::fs::write(&file, &fresh).expect("write the header");
    }
    let committed = std::fs::read_to_string(&file).expect("include/stsp.h");
    assert!(
        committed == fresh,
        "include/stsp.h is stale: VASTOST_UPDATE_HEADER=1 cargo test --test plugin header"
    );
    assert!(!fresh.contains("# Safety"));
}

/// Compiles a text with the header of a folder.
pub fn compile(header: &str, compiler: &str, standard: &str, extension: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test").with_extension(extension);
    std::fs::write(&file, text).unwrap();
    let flags = [
        standard,
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-fsyntax-only",
        "-I",
    ];
    run(Command::new(compiler)
        .args(flags)
        .arg(repository(header))
        .arg(Path::new(&file)));
}

#[test]
fn header_compiles_alone_as_c99_and_as_cpp17() {
    compile("include", "cc", "-std=c99", "c", "#include \"stsp.h\"\n");
    compile(
        "include",
        "c++",
        "-std=c++17",
        "cpp",
        "#include \"stsp.h\"\n#include \"stsp.h\"\n",
    );
}

#[test]
fn the_example_in_the_header_compiles() {
    let text = std::fs::read_to_string(repository("include/stsp.h")).unwrap();
    let code = text
        .lines()
        .skip_while(|line| !line.contains("A backup, whole"))
        .skip(1);
    let code = code
        .take_while(|line| *line != " */")
        .map(|line| line.strip_prefix(" *").expect("a comment line"));
    let code = code.collect::<Vec<_>>().join("\n");
    assert!(code.contains("stsp_close_image") && code.trim_end().ends_with('}'));
    // It zeroes the rest of each struct as C programmers do, and a file of its own would have a prototype.
    let pragma = "#pragma GCC diagnostic ignored \"-Wmissing-field-initializers\"";
    compile("include", "cc", "-std=c99", "c", &format!("{pragma}\n{code}\n"));
}

/// C that compiles only if sizes and offsets are these.
macro_rules! layout {
    ($($name:ident { $($field:ident)* })*) => {{
        let mut text = String::from("#include <stddef.h>\n#include \"stsp.h\"\n");
        $(
            let name = stringify!($name);
            text += &format!("typedef char sizeof_{name}[sizeof({name}) == {} ? 1 : -1];\n", size_of::<$name>());
            $(
                let (field, at) = (stringify!($field), offset_of!($name, $field));
                text += &format!("typedef char {name}_{field}[offsetof({name}, {field}) == {at} ? 1 : -1];\n");
            )*
        )*
        text
    }};
}

#[test]
fn every_struct_has_the_same_layout_in_c_and_in_rust() {
    let text = layout! {
        stsp_session_t { struct_size severity_min log log_context config_file }
        stsp_cred_t { struct_size reserved user password }
        stsp_plugin_info_t { struct_size abi_version prefix version vendor }
        stsp_server_prop_t {
            struct_size reserved capabilities image_size_max transfer_max block_size lsu_count name endpoint
        }
        stsp_lsu_prop_t { struct_size flags capacity_bytes used_bytes images name bucket label description }
        stsp_image_def_t { struct_size image_type date basename policy }
        stsp_image_info_t {
            struct_size flags size created completed image_type reserved date basename policy lsu
        }
        stsp_image_filter_t { struct_size flags date_from date_to client basename_prefix }
        stsp_image_entry_t { struct_size flags date basename }
    };
    compile("include", "cc", "-std=c99", "c", &text);
    compile("include", "c++", "-std=c++17", "cpp", &text);
}
