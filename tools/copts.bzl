"""Warnings for this project's own targets (never for third_party)."""

COPTS = ["-Wall", "-Wextra", "-Werror"] + select({
    "//tools:clang": ["-Wthread-safety", "-Wthread-safety-beta"],
    "//conditions:default": [],
})

# Release code in every configuration, for samples whose instructions are counted.
RELEASE = [
    "-O2",
    "-DNDEBUG",
    "-fomit-frame-pointer",
    "-fno-sanitize=all",
]
