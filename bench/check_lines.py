#!/usr/bin/python3
"""Checks a file of benchmark lines: every line parses, every workload named has a result of ebb
that collected, if it allocates, every result carries the times and the memory, and subjects that
say what graph they ended with agree.

    check_lines.py FILE WORKLOAD...
"""
import json
import sys

path, wanted = sys.argv[1], sys.argv[2:]
with open(path, encoding="utf-8") as file:
    lines = [json.loads(line) for line in file]

faults = []
kinds = {"result", "ratio", "skipped"}
faults += [f"unknown kind: {line}" for line in lines if line.get("kind") not in kinds]

results = [line for line in lines if line["kind"] == "result"]
for result in results:
    for field in ("workload", "subject", "threads", "round", "seed", "wall_s", "cpu_s",
                  "peak_rss_bytes"):
        if field not in result:
            faults.append(f"no {field}: {result}")
    if result["wall_s"] <= 0 or result["peak_rss_bytes"] <= 0:
        faults.append(f"nothing measured: {result}")

for result in (r for r in results if "sizing" in r):
    if not 0 < result.get("average_heap_bytes", 0) <= result["heap_bytes"]:
        faults.append(f"no average size: {result}")
    if not 0 < result.get("average_limit_bytes", 0) <= result["heap_bytes"]:
        faults.append(f"no average limit: {result}")
    if "collection_cpu_s" not in result:  # how much is beyond the clocks of a run that is so short
        faults.append(f"no cost of collections: {result}")

# They count references, and allocate little: no cycle falls into them.
without_cycles = {"W5a", "W5b", "W5d", "W5e", "W5f"}

for workload in wanted:
    own = [r for r in results if r["workload"] == workload and r["subject"] == "ebb"]
    if not own:
        faults.append(f"{workload}: no result of ebb")
    for result in own if workload not in without_cycles else []:
        if result.get("collections", 0) <= 0:
            faults.append(f"{workload}: did not collect: {result}")
        if "p50" not in result.get("pause_ns", {}):
            faults.append(f"{workload}: no pauses: {result}")
        # W3's larger heap is there not to collect.
        collects = (workload, result.get("heap_multiple")) != ("W3", 16)
        if (result.get("timed_collections", int(collects)) > 0) != collects:
            faults.append(f"{workload}: timed collections are not as they should be: {result}")

graphs = {}
for result in (r for r in results if "checksum" in r):
    case = (result["workload"], result.get("live_size_bytes"), result["seed"])
    graphs.setdefault(case, set()).add(result["checksum"])
    if result["latency_ns"]["count"] <= 0:
        faults.append(f"no latencies: {result}")
faults += [f"{case}: graphs differ: {sums}" for case, sums in graphs.items() if len(sums) > 1]

for ratio in (line for line in lines if line["kind"] == "ratio"):
    for field in ("workload", "of", "subject", "peer", "threads", "rounds"):
        if field not in ratio:
            faults.append(f"no {field}: {ratio}")
    if ratio["rounds"] > 0 and not ratio["min"] <= ratio["median"] <= ratio["max"]:
        faults.append(f"min, median, max out of order: {ratio}")
    if "bar" in ratio:
        faults.append(f"a bar on a smoke run: {ratio}")

workloads = {result["workload"] for result in results}
print("\n".join(faults) or f"{len(results)} results of {len(workloads)} workloads")
sys.exit(bool(faults))
