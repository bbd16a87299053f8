"""The checks of prose_test: what markdown files and comments say about the tree must be true.

Rules, for every markdown file of the tree:
  paths     A path in backticks, or in a fenced block that is not C++, exists: from the root, from
            the file's own folder, or, for a bare file name, anywhere. A label such as //heap:ebb
            has its package and target. Globs match something.
  links     [text](file.md#heading) resolves; in comments of sources, docs/design/x.md#heading.
  tags      An invariant's tag is defined in exactly one place of docs/design, and cited in the
            sources; whatever is cited is defined. A definition has the tag in bold, or in backticks
            at the head of a list item or of a row of a table.
  pages     A page of docs/design has at most two pages: 130 lines and 9,000 characters; and
            docs/design/README.md links to it.
  examples  A ```cpp block begins with `// compiled: NAME` and is what stands between `// [NAME]`
            and `// [/NAME]` in a source below examples/, which Bazel builds. (Several regions of
            one name are joined by an empty line. A fragment of no program is a ```c++ block.)
"""

import collections
import glob
import os
import posixpath
import re
import textwrap

import whole_tree

MAX_LINES = 130
MAX_CHARACTERS = 9000

_SOURCES = (".h", ".cc", ".inc", ".py", ".sh", ".bzl", ".pml", "BUILD", "/run", ".bazelrc")
_FILE = re.compile(r"[\w./*-]+\.(h|cc|md|py|sh|bzl|pml|txt|json)")
# Headers of others, which our prose may name.
_FOREIGN = ("absl/", "gtest/", "gmock/", "benchmark/", "boost/", "sys/", "linux/")
# The first letter keeps this very file from citing a tag.
_TAG = re.compile(r"\binv\.[a-z0-9]+(?:-[a-z0-9]+)*")
_DEFINITION = re.compile(r"(?:\*\*`?|^ *[-|] +`)(inv\.[a-z0-9-]+)(?:`?[.:]?\*\*|`)", re.M)

Block = collections.namedtuple("Block", "line language text")


def split(markdown):
    """(prose, blocks): the text with its fenced blocks blanked out, and those blocks."""
    prose, blocks, inside = [], [], None
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if inside is not None and fence:
            blocks.append(Block(inside[0], inside[1], "\n".join(inside[2])))
            inside = None
        elif inside is not None:
            inside[2].append(line)
        elif fence:
            inside = (number, fence.group(1), [])
        prose.append("" if inside is not None or fence else line)
    return "\n".join(prose), blocks


def anchors(markdown):
    """The fragments that a page's headings give, as GitHub makes them."""
    prose, _ = split(markdown)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-")
            for h in re.findall(r"^#+ +(.*)$", prose, re.M)}


