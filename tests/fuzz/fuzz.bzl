"""fuzz_target: one fuzz target, run by whichever engine the build has."""

def fuzz_target(name, srcs, deps, max_len = 4096):
    """A test of a function LLVMFuzzerTestOneInput().

    bazel test --config=fuzz //tests/fuzz/...   libFuzzer: the corpus, then new inputs for $FUZZ_SECONDS
    bazel test //tests/fuzz/...                 any compiler: the corpus and fixed mutations of it

    To fuzz for longer, into a corpus of one's own:

    bazel run --config=fuzz //tests/fuzz:elf_fuzzer -- -max_total_time=3600 /tmp/corpus

    Args:
      name: also the folder of seeds, corpus/<name without "_fuzzer">/; each seed is a few hundred bytes, but
        for those called linux_..., which linux_seeds cuts out of a real kernel's memory, and inspect's luo_session_...,
        which it makes up.
      srcs: the target.
      deps: what it fuzzes.
      max_len: bytes of the longest input worth trying. libFuzzer would cut a longer seed: the test without a fuzzer
        fails on one.
    """
    corpus = native.glob(["corpus/%s/*" % name.replace("_fuzzer", "")], allow_empty = False)
    seeds = ["%s/%s" % (native.package_name(), seed) for seed in corpus]
    native.cc_test(
        name = name,
        timeout = "long",
        srcs = srcs + select({
            "//tests/fuzz:libfuzzer": ["//tests/fuzz:libfuzzer_flags.cc"],
            "//conditions:default": ["//tests/fuzz:replay_main.cc"],
        }),
        args = select({
            # As -seed_inputs, so that nothing is written beside the seeds.
            "//tests/fuzz:libfuzzer": [
                "-seed_inputs=" + ",".join(seeds),
                "-max_len=%d" % max_len,
                "-max_total_time=10",
                # Far above what an input takes on a busy machine: only a loop without end is an error.
                "-timeout=60",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
            ],
            "//conditions:default": ["%d" % max_len] + seeds,
        }),
        data = corpus,
        linkopts = select({
            "//tests/fuzz:libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        # A decoder has one thread, and tsan would take minutes to find nothing.
        tags = ["notsan"],
        deps = deps,
    )
