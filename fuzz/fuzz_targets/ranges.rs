//! Content-Range: the very bytes that were asked for, or not believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vastost::objstore::transport::answer::hold_ranges_to_rules;

fuzz_target!(|text: &str| hold_ranges_to_rules(text));
