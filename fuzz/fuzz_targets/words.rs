//! Foreign text in messages: one line, bounded, without the header that a request was signed with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vastost::clean::hold_to_rules;

fuzz_target!(|text: &str| hold_to_rules(text));
