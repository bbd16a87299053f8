#!/usr/bin/python3
"""Prints one line per test, `LABEL STATUS`, from a file of Bazel's build events (JSON lines).

For tests/run. STATUS is Bazel's: PASSED (a flaky test is not), FAILED, TIMEOUT, ...; or NOT_RUN: it
did not build, or Bazel ended before. A file that is missing or cut short gives the tests it has.
"""

import json
import sys


def results(lines):
    """The last status of each test, by label, in order of appearance."""
    status = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut short: Bazel was killed
        what = event.get("id", {})
        if "testSize" in event.get("configured", {}):  # of tests only
            status.setdefault(what["targetConfigured"]["label"], "NOT_RUN")
        if "testSummary" in what:
            status[what["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
    return status


if __name__ == "__main__":
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            for label, status in results(file).items():
                print(label, status)
    except FileNotFoundError:
        pass
