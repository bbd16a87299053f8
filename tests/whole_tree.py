"""Reading the source tree, for the tests of the tree as a whole (layers_test, prose_test)."""

import os

# Not ours, or not sources.
_SKIPPED = {".git", "third_party", "node_modules", "__pycache__"}


def root_of(test_file):
    """The checkout a test lies in: Bazel's runfiles and sandboxes are links into it."""
    root = os.path.dirname(os.path.dirname(os.path.realpath(test_file)))
    if not os.path.exists(os.path.join(root, "WORKSPACE")):
        raise SystemExit(f"{root} is not a checkout: run this test where the sources are")
    return root


def files(root, *suffixes):
    """Paths below `root`, relative to it and sorted, whose names end in one of `suffixes`."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in _SKIPPED and not f.startswith("bazel-")]
        for name in names:
            if name.endswith(suffixes):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def write(root, path, text):
    """For seeding a bad tree."""
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
