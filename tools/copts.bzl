"""Warnings for this project's own targets (never for third_party)."""

COPTS = ["-Wall", "-Wextra", "-Werror"] + select({
    "//tools:clang": ["-Wthread-safety", "-Wthread-safety-beta"],
    "//conditions:default": [],
})
