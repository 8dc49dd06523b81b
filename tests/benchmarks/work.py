"""The work dir of a benchmark, whose results are used again by the same command, and the jobs that fill it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tadshrink.files import read_json, write_json

#: What is done, and with which seed.
Name = tuple[str, int]


def check_same(folder: Path, settings: Any) -> None:
    """Make sure that what is in the folder was made with these settings; they are kept there by the first call.

    Raises:
        SystemExit: it was made with others, or nobody knows with which.
    """
    told = plain(settings)
    kept = folder / "settings.json"
    if not kept.exists() and folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty, and does not say how its content was made: give another --work-dir, or delete it")
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(kept, told)
    elif (before := read_json(kept)) != told:
        changed = [key for key in told.keys() | before.keys() if told.get(key) != before.get(key)]
        raise SystemExit(f"{folder} holds results with other settings ({', '.join(sorted(changed))}): give another --work-dir, or delete it")


def plain(value: Any) -> Any:
    """Settings as JSON reads them again; files by their names, as the package may lie elsewhere."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.name if isinstance(value, Path) else value


def recalled(results: Path, settings: Any, fresh: bool = False) -> dict[str, Any]:
    """What the results of an earlier call say, if they were made with these settings; they hold for a new work dir as well.

    Args:
        fresh: they say nothing.
    """
    kept = read_json(results) if results.exists() and not fresh else {}
    if kept.get("settings") != plain(settings):
        return {}
    print(f"figures that {results.name} has are taken from it; --fresh measures all anew", file=sys.stderr, flush=True)
    return kept


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """What the benchmarks that consist of jobs have in common; ``--job`` is for :func:`run_jobs`."""
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work-dir", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="jobs at a time; each keeps about one core busy")
    parser.add_argument("--fresh", action="store_true", help="use no figures of an earlier call; takes a new --work-dir")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)


def command_of(name: str, given: argparse.Namespace) -> str:
    """How the figures can be had again."""
    data = " --data DATA" if given.data else ""
    return f"python -m tests.benchmarks.{name} --dataset {given.dataset}{data} --seeds {given.seeds}"


def run_jobs(module: str, folder: Path, processes: int, jobs: Iterable[Name], needs: Callable[[Name], Sequence[Name]],
             after: Callable[[], None]) -> None:
    """Call this module with the arguments of this process and ``--job NAME SEED`` for each job, so many at a time.

    Args:
        folder: where what each of them prints is kept.
        needs: the jobs that must be done before one; they come before it, if they are to be done at all.
        after: is called whenever a job is done.

    Raises:
        SystemExit: one has failed. Those under way end first.
    """
    started: dict[Name, Future[None]] = {}
    with ThreadPoolExecutor(processes) as pool:
        for job in jobs:
            before = [started[other] for other in needs(job) if other in started]
            started[job] = pool.submit(_run, module, folder, job, before)
        try:
            for done in as_completed(started.values()):
                done.result()
                after()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(module: str, folder: Path, job: Name, before: Sequence[Future[None]]) -> None:
    for other in before:
        other.result()
    name, seed = job
    print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    log = folder / f"{slug(name)}-{seed}.log"
    with log.open("a") as lines:
        ended = subprocess.run([sys.executable, "-m", module, *sys.argv[1:], "--job", name, str(seed)], stdout=lines, stderr=lines)
    if ended.returncode:
        raise SystemExit(f"{name}, seed {seed} failed: see {log}")


def slug(name: str) -> str:
    """How the names of the files of a job begin."""
    return name.replace(" ", "-").replace(",", "").replace("/", "-")
