"""Commands in processes forked from one that has loaded TensorFlow, killed at a step of their writing.

A step is a call that touches a path below a folder: open, rename, remove, mkdir, rmdir, connecting to a database. Started
as a script it reads a request a line and answers each with the exit status of the process and the number of its steps.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from tests.conftest import ROOT
from tests.kill import disks

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"}


class Nursery:
    """The process that the others are forked from."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "0"},
        )

    def run(self, call, arguments, root: Path, *, at=None, delay=0.0, number=signal.SIGKILL, whom="self", disk=None):
        """Run a command; returns (exit code, minus the signal's number where one ended it; steps; what it printed).

        Args:
            call: ``"module:function"``, which is given the arguments.
            arguments: Texts.
            root: The folder whose steps count.
            at: The step at which `number` is sent; None for never.
            delay: Seconds between that step and the signal.
            number: The signal.
            whom: ``"self"``, or ``"worker"`` for a process that the command has started.
            disk: Bytes left on the disk that `root` is on, or ``"read-only"``; what is there in the end is then copied to
                ``left`` beside it. None for the disk as it is.
        """
        log = root.with_name(f"{root.name}.log")
        request = {
            "call": call,
            "arguments": [str(one) for one in arguments],
            "root": str(root),
            "at": at,
            "delay": delay,
            "number": int(number),
            "whom": whom,
            "log": str(log),
            "disk": disk,
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], answer["steps"], log.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def _work(request: dict) -> int:
    """In the forked process: run the command, with the signal on its way."""
    os.setpgid(0, 0)
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    steps, main = [0], os.getpid()

    def send() -> None:
        os.kill(_worker(main) if request["whom"] == "worker" else main, request["number"])

    def count(event: str, arguments: tuple) -> None:
        if (
            event not in EVENTS
            or os.getpid() != main
            or not arguments
            or not isinstance(arguments[0], str | os.PathLike)
        ):
            return
        if str(arguments[0]).startswith(request["root"]):
            steps[0] += 1
            if steps[0] == request["at"]:
                if request["delay"]:
                    threading.Timer(request["delay"], send).start()
                else:
                    send()

    module, _, name = request["call"].partition(":")
    call = getattr(importlib.import_module(module), name)
    root, disk = Path(request["root"]), request["disk"]
    if disk is not None:
        disks.put_on(root, left=None if disk == "read-only" else disk)
    sys.addaudithook(count)
    try:
        code = call(request["arguments"]) or 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    if disk is not None:
        shutil.copytree(root, root.with_name("left"), ignore=shutil.ignore_patterns(disks.FILLER))
    Path(request["log"] + ".steps").write_text(str(steps[0]))
    return code


def _child(request: dict) -> NoReturn:
    """What a forked process does from its first line to its end; nothing of its parent's may run after it."""
    code = 99
    try:
        code = _work(request)
    except (Exception, KeyboardInterrupt):
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _worker(parent: int) -> int:
    """The last process that another one has started, the one that watches over its resources left out."""
    for _ in range(1000):
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        found = [int(child) for child in text.split() if b"resource_tracker" not in _command(int(child))]
        if found:
            return found[-1]
        threading.Event().wait(0.005)
    raise AssertionError("there is no worker")


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b"resource_tracker"


def main() -> None:
    """Answer requests until there are no more."""
    for name in ("tensorflow", "keras", "orpheus.models", "orpheus.tasks.tagging.export", "h5py", "librosa", "faiss"):
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        steps = Path(request["log"] + ".steps")
        steps.unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            _child(request)
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "steps": int(steps.read_text()) if steps.exists() else 0}), flush=True)


if __name__ == "__main__":
    main()
