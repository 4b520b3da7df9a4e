#!/bin/sh
# Runs every fuzz target for some seconds (60, or the first argument), as many at once as there are processors, and fails
# when one finds a crash. Needs nightly and cargo-fuzz. The kept corpus is only read; what is found goes to target/corpus,
# a crash to artifacts/<target>. FUZZ_SANITIZER=none builds without the address sanitizer.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
sanitizer=${FUZZ_SANITIZER:-address}
cargo +nightly fuzz build --dev --sanitizer "$sanitizer"
export seconds sanitizer
mkdir -p target/log
# shellcheck disable=SC2016 # expanded by the inner shell
cargo +nightly fuzz list | xargs -P "$(nproc)" -I TARGET sh -c '
    mkdir -p "target/corpus/TARGET"
    if cargo +nightly fuzz run --dev --sanitizer "$sanitizer" TARGET "target/corpus/TARGET" "corpus/TARGET" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=0 \
        >"target/log/TARGET" 2>&1
    then
        echo "TARGET: no crash in $seconds s, $(grep -o "number_of_executed_units: .*" "target/log/TARGET")"
    else
        tail -n 60 "target/log/TARGET"
        exit 255
    fi'
