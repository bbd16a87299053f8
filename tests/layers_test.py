#!/usr/bin/python3 -B
"""Fails if a layer depends on one above it, in a BUILD file or in an #include line.

    platform  <-  background, copyspace  <-  heap  <-  tests, bench, examples

Bazel's visibility (tools/layers.bzl) says the same target by target; this says it for the whole
tree, and for headers that a target gets from another one without naming it.
"""

import ast
import os
import posixpath
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import whole_tree  # pylint: disable=wrong-import-position

# What a layer may depend on, besides itself. `tools` holds build macros only.
_BELOW = {
    "tools": set(),
    "platform": {"tools"},
    "background": {"tools", "platform"},
    "copyspace": {"tools", "platform"},
    "heap": {"tools", "platform", "background", "copyspace"},
    "heap/rc": {"tools", "platform", "background", "copyspace", "heap"},
}
_TOP = {"tests", "bench", "examples"}  # may depend on all of it and on each other


def layer_of(path):
    """The layer a path or package lies in; None if in none of them (third_party, the root)."""
    parts = path.split("/")
    if parts[:2] == ["heap", "rc"]:
        return "heap/rc"
    return parts[0] if parts[0] in _BELOW or parts[0] in _TOP else None


def allowed(user, used):
    if used is None or user is None or user == used or user in _TOP:
        return True
    return used in _BELOW[user]


def labels(build_file):
    """The (line, label) pairs that a BUILD or .bzl file depends on. Visibility is no dependency."""
    # Starlark, as far as BUILD files use it, is Python.
    tree = ast.parse(build_file)
    seen_through = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg and node.arg.endswith("visibility"):
            seen_through.update(id(n) for n in ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            label = node.value
            # A list of packages and its uses, as in layers.bzl, is about visibility too.
            if id(node) in seen_through or label.endswith((":__pkg__", ":__subpackages__")):
                continue
            match = re.fullmatch(r"(?:@ebb)?//([\w./-]+)(?::[\w./+-]+)?", label)
            if match:
                yield node.lineno, label, match.group(1)


def includes(path, source):
    """The (line, text, path) triples of a C++ file's quoted #include lines."""
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if match:
            included = match.group(1)
            if layer_of(included) is None:  # beside the includer
                included = posixpath.normpath(posixpath.join(posixpath.dirname(path), included))
            yield number, match.group(1), included


def violations(root):
    found = []
    for path in whole_tree.files(root, "BUILD", ".bzl", ".bazel"):
        for line, label, package in labels(whole_tree.read(root, path)):
            if not allowed(layer_of(path), layer_of(package)):
                found.append(f"{path}:{line}: {layer_of(path)} depends on {label}")
    for path in whole_tree.files(root, ".h", ".cc", ".inc"):
        for line, text, included in includes(path, whole_tree.read(root, path)):
            if not allowed(layer_of(path), layer_of(included)):
                found.append(f"{path}:{line}: {layer_of(path)} includes {text}")
    return found


class LayersTest(unittest.TestCase):

    def test_the_tree_keeps_its_layers(self):
        root = whole_tree.root_of(__file__)
        for layer in ("platform", "background", "copyspace", "heap"):
            self.assertTrue(os.path.exists(os.path.join(root, layer, "BUILD")), layer)
        self.assertEqual(violations(root), [])

    def check(self, path, text, expected):
        with tempfile.TemporaryDirectory() as root:
            whole_tree.write(root, path, text)
            self.assertEqual(violations(root), expected)

    def test_a_seeded_dependency_on_a_layer_above_is_found(self):
        rule = 'cc_library(name = "a", {} = [":b", "{}"])\n'
        for path, label in (("platform/BUILD", "//heap:heap"),
                            ("platform/x/BUILD", "//copyspace"),
                            ("copyspace/BUILD", "//background:worker_pool"),
                            ("background/BUILD", "//copyspace:block"),
                            ("heap/BUILD", "@ebb//bench:a"),
                            ("heap/BUILD", "//heap/rc:cells"),
                            ("tools/BUILD", "//platform:clock")):
            layer = layer_of(path)
            self.check(path, rule.format("deps", label), [f"{path}:1: {layer} depends on {label}"])
            self.check(path, rule.format("visibility", label), [])
        self.check("platform/BUILD", 'cc_library(name = "a", deps = select({\n'
                   '    "//tools:clang": ["//heap"],\n}))\n',
                   ["platform/BUILD:2: platform depends on //heap"])
        self.check("heap/BUILD", 'load("//bench:x.bzl", "x")\n',
                   ["heap/BUILD:1: heap depends on //bench:x.bzl"])

    def test_a_seeded_include_of_a_layer_above_is_found(self):
        for path, header in (("platform/a.h", "heap/heap.h"),
                             ("copyspace/a.cc", "background/pool.h"),
                             ("background/a_test.cc", "copyspace/slab.h"),
                             ("platform/b/a.cc", "../../heap/heap.h"),
                             ("heap/a.h", "heap/rc/cell.h")):
            self.check(path, f'#include <vector>\n #  include "{header}"\n',
                       [f"{path}:2: {layer_of(path)} includes {header}"])

    def test_what_runs_one_way_is_allowed(self):
        self.check("heap/a.cc", '#include "copyspace/slab.h"\n#include "b.h"\n', [])
        self.check("heap/a.cc", '#include "absl/log/log.h"\n#include <vector>\n', [])
        self.check("bench/BUILD", 'cc_test(name = "a", deps = ["//heap/rc", "//platform:x"])', [])
        self.check("copyspace/BUILD", 'cc_test(name = "a", deps = ["@x//heap", "//platform"])', [])


if __name__ == "__main__":
    unittest.main()
