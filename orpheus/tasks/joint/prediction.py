"""Tags of audio files by a joint run, as probabilities."""

import argparse
import logging
import sys

import numpy as np

from orpheus.base import cli
from orpheus.data.audio.finding import audio_files, printable
from orpheus.errors import DataError
from orpheus.runs.folder import Run
from orpheus.tasks.joint.space import JointSpace

log = logging.getLogger(__name__)


def predict(run: Run, arguments: argparse.Namespace) -> int:
    """See `orpheus.tasks.plan.Task`: exit code 1 where some files could not be read."""
    paths = audio_files(arguments.inputs)
    space = JointSpace(run)
    failures = 0
    found = space.files(paths, damaged=arguments.damaged)
    for path, place in cli.progress(found, desc="predict", unit="file", total=len(paths)):
        if isinstance(place, DataError):
            failures += 1
            log.error("%s", printable(str(place)))
            continue
        print(printable(path))
        probable = space.probabilities(place[None])[0]
        for column in np.argsort(-probable, kind="stable")[: arguments.top]:
            if probable[column] >= arguments.threshold:
                print(f"  {probable[column]:.3f}  {space.training_tags[column]}")
    if failures:
        print(f"{failures} of {len(paths)} files could not be read", file=sys.stderr)
    return cli.EXIT_PARTIAL if failures else cli.EXIT_OK
