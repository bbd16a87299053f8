#!/usr/bin/python3
"""What collections cost under one policy for the heap's size, as a share of what they cost under
another one that uses as much memory on average.

    bench/run W1 W3 --heap 16 --collector concurrent --peers none --json FILE \\
      --sizing growable:3,growable:6,growable:9,growable:14,adaptive:8,adaptive:2
    bench/equal_memory.py FILE

For each run that was not `growable`: its average_heap_bytes and collection_cpu_s (medians of the
rounds), what growable's collection_cpu_s would be in as much memory, and the ratio of the two.
Growable's is read off its own runs, between the two whose memory lies about it, along a straight
line of logarithms: what a cycle costs is much the same whatever the room, and how many there are is
a power of it. Beyond its runs nothing is guessed: run it with another growth.
"""
import collections
import json
import math
import statistics
import sys

MIB = 1 << 20


def medians(lines):
    """{case: {sizing: (memory, time)}}, where a case is all that must be equal but the sizing."""
    rounds = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in lines:
        if line.get("kind") != "result" or "sizing" not in line:
            continue
        case = (line["workload"], line["collector"], line["threads"], line.get("heap_multiple"),
                line.get("live_size_bytes"), line["seed"])
        rounds[case][line["sizing"]].append((line["average_heap_bytes"], line["collection_cpu_s"]))
    return {case: {sizing: tuple(map(statistics.median, zip(*runs)))
                   for sizing, runs in sizings.items()}
            for case, sizings in rounds.items()}


def interpolated(points, memory):
    """The time at `memory`, between two of `points`; None outside of them."""
    points = sorted(points)
    for (less, slow), (more, fast) in zip(points, points[1:]):
        if less <= memory <= more and less < more:
            share = math.log(memory / less) / math.log(more / less)
            return math.exp(math.log(slow) * (1 - share) + math.log(fast) * share)
    return None


def report(cases):
    for (workload, collector, threads, heap, live, _), sizings in cases.items():
        name = f"{workload} {collector} threads={threads}"
        name += f" heap={heap:g}x" if heap else ""
        name += f" live={live / MIB:g}m" if live else ""
        growable = [point for sizing, point in sizings.items() if sizing.startswith("growable")]
        for sizing, (memory, time) in sizings.items():
            if sizing.startswith("growable"):
                continue
            text = f"{name}: {sizing}: {memory / MIB:.0f} MiB, {time:.3f} s"
            there = interpolated(growable, memory)
            if there is None:
                yield text + f"; no growable run on both sides of that ({len(growable)} in all)"
            else:
                yield text + f"; growable: {there:.3f} s; ratio {time / there:.3f}"


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as file:
        lines = list(report(medians(map(json.loads, file))))
    print("\n".join(lines) or "no runs with --sizing in this file")
    return 0 if lines else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
