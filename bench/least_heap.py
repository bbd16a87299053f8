#!/usr/bin/python3
"""The least heap in which a workload still completes, as a multiple of its largest live size.

    bench/run --least-heap [--workload W1] [--threads 1] [--smoke] [--from 1] [--to 8]
        [--within 0.05] [--cpu-seconds 300] [--subjects parallel,concurrent,generational,boehm]

For each subject (a collector of ours, or a peer whose heap has a size, which is then capped) the
interval between a multiple that is too small and one that is not is halved until it is `within`.
What does not complete: out of memory, or not done after so many seconds of processor time, of all
threads. How long the run in the least heap took stands beside it, since time can be had for memory.
Exit status 1 if a run ends in any other way, or if a subject does not complete in the largest heap.
"""
import argparse
import json
import resource
import signal
import subprocess
import sys

OUT_OF_MEMORY = 3  # kOutOfMemoryExit in bench/run_process.h
COLLECTORS = ("parallel", "concurrent", "generational")


class Failed(Exception):
    pass


def run(program, options, subject, multiple):
    """The result line in a heap of `multiple`; None if it does not complete."""
    spec = {"workload": options.workload, "threads": options.threads, "heap": f"{multiple:.4f}",
            "smoke": int(options.smoke)}
    if subject in COLLECTORS:
        spec |= {"subject": "ebb", "collector": subject}
    else:
        spec |= {"subject": subject, "capped": 1}
    text = ",".join(f"{name}={value}" for name, value in spec.items())
    limit = options.cpu_seconds
    done = subprocess.run(
        [program, "--one", text], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1)))
    if done.returncode in (OUT_OF_MEMORY, -signal.SIGXCPU):
        return None
    if done.returncode != 0:
        raise Failed(f"{text}: exit status {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def bisect(completes, too_little, enough, within):
    """(multiple, what `completes` gave there) for the least multiple found; (None, None) if it is
    more than `enough`. `completes` gives None where it does not. If `too_little` completes, that is
    the least."""
    result = completes(enough)
    if result is None:
        return None, None
    least = completes(too_little)
    if least is not None:
        return too_little, least
    while enough - too_little > within:
        middle = (too_little + enough) / 2
        tried = completes(middle)
        if tried is None:
            too_little = middle
        else:
            enough, result = middle, tried
    return enough, result


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench/run --least-heap", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help=argparse.SUPPRESS)
    parser.add_argument("--workload", default="W1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--from", dest="too_little", type=float, default=1)
    parser.add_argument("--to", dest="enough", type=float, default=8)
    parser.add_argument("--within", type=float, default=0.05)
    parser.add_argument("--cpu-seconds", type=int, default=300)
    parser.add_argument("--subjects", default=",".join(COLLECTORS + ("boehm",)))
    options = parser.parse_args(arguments)
    if not (1 <= options.too_little < options.enough and options.within > 0):
        parser.error("--from is at least 1 and less than --to, and --within is more than 0")

    failed = False
    print(f"{options.workload}, {options.threads} thread(s): the least heap, within "
          f"{options.within:g} of the largest live size\n"
          f"{'subject':<14}{'multiple':>9}{'MiB':>7}{'wall s':>9}{'cpu s':>8}{'cycles':>8}")
    for subject in options.subjects.split(","):
        try:
            multiple, result = bisect(lambda m: run(options.program, options, subject, m),
                                      options.too_little, options.enough, options.within)
        except Failed as error:
            print(f"{subject:<14}{error}")
            failed = True
            continue
        if multiple is None:
            print(f"{subject:<14}does not complete in {options.enough:g}x; raise --to or "
                  "--cpu-seconds")
            failed = True
            continue
        print(f"{subject:<14}{multiple:>9.2f}"
              f"{multiple * result['largest_live_bytes'] / (1 << 20):>7.0f}"
              f"{result['wall_s']:>9.2f}{result['cpu_s']:>8.2f}{result['collections']:>8}",
              flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
