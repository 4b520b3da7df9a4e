//! Keys of a listing: rising and under their prefix, or not believed. The first line is the prefix.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vastost::objstore::s3::list::hold_to_rules;

fuzz_target!(|text: &str| hold_to_rules(text));
