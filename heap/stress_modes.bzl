"""Tests of the heap that run in all collector modes, and heap_test in its stress modes too."""

load("//tools:copts.bzl", "COPTS")

# EBB_OPTIONS of each further run.
_ALWAYS = "stress_collect_every=1,stress_poison=true"
_RARE_PATHS = "stress_collect_every=7,stress_worklist_capacity=1,stress_fail_evacuation=5," + \
              "stress_protect_from_space=true,stress_verify=true"
_MODES = {
    "parallel": "collector=parallel",
    # Every allocation collects, and what a cycle leaves behind is overwritten.
    "always": "collector=concurrent," + _ALWAYS,
    "parallel_always": "collector=parallel,workers=1," + _ALWAYS,
    # Rare paths are common: worklists overflow, evacuations fail, two workers, every cycle verified
    # before and after, and access to from-space traps.
    "rare_paths": "collector=concurrent,concurrent_workers=2,workers=2," + _RARE_PATHS,
    "parallel_rare_paths": "collector=parallel,workers=2," + _RARE_PATHS,
    # The nursery is in use however much survives in it.
    "generational": "collector=generational,nursery_bypass=false",
    "generational_always": "collector=generational,nursery_bypass=false," + _ALWAYS,
    "generational_rare_paths": "collector=generational,nursery_bypass=false," +
                               "concurrent_workers=2,workers=2," + _RARE_PATHS,
}

def _compiled_once(name, deps):
    cases = name + "_cases"
    native.cc_library(
        name = cases,
        testonly = True,
        srcs = [name + ".cc"],
        copts = COPTS,
        alwayslink = True,
        deps = deps + [
            "//heap:ebb",
            "//heap:heap_fixture_for_test",
            "//heap:heap_for_test",
            "@com_google_googletest//:gtest_main",
        ],
    )
    return [":" + cases]

def heap_test(name, deps = [], **kwargs):
    cases = _compiled_once(name, deps)
    native.cc_test(name = name, deps = cases, **kwargs)
    for mode, options in _MODES.items():
        native.cc_test(
            name = name + "_" + mode,
            deps = cases,
            env = {"EBB_OPTIONS": options},
            **kwargs
        )

def all_collectors_test(
        name,
        deps = [],
        others = ["parallel", "generational"],
        others_tags = [],
        **kwargs):
    """A test that sets its own stress options, and CollectorUnderTest() (heap/heap_for_test.h).

    others_tags: ["once"] where the other collectors make no difference that a sanitizer would see.
    """
    cases = _compiled_once(name, deps)
    native.cc_test(name = name, deps = cases, **kwargs)
    for collector in others:
        native.cc_test(
            name = name + "_" + collector,
            deps = cases,
            env = {"EBB_TEST_COLLECTOR": collector},
            tags = others_tags,
            **kwargs
        )
