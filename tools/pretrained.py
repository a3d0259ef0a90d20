"""Published taggers as run folders: `python -m tools.pretrained MSD_musicnn -o runs/msd-musicnn`."""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orpheus.base import cli, files
from orpheus.errors import ConfigError, DataError

TOLERANCE = 1e-4  # of a score; a detail that is missed, as the normalisation or the logarithm, changes one by 0.3


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.pretrained",
        "Make a run folder of a published tagger: orpheus.predict, export, report and train --init-from take it as one of "
        "their own. Weights, labels and licence come out of the Python package musicnn 0.1.0 (ISC licence, 29 MB), which pip "
        "downloads once; nothing of it is run. Without NAME: lists the taggers.",
        example="python -m tools.pretrained MSD_musicnn -o runs/msd-musicnn",
    )
    result.add_argument("name", metavar="NAME", nargs="?", help="name of the tagger")
    result.add_argument("-o", "--out", type=cli.output_folder, metavar="RUN", help="folder to make; must not be there")
    result.add_argument("--wheel", metavar="FILE", help="the package's file, where there is no network")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.runs import published

    if arguments.name is None:
        if arguments.out or arguments.wheel:
            raise ConfigError("NAME is missing: which tagger; without any option they are listed")
        print(_listed(published.models()))
        return cli.EXIT_OK
    model = published.find(arguments.name)
    if not arguments.out:
        raise ConfigError("-o is missing: the run folder to make, for example -o runs/msd-musicnn")
    print(make(model, arguments.out, wheel=arguments.wheel))
    return cli.EXIT_OK


def make(model, out: str | os.PathLike, *, wheel: str | os.PathLike | None = None) -> Path:
    """Make a run folder of a published tagger.

    Args:
        model: `published.Published`.
        out: The folder. Appears only when complete, and after the network has given the original's scores.
        wheel: The file; None to download it.

    Raises:
        ConfigError: `out` is there.
        DataError: the wheel cannot be had or is another one, or the network gives other scores.
    """
    from orpheus.data.tags.targets import TagTargets
    from orpheus.runs import published
    from orpheus.runs.folder import Run

    out = Path(out).expanduser()
    if out.exists():
        raise ConfigError(f"{out}: there already; name another folder")
    wheel = published.fetch(wheel)
    labels = published.labels(wheel, model)
    network = _network(model, wheel, len(labels))
    with files.whole(out) as temporary:
        temporary.mkdir()
        run = Run.begin(temporary, command=["python", "-m", "tools.pretrained", *map(shlex.quote, sys.argv[1:])])
        run.write("config", published.config(model))
        run.write("spec", published.spec().to_json())
        run.write("classes", TagTargets(labels, {label: column for column, label in enumerate(labels)}).to_json())
        run.write("run", published.about(model))
        (run.folder / "LICENCE.txt").write_text(published.licence(wheel), encoding="utf-8")
        network.save(run.model_path)
    return out


def _network(model, wheel: Path, classes: int):
    """The tagger with its weights, compared with the original on the stored example."""
    import numpy as np

    from orpheus import models
    from orpheus.models import pretrained
    from orpheus.runs import published

    shape = (published.FRAMES, published.MELS)
    network = models.build(input_shape=shape, n_classes=classes, **published.config(model)["model"])
    with tempfile.TemporaryDirectory() as folder:
        pretrained.load(network, model.network, published.extract(wheel, model, folder))
    scores = np.asarray(network(published.example()[None], training=False))[0]
    difference = float(np.abs(scores - model.scores).max())
    if not difference <= TOLERANCE:
        raise DataError(
            f"{model.name}: its scores of the stored example differ by {difference:.2g} from the original's, {TOLERANCE:g} is "
            "allowed; nothing was written"
        )
    return network


def _listed(models) -> str:
    """A line per tagger."""
    lines = [f"{'name':<12} {'ROC-AUC':>8} {'PR-AUC':>7}  50 tags of"]
    for model in models.values():
        roc, pr = model.published["ROC-AUC"], model.published["PR-AUC"]
        lines.append(f"{model.name:<12} {roc:>8.4f} {pr:>7.4f}  {model.trained_on}")
    return "\n".join(
        [*lines, "areas as published by their author, on the test tracks of the data they were trained on"]
    )


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
