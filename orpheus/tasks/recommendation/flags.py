"""Options of the commands that experiments take. Loads no TensorFlow."""

import argparse
from typing import TYPE_CHECKING

from orpheus.errors import ConfigError
from orpheus.tasks.plan import Flags, flag

if TYPE_CHECKING:
    from orpheus.runs.folder import Run

DATA_DIR = flag("--data-dir", metavar="DIR", help="data folder; where the run's was if not given")
SCORES = [  # of orpheus.experiment, too
    flag("-k", type=int, metavar="K", help="length of recommendation lists; the config's if not given"),
    flag("--baselines", action="store_true", help="random, popularity, nearest neighbours, upper bound too"),
    flag(
        "--as-reference",
        action="store_true",
        help="also R2, nDCG, MAP, P@k, ADiv and PR-AUC as tartarus computes them (docs/RECOMMENDATION.md)",
    ),
]
FLAGS: Flags = {
    "train": {},
    "evaluate": {"of an experiment's run": [DATA_DIR, *SCORES]},
    "predict": {
        "of an experiment's run": [
            flag(
                "-s",
                "--split",
                "--set",
                type=lambda text: {"val": "valid"}.get(text, text),  # --set val is tartarus'
                choices=("train", "valid", "test"),
                default="test",
                help="split whose items are predicted",
            ),
            flag(
                "-l",
                "--layer",
                metavar="LAYER",
                help="index or name of a hidden layer: its output becomes the features RUN-pred_LAYER, a setting of the "
                "next experiment",
            ),
            flag("-p", "--patches", action="store_true", help="the run takes audio patches (checked, not needed)"),
            DATA_DIR,
        ]
    },
}


def check(command: str, arguments: argparse.Namespace, run: "Run | None") -> None:
    """See `orpheus.tasks.plan.Task`."""
    if command == "train":
        if run is None:
            raise ConfigError(f"{arguments.config}: an experiment's; it is trained by python -m orpheus.experiment")
        for option in ("dry_run", "steps_per_epoch", "strategy", "data_service"):
            if getattr(arguments, option):
                raise ConfigError(
                    f"--{option.replace('_', '-')}: {run.folder} is an experiment's, which has no such thing"
                )
    elif command == "evaluate" and arguments.k is not None and arguments.k < 1:
        raise ConfigError(f"-k {arguments.k}: must be at least 1")
    elif command == "predict" and arguments.inputs and run is not None:
        raise ConfigError(
            f"{run.folder}: an experiment predicts its sets (-s); for new files see orpheus.recommend --new"
        )
