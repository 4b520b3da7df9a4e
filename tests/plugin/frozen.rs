//! The first version of the header and a host that was compiled with it: what they had, they keep.

use std::process::Command;

use vastost::ost::abi::*;
use vastost_testkit::repository;

use crate::header::compile;
use crate::hosts::{SMALL_PARTS, site};
use crate::{plugin, run};

/// Holds stsp.h and host.c of version 1; neither changes any more.
const FROZEN: &str = "tests/plugin/frozen/1";

#[test]
fn a_host_of_the_first_header_works_with_this_plug_in() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("host");
    let flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-O1"];
    run(Command::new("cc")
        .args(flags)
        .arg(repository(&format!("{FROZEN}/host.c")))
        .args(["-ldl", "-o"])
        .arg(&program));

    let site = site(SMALL_PARTS);
    let output = run(Command::new(&program).arg(plugin()).arg(&site.config));
    assert!(output.ends_with("good\n"), "{output}");
}

#[test]
fn first_sizes_are_those_of_the_first_header() {
    let mut text = String::from("#include \"stsp.h\"\n");
    let mut size = |name: &str, bytes: u32| {
        text += &format!("typedef char sizeof_{name}[sizeof({name}) == {bytes} ? 1 : -1];\n");
    };
    size("stsp_session_t", stsp_session_t::V1_SIZE);
    size("stsp_cred_t", stsp_cred_t::V1_SIZE);
    size("stsp_plugin_info_t", stsp_plugin_info_t::V1_SIZE);
    size("stsp_server_prop_t", stsp_server_prop_t::V1_SIZE);
    size("stsp_lsu_prop_t", stsp_lsu_prop_t::V1_SIZE);
    size("stsp_image_def_t", stsp_image_def_t::V1_SIZE);
    size("stsp_image_info_t", stsp_image_info_t::V1_SIZE);
    size("stsp_image_filter_t", stsp_image_filter_t::V1_SIZE);
    size("stsp_image_entry_t", stsp_image_entry_t::V1_SIZE);
    compile(FROZEN, "cc", "-std=c99", "c", &text);
}

#[test]
fn the_header_has_only_grown_since_its_first_version() {
    let first = Header::read(&format!("{FROZEN}/stsp.h"));
    let today = Header::read("include/stsp.h");
    assert!(first.constants.len() > 50 && first.structs.len() == 9 && first.functions.len() == 26);

    for line in &first.constants {
        assert!(today.constants.contains(line), "{line} is gone or another");
    }
    for function in &first.functions {
        assert!(today.functions.contains(function), "{function} is gone or another");
    }
    for (name, fields) in &first.structs {
        let grown = today.structs.iter().find(|(today, _)| today == name);
        let grown = grown.is_some_and(|(_, today)| today.starts_with(fields));
        assert!(grown, "{name} does not begin with the fields that it began with");
    }
}

/// What a header declares, without its comments and in single blanks.
struct Header {
    constants: Vec<String>,
    /// Name and fields.
    structs: Vec<(String, String)>,
    functions: Vec<String>,
}

impl Header {
    fn read(file: &str) -> Self {
        let text = std::fs::read_to_string(repository(file)).unwrap();
        let (_, text) = text.split_once("*/").expect("a comment at the head");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let (constants, code): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with('#'));
        let code = code.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");

        let structs = code.split("typedef struct ").skip(1).map(|rest| {
            let (name, rest) = rest.split_once(" { ").expect("fields");
            let (fields, _) = rest.split_once('}').expect("an end");
            (name.to_owned(), fields.trim_end().to_owned())
        });
        let functions = code
            .split("int32_t stsp_")
            .skip(1)
            .map(|rest| rest.split(';').next().expect("an end").to_owned());
        Self {
            constants: constants.into_iter().map(ToOwned::to_owned).collect(),
            structs: structs.collect(),
            functions: functions.collect(),
        }
    }
}
