#!/usr/bin/python3
"""Prints one line per test, `LABEL STATUS`, from a file of Bazel's build events (JSON lines).

For tests/run. STATUS is Bazel's: PASSED (a flaky test is not), FAILED, TIMEOUT, ...; or NOT_RUN: it
did not build, or Bazel ended before. A file that is missing or cut short gives the tests it has.
Tests that Bazel was told to leave out, by --test_tag_filters=-TAG (a further argument here), have
no line.
"""

import argparse
import json


def results(lines, without_tag=None):
    """The last status of each test, by label, in order of appearance."""
    status = {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut short: Bazel was killed
        what = event.get("id", {})
        configured = event.get("configured", {})
        left_out = without_tag in configured.get("tag", [])
        if "testSize" in configured and not left_out:  # of tests only
            status.setdefault(what["targetConfigured"]["label"], "NOT_RUN")
        if "testSummary" in what:
            status[what["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("events")
    parser.add_argument("--test_tag_filters", default="-")
    args = parser.parse_args()
    try:
        with open(args.events, encoding="utf-8") as file:
            tag = args.test_tag_filters.removeprefix("-") or None
            for label, status in results(file, tag).items():
                print(label, status)
    except FileNotFoundError:
        pass
