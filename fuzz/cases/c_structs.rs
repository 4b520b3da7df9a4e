//! The C boundary: structs and strings of any content, exactly as long as they say. No call sends a request: images
//! are asked for at a handle that does not exist, which is noticed only after the definition has been read.

use std::ffi::CString;
use std::sync::OnceLock;

use vastost::ost::abi::{
    STSP_ABI_VERSION, STSP_NO_HANDLE, STSP_OPEN_READ, stsp_cred_t, stsp_image_def_t, stsp_image_filter_t,
    stsp_plugin_info_t, stsp_session_t,
};
use vastost::ost::entry::{
    stsp_claim, stsp_close_image_list, stsp_close_server, stsp_create_image, stsp_delete_image, stsp_init,
    stsp_open_image, stsp_open_image_list, stsp_open_server,
};
use vastost::ost::status::STSP_OK;

const CONFIG: &str = "[server.fuzz]\nendpoints = [\"http://127.0.0.1:9\"]\n\n[[server.fuzz.lsu]]\nname = \"fuzz\"\n";

/// A process with one server, which is never closed.
struct Host {
    config: CString,
    server: u64,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("vastost-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("vastost.toml");
        let state = format!("state_dir = {folder:?}\n");
        std::fs::write(&file, state + CONFIG).expect("a configuration");
        let config = CString::new(file.into_os_string().into_encoded_bytes()).expect("a path");
        // SAFETY: plain data, of which zero is a valid value.
        let mut info: stsp_plugin_info_t = unsafe { std::mem::zeroed() };
        info.struct_size = size_of::<stsp_plugin_info_t>() as u32;
        // SAFETY: a struct of the size that it says.
        assert_eq!(unsafe { stsp_init(STSP_ABI_VERSION, &mut info) }, STSP_OK);
        let (code, server) = open(&config, c"VastData:fuzz", c"user", c"password");
        assert_eq!(code, STSP_OK);
        Host { config, server }
    })
}

fn open(config: &CString, name: &std::ffi::CStr, user: &std::ffi::CStr, password: &std::ffi::CStr) -> (i32, u64) {
    // SAFETY: plain data, of which zero is a valid value.
    let mut session: stsp_session_t = unsafe { std::mem::zeroed() };
    session.struct_size = size_of::<stsp_session_t>() as u32;
    session.config_file = config.as_ptr();
    let (user, password) = (user.as_ptr(), password.as_ptr());
    let cred = stsp_cred_t {
        struct_size: size_of::<stsp_cred_t>() as u32,
        reserved: 0,
        user,
        password,
    };
    let mut server = STSP_NO_HANDLE;
    // SAFETY: structs of the sizes that they say, and strings with an end.
    let code = unsafe { stsp_open_server(&session, name.as_ptr(), &cred, std::ptr::null(), &mut server) };
    (code, server)
}

/// Heap memory that is as long as its `struct_size` says at most, so that a read beyond it is noticed.
fn structure(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; bytes.len().div_ceil(8).max(1)];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_ne_bytes(whole);
    }
    let length = (words.len() * 8) as u32;
    let mut first = words[0].to_ne_bytes();
    let said = u32::from_ne_bytes([first[0], first[1], first[2], first[3]]);
    first[..4].copy_from_slice(&said.min(length).to_ne_bytes());
    words[0] = u64::from_ne_bytes(first);
    words
}

fn text(bytes: &[u8]) -> CString {
    CString::new(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).expect("no NUL is left")
}

pub fn run(bytes: &[u8]) {
    let host = host();
    let Some((what, rest)) = bytes.split_first() else {
        return;
    };
    match what % 6 {
        // SAFETY: a string with an end.
        0 => drop(unsafe { stsp_claim(text(rest).as_ptr()) }),
        1 => {
            let def = structure(rest);
            let (def, mut image) = (def.as_ptr().cast::<stsp_image_def_t>(), STSP_NO_HANDLE);
            // SAFETY: a struct of the size that it says at most, and strings with an end.
            let code = unsafe { stsp_open_image(STSP_NO_HANDLE, c"fuzz".as_ptr(), def, STSP_OPEN_READ, &mut image) };
            assert!(code != STSP_OK && image == STSP_NO_HANDLE);
        }
        2 => {
            let def = structure(rest);
            let (def, mut image) = (def.as_ptr().cast::<stsp_image_def_t>(), STSP_NO_HANDLE);
            // SAFETY: as above.
            let code = unsafe { stsp_create_image(STSP_NO_HANDLE, c"fuzz".as_ptr(), def, 0, &mut image) };
            assert!(code != STSP_OK && image == STSP_NO_HANDLE);
        }
        3 => {
            let def = structure(rest);
            // SAFETY: as above.
            let code = unsafe { stsp_delete_image(STSP_NO_HANDLE, text(rest).as_ptr(), def.as_ptr().cast(), 0) };
            assert_ne!(code, STSP_OK);
        }
        4 => {
            let filter = structure(rest);
            let (filter, mut list) = (filter.as_ptr().cast::<stsp_image_filter_t>(), STSP_NO_HANDLE);
            // SAFETY: as above; opening a list reads the filter, and asks for nothing yet.
            let code = unsafe { stsp_open_image_list(host.server, c"fuzz".as_ptr(), filter, &mut list) };
            if code == STSP_OK {
                // SAFETY: takes a number only.
                assert_eq!(unsafe { stsp_close_image_list(list) }, STSP_OK);
            }
        }
        _ => {
            let mut fields = rest.splitn(3, |byte| *byte == b'\n').map(text);
            let mut next = || fields.next().unwrap_or_default();
            let (code, server) = open(&host.config, &next(), &next(), &next());
            if code == STSP_OK {
                // SAFETY: takes a number only.
                assert_eq!(unsafe { stsp_close_server(server) }, STSP_OK);
            }
        }
    }
}
