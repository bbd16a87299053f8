#!/usr/bin/python3
"""Counts the instructions of the fast paths, from the disassembly of heap/fast_path_sample.cc, and
looks for indirect calls in the tracer's (heap/tracer_sample). Usage: fast_path_test.py ARCHIVE...

docs/design/heap.md#hot-paths shows the listings. The same of heap/rc/fast_path_sample.cc. Only x86-64 is counted.
"""
import platform
import re
import subprocess
import sys


def functions(archive):
    """Function name -> list of instructions, without addresses and relocations."""
    text = subprocess.check_output(
        ["objdump", "-d", "--no-show-raw-insn", archive], text=True)
    found = {}
    for line in text.splitlines():
        if m := re.match(r"^[0-9a-f]+ <(.+)>:$", line):
            body = found.setdefault(m.group(1), [])
        elif m := re.match(r"^\s+[0-9a-f]+:\s+(\S.*?)\s*(#.*|<.*)?$", line):
            body.append(m.group(1))
    return found


def real(instructions):
    """Without what only marks entry points or pads, and without the clearing of a vector register:
    that is for the fields of the new object, and compilers schedule it where they like."""
    unreal = r"(endbr64|nop|data16|cs nop|xchg +%ax,%ax|(pxor|xorps) +%(xmm\d+),%\3$)"
    return [i for i in instructions if not re.match(unreal, i)]


def until(instructions, pattern):
    """How many instructions there are up to and with the first that matches."""
    for count, instruction in enumerate(instructions, 1):
        if re.search(pattern, instruction):
            return count
    raise AssertionError(f"no {pattern} in {instructions}")


def check(what, count, most):
    print(f"{what}: {count} instructions, at most {most}")
    if count > most:
        sys.exit(f"{what}: {count} instructions are more than {most}")


def check_heap(code):
    # The header lies 8 bytes before the payload, and nothing else of the object does.
    new = real(code["SampleNew"])
    check("allocation, up to the store of the header", until(new, r"^movq? .*,-0x8\(%r"), 7)
    check("field load, barrier not armed", until(real(code["SampleLoad"]), r"^ret") - 1, 5)
    check("field store and its barrier, nothing to log",
          until(real(code["SampleStore"]), r"^ret") - 1, 9)
    check("poll, when no pause is wanted", until(real(code["SamplePoll"]), r"^ret"), 4)
    trace = [(name, i) for name, body in code.items() if "DrainLocal" in name for i in body]
    if not trace:
        sys.exit("the tracer's loop was not found")
    indirect = [f"{name}: {i}" for name, i in trace if re.match(r"(call|jmp) +\*", i)]
    if indirect:
        sys.exit("indirect calls or jumps in the tracer's loop: " + "; ".join(indirect))
    print(f"the tracer's loop: {len(trace)} instructions, no indirect call")


def check_counting(code):
    """What docs/design/counting.md#biased-counts says: up to the first return, which is the one of
    the fast path."""
    check("copy of a counted pointer by its owner", until(real(code["SampleCopy"]), r"^ret"), 14)
    check("drop of one of several by its owner", until(real(code["SampleDrop"]), r"^ret"), 14)
    check("following a counted pointer, barrier not armed",
          until(real(code["SampleFollow"]), r"^ret"), 19)
    check("a Local made and ended, all up to the return", until(real(code["SampleName"]), r"^ret"),
          70)
    check("what a store asks, where nothing is coalesced", until(real(code["SampleStore"]), r"^ret"),
          7)


def main():
    if platform.machine() != "x86_64":
        print("skipped: only x86-64 is counted")
        return
    code = {}
    for archive in sys.argv[1:]:
        code.update(functions(archive))
    if "SampleNew" in code:
        check_heap(code)
    else:
        check_counting(code)


main()
