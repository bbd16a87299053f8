"""Who may depend on what: dependencies run one way, and visibility holds them to it.

    platform  <-  background, copyspace  <-  heap  <-  tests, bench, examples

A target is private unless it names one of these lists; tests/layers_test checks the whole graph.
"""

_OUTSIDE = ["//tests:__subpackages__", "//bench:__subpackages__"]

# For targets of platform/.
ABOVE_PLATFORM = [
    "//platform:__pkg__",
    "//background:__pkg__",
    "//copyspace:__pkg__",
    "//heap:__subpackages__",
] + _OUTSIDE

# For targets of background/ and copyspace/, which do not know each other.
ABOVE_MIDDLE = ["//heap:__subpackages__"] + _OUTSIDE

# For targets of heap/ that tests and benchmarks use beside //heap:ebb.
HEAP_INTERNALS = ["//heap:__subpackages__"] + _OUTSIDE
