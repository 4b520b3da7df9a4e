//! The plug-in's error message of a failed call, for the command line: without the name of the C function, and with the
//! LSU named once.

use vastost_testkit::host::HostError;

/// `vastost stsp_open_image: LSU main: …` begins with its third word, or with what follows when that names the LSU too.
/// The status at the end stays.
pub fn text(error: &HostError) -> String {
    let whole = error.to_string();
    let call = whole.strip_prefix("vastost ").filter(|call| call.starts_with("stsp_"));
    let Some((_, message)) = call.and_then(|call| call.split_once(": ")) else {
        return whole;
    };
    match message.split_once(": ") {
        Some((lsu, rest)) if lsu.starts_with("LSU ") && !lsu.contains(", ") && rest.contains(lsu) => rest.to_owned(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_left_out_and_the_lsu_is_named_once() {
        for (message, expected) in [
            (
                "vastost stsp_open_image: LSU main: image a of LSU main is busy (status 2060005)",
                "image a of LSU main is busy (status 2060005)",
            ),
            (
                "vastost stsp_read_image: LSU main: get b/k: HTTP 404 (status 2060018)",
                "LSU main: get b/k: HTTP 404 (status 2060018)",
            ),
            (
                "vastost stsp_read_image: LSU main, image a:1: get b/k: HTTP 404",
                "LSU main, image a:1: get b/k: HTTP 404",
            ),
            ("text with a NUL byte", "text with a NUL byte"),
        ] {
            assert_eq!(
                text(&HostError {
                    code: 1,
                    message: message.into()
                }),
                expected
            );
        }
    }
}
