#!/usr/bin/python3 -B
"""Prose is checked: the rules are those of tests/prose.py."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import prose  # pylint: disable=wrong-import-position
import whole_tree  # pylint: disable=wrong-import-position

_GOOD = {
    "WORKSPACE": "",
    "README.md": """# It
See `heap/ebb.h`, `ebb.h`, `heap/`, `heap/*.h`, `//heap:ebb`, `bazel test //heap/...`,
`heap/ebb.h --flag`, `docs/design/page.md#the-first-part`, `absl/log/log.h`, `memory.max`, `a/b`,
[a page](docs/design/page.md#the-first-part), [the web](https://example.com/nothing).
```
heap/   what heap/ebb.h has; any/thing
```
```cpp
// compiled: twelve
struct Node {};

Node node;
node.f();
```
""",
    "docs/design/README.md": "[page](page.md)\n",
    "docs/design/page.md": "# Page\n## The first part\n**inv.good**: holds. Not so ```inline```.\n",
    "heap/BUILD": 'cc_library(name = "ebb")\n',
    "heap/ebb.h": "// inv.good. Design: docs/design/page.md#the-first-part\n",
    "examples/a.cc": "// [twelve]\nstruct Node {};\n// [/twelve]\nint main() {\n"
                     "  // [twelve]\n  Node node;\n  node.f();\n  // [/twelve]\n}\n",
}


class ProseTest(unittest.TestCase):

    def test_the_prose_of_the_tree_is_true(self):
        root = whole_tree.root_of(__file__)
        self.assertTrue(os.path.exists(os.path.join(root, "README.md")))
        self.assertEqual("\n".join(prose.Checker(root).problems()), "")

    def problems(self, **files):
        """What is wrong with the good tree when these files are added or replaced."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in _GOOD.items():
                whole_tree.write(root, path, text)
            for path, text in files.items():
                whole_tree.write(root, path, text)
            return prose.Checker(root).problems()

    def with_readme(self, text):
        return self.problems(**{"README.md": _GOOD["README.md"] + text})

    def test_a_true_tree_passes(self):
        self.assertEqual(self.problems(), [])

    def test_a_path_that_is_not_there_is_found(self):
        for path in ("heap/gone.h", "gone.h", "gone/", "heap/gone", "heap/*.cc", "docs/gone.md"):
            self.assertEqual(self.with_readme(f"see `{path}`\n"),
                             [f"README.md: `{path}` does not exist"])
        self.assertEqual(self.with_readme("```sh\nrun heap/gone --now\n```\n"),
                         ["README.md: `heap/gone` does not exist"])
        self.assertEqual(self.with_readme("`@ebb//heap:gone`"),
                         ["README.md: `@ebb//heap:gone` names no target of heap/BUILD"])
        self.assertEqual(self.with_readme("`//gone:x`"), ["README.md: `//gone:x` names no package"])

    def test_a_link_that_leads_nowhere_is_found(self):
        self.assertEqual(self.with_readme("[x](docs/gone.md)"),
                         ["README.md: link to docs/gone.md: no such file"])
        self.assertEqual(self.with_readme("[x](docs/design/page.md#gone)"),
                         ["README.md: link to docs/design/page.md#gone: no such heading"])
        self.assertEqual(self.problems(**{"heap/a.cc": "// docs/design/page.md#gone\n"}),
                         ["heap/a.cc: link to docs/design/page.md#gone: no such heading"])

    def test_tags_that_do_not_match_are_found(self):
        found = self.problems(**{"heap/a.cc": "// inv.gone\n"})
        self.assertEqual(len(found), 1)
        self.assertIn("heap/a.cc: inv.gone is cited, but", found[0])
        page = _GOOD["docs/design/page.md"]
        for definition in ("**inv.idle**: x", "- `inv.idle`: x", "| `inv.idle` | x |"):
            self.assertEqual(self.problems(**{"docs/design/page.md": page + definition}),
                             ["docs/design/page.md: inv.idle is defined, but no source cites it"])
        self.assertEqual(self.problems(**{"docs/design/page.md": page + "**inv.good**\n"}),
                         ["docs/design/page.md: inv.good is defined again "
                          "(first in docs/design/page.md)"])
        self.assertEqual(self.with_readme("inv.gone"),
                         ["README.md: inv.gone is mentioned, but no page of docs/design "
                          "defines it"])

    def test_long_and_unlisted_pages_are_found(self):
        page = _GOOD["docs/design/page.md"]
        for extra in ("line\n" * 130, "x" * 9000):
            found = self.problems(**{"docs/design/page.md": page + extra})
            self.assertEqual(len(found), 1)
            self.assertIn("more than two pages", found[0])
        self.assertEqual(self.problems(**{"docs/design/new.md": "# New\n"}),
                         ["docs/design/README.md: no link to new.md"])

    def test_an_example_that_is_not_compiled_is_found(self):
        for block, complaint in (("int x;", "must begin with"),
                                 ("// compiled: gone\nint x;", "0 sources below examples/ have"),
                                 ("// compiled: twelve\nint x;", "is not the region [twelve]")):
            found = self.with_readme(f"```cpp\n{block}\n```\n")
            self.assertEqual(len(found), 1)
            self.assertIn(complaint, found[0])


if __name__ == "__main__":
    unittest.main()
