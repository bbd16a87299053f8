#!/usr/bin/python3
"""Writes compile_commands.json, for clang-tidy and clangd, from Bazel's own action graph.

Build first (`bazel build //...`): the paths of generated and external headers lead into Bazel's
execution root. Any flags given (say, --config=gcc) are passed on to Bazel.
"""

import json
import os
import subprocess
import sys


def bazel(*arguments):
    return subprocess.run(["bazel", *arguments], check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout


def main():
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    os.chdir(root)
    execution_root = bazel("info", "execution_root").strip()
    actions = json.loads(bazel("aquery", *sys.argv[1:], "--output=jsonproto",
                               'mnemonic("CppCompile", //...)'))
    entries = []
    for action in actions.get("actions", []):
        arguments = action["arguments"]
        source = next((a for a in arguments if a.endswith((".cc", ".cpp", ".c"))), None)
        if source is None or source.startswith(("external/", "bazel-out/")):
            continue
        path = os.path.join(root, source)
        entries.append({"directory": execution_root, "file": path,
                        "arguments": [path if a == source else a for a in arguments]})
    with open("compile_commands.json", "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
    print(f"compile_commands.json: {len(entries)} sources")


if __name__ == "__main__":
    main()
