//! Bodies of answers: whole documents, or not believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vastost::objstore::transport::answer::hold_documents_to_rules;

fuzz_target!(|bytes: &[u8]| hold_documents_to_rules(bytes));
