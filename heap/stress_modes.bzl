"""heap_test: a unit test of the heap, run as it is and again under the heap's stress modes."""

load("//tools:copts.bzl", "COPTS")

# EBB_OPTIONS of each further run.
_MODES = {
    # Every allocation collects, and what a cycle leaves behind is overwritten.
    "collect_always": "stress_collect_every=1,stress_poison=true,workers=1",
    # Rare paths are common: worklists overflow, evacuations fail, two workers, every cycle verified
    # before and after, and access to from-space traps.
    "rare_paths": "stress_collect_every=7,stress_worklist_capacity=1,stress_fail_evacuation=5," +
                  "stress_protect_from_space=true,stress_verify=true,workers=2",
    # The same beside the program.
    "concurrent": "collector=concurrent",
    "concurrent_always": "collector=concurrent,stress_collect_every=1,stress_poison=true",
    "concurrent_rare_paths": "collector=concurrent,concurrent_workers=2,workers=2," +
                             "stress_collect_every=7,stress_worklist_capacity=1," +
                             "stress_fail_evacuation=5,stress_protect_from_space=true," +
                             "stress_verify=true",
}

def heap_test(name, deps = [], **kwargs):
    # Compiled once, linked for each mode.
    cases = name + "_cases"
    native.cc_library(
        name = cases,
        testonly = True,
        srcs = [name + ".cc"],
        copts = COPTS,
        alwayslink = True,
        deps = deps + [
            ":ebb",
            ":heap_for_test",
            "@com_google_googletest//:gtest_main",
        ],
    )
    native.cc_test(name = name, deps = [":" + cases], **kwargs)
    for mode, options in _MODES.items():
        native.cc_test(
            name = name + "_" + mode,
            deps = [":" + cases],
            env = {"EBB_OPTIONS": options},
            **kwargs
        )