class Checker:
    """Runs the rules over the tree at `root` and returns what is wrong as a list of strings."""

    def __init__(self, root):
        self._root = root
        self._all = whole_tree.files(root, "")
        self._names = {posixpath.basename(f) for f in self._all}
        self._folders = {f.split("/")[0] for f in self._all if "/" in f}
        self._pages = {f: whole_tree.read(root, f) for f in self._all if f.endswith(".md")}
        self._sources = {f: whole_tree.read(root, f) for f in self._all
                         if f.endswith(_SOURCES) and not f.startswith("tests/prose")}
        self._problems = []

    def problems(self):
        for page, text in self._pages.items():
            self._check_paths(page, text)
            self._check_links(page, text)
            self._check_examples(page, text)
        for source, text in self._sources.items():
            for link in re.findall(r"\bdocs/[\w/]+\.md(?:#[\w-]+)?", text):
                self._check_link(source, link, "")
        self._check_tags()
        self._check_design_pages()
        return self._problems

    def _say(self, where, what):
        self._problems.append(f"{where}: {what}")

    def _exists(self, path, folder):
        for base in ("", folder):
            full = os.path.join(self._root, base, path)
            if glob.glob(full) if "*" in path else os.path.exists(full):
                return True
        return "/" not in path and path in self._names

    # paths

    def _check_paths(self, page, text):
        prose, blocks = split(text)
        for span in re.findall(r"`([^`]+)`", prose):
            for word in span.split():
                self._check_word(page, word, in_backticks=True)
        for block in blocks:
            if block.language not in ("cpp", "c++"):
                for word in block.text.split():
                    self._check_word(page, word, in_backticks=False)

    def _check_word(self, page, word, in_backticks):
        word = word.strip("\"'()[],;:").rstrip(".")
        label = re.fullmatch(r"(?:@ebb)?//([\w/-]*)(?::([\w./-]+))?", word)
        if label:
            self._check_label(page, word, label.group(1), label.group(2))
            return
        word = word.split("#")[0]
        if not re.fullmatch(r"[\w.*-][\w./*-]*", word) or word.startswith(_FOREIGN):
            return
        if "/" in word and word.split("/")[0] in self._folders:
            is_path = True
        else:  # outside backticks only what starts with a folder of ours is surely a path
            is_path = in_backticks and (word.endswith("/") or _FILE.fullmatch(word))
        if is_path and not self._exists(word, posixpath.dirname(page)):
            self._say(page, f"`{word}` does not exist")

    def _check_label(self, page, word, package, target):
        build = posixpath.join(package.rstrip("/"), "BUILD")
        text = self._sources.get(build)
        if text is None:
            if not word.endswith("/"):  # what is left of //heap/...
                self._say(page, f"`{word}` names no package")
            return
        name = target or posixpath.basename(package)
        if not re.search(rf'name = "{re.escape(name)}"', text) and not os.path.exists(
                os.path.join(self._root, package, name)):
            self._say(page, f"`{word}` names no target of {build}")

    # links

    def _check_links(self, page, text):
        prose, _ = split(text)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if not re.match(r"[a-z]+:", link):
                self._check_link(page, link, posixpath.dirname(page))

    def _check_link(self, where, link, folder):
        path, _, fragment = link.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path)) if path else where
        if not os.path.exists(os.path.join(self._root, path)):
            self._say(where, f"link to {link}: no such file")
        elif fragment and fragment not in anchors(self._pages.get(path, "")):
            self._say(where, f"link to {link}: no such heading")

    # tags

    def _check_tags(self):
        defined = collections.defaultdict(list)
        for page, text in self._pages.items():
            if page.startswith("docs/design/"):
                for tag in _DEFINITION.findall(split(text)[0]):
                    defined[tag].append(page)
        cited = set()
        for source, text in self._sources.items():
            for tag in sorted(set(_TAG.findall(text))):
                cited.add(tag)
                if tag not in defined:
                    self._say(source, f"{tag} is cited, but no page of docs/design defines it")
        for page, text in self._pages.items():
            for tag in sorted(set(_TAG.findall(text)) - set(defined)):
                self._say(page, f"{tag} is mentioned, but no page of docs/design defines it")
        for tag, pages in sorted(defined.items()):
            if len(pages) > 1:
                self._say(pages[1], f"{tag} is defined again (first in {pages[0]})")
            if tag not in cited:
                self._say(pages[0], f"{tag} is defined, but no source cites it")

    # pages

    def _check_design_pages(self):
        index = "docs/design/README.md"
        linked = re.findall(r"\]\(([\w./-]+)", self._pages.get(index, ""))
        for page, text in self._pages.items():
            if posixpath.dirname(page) != "docs/design":
                continue
            lines = text.count("\n") + 1
            if lines > MAX_LINES or len(text) > MAX_CHARACTERS:
                self._say(page, f"more than two pages: {lines} lines, {len(text)} characters "
                          f"(at most {MAX_LINES} and {MAX_CHARACTERS})")
            if page != index and posixpath.basename(page) not in linked:
                self._say(index, f"no link to {posixpath.basename(page)}")

    # examples

    def _regions(self, name):
        """The region of that name of each source below examples/ that has one."""
        for source, text in self._sources.items():
            if source.startswith("examples/") and source.endswith(".cc"):
                parts = re.findall(rf"^ *// \[{name}\]\n(.*?)^ *// \[/{name}\]$", text, re.M | re.S)
                if parts:
                    yield source, "\n\n".join(textwrap.dedent(p).strip("\n") for p in parts)

    def _check_examples(self, page, text):
        for block in split(text)[1]:
            if block.language != "cpp":
                continue
            where = f"{page}:{block.line}"
            first, _, code = block.text.partition("\n")
            match = re.fullmatch(r"// compiled: (\w+)", first)
            if not match:
                self._say(where, "a cpp block must begin with `// compiled: NAME`")
                continue
            regions = list(self._regions(match.group(1)))
            if len(regions) != 1:
                self._say(where, f"{len(regions)} sources below examples/ have a region "
                          f"[{match.group(1)}]: need one")
            elif regions[0][1] != code.strip("\n"):
                self._say(where, f"is not the region [{match.group(1)}] of {regions[0][0]}:\n"
                          + textwrap.indent(regions[0][1], "    "))
