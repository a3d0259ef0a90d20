"""Audio files of a data folder to spectrogram patches."""

import argparse
import os
import sys
from pathlib import Path

from orpheus.base import cli
from orpheus.tasks import plan


def parser() -> cli.Parser:
    result = cli.parser(
        "tools.patches",
        "Compute constant-Q, mel or STFT spectrograms of the audio files in an index, and write patches of them to "
        "patches/patches_SET_NAME_NxS.hdf5, standardised by the training set. An interrupted run goes on where it "
        "stopped; files that cannot be used are listed in patches/failures_NAME_NxS.jsonl.",
        example="python -m tools.patches cqt --data-dir data --dataset SUPER",
    )
    result.add_argument("kind", choices=("cqt", "mel", "stft"), help="kind of spectrogram")
    result.add_argument("--data-dir", required=True, metavar="DIR", help="data folder with splits/")
    result.add_argument("--dataset", required=True, metavar="NAME", help="name of the data set, as in its file names")
    source = result.add_argument_group("input")
    source.add_argument(
        "--audio", metavar="DIR", help="folder of audio files; DIR/audio of the data folder if not given"
    )
    source.add_argument(
        "--index", metavar="TSV", help="file of id and file name; index/index_audio_NAME.tsv if not given"
    )
    source.add_argument("--keep-silent", action="store_true", help="silent files become silent patches, not failures")
    plan.DAMAGED.add_to(source)
    patch = result.add_argument_group("patches")
    patch.add_argument("--count", type=int, default=1, metavar="N", help="number of patches per item")
    patch.add_argument("--seconds", type=float, default=15.0, metavar="S", help="seconds of a patch")
    patch.add_argument("--seed", type=int, default=0, help="seed of where patches start")
    patch.add_argument(
        "--standardise",
        choices=("band", "frame-band"),
        default="band",
        help="mean and deviation of each band; or of each frame and band, as the reference",
    )
    spectrogram = result.add_argument_group("spectrogram")
    spectrogram.add_argument("--sr", type=int, default=22050, metavar="HZ", help="sample rate")
    spectrogram.add_argument("--hop-length", type=int, default=1024, metavar="SAMPLES", help="step between frames")
    spectrogram.add_argument("--bins", type=int, default=96, metavar="N", help="number of bands of cqt and mel")
    spectrogram.add_argument("--bins-per-octave", type=int, default=12, metavar="N", help="bins per octave of cqt")
    spectrogram.add_argument("--n-fft", type=int, default=2048, metavar="SAMPLES", help="window of mel and stft")
    result.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="number of processes")
    return result


def body(arguments: argparse.Namespace) -> int:
    from orpheus.data.items import layout, patch_files, patches

    spec = patch_files.PatchSpec(
        arguments.kind,
        sample_rate=arguments.sr,
        hop_length=arguments.hop_length,
        bins=arguments.bins,
        n_fft=arguments.n_fft,
        bins_per_octave=arguments.bins_per_octave,
        seconds=arguments.seconds,
        count=arguments.count,
        seed=arguments.seed,
        standardise=arguments.standardise,
    )
    folder = layout.DataFolder(arguments.data_dir, arguments.dataset)
    index = Path(arguments.index) if arguments.index else folder.index / f"index_audio_{folder.dataset}.tsv"
    root = Path(arguments.audio) if arguments.audio else folder.root / "audio"
    paths = {item: root / name for item, name in layout.read_pairs(index).items()}
    summary = patches.make(
        folder,
        paths,
        spec,
        keep_silent=arguments.keep_silent,
        damaged=arguments.damaged,
        workers=arguments.workers,
        progress=cli.progress,
    )
    for path in summary.written.values():
        with patch_files.Patches(path) as made:
            print(f"{path}: {len(made)} patches of {made.frames} frames × {made.width} bands")
    for failure in summary.failures:
        print(f"left out {failure['id']}: {failure['reason']}")
    for row in summary.damaged:
        print(f"damaged {row['id']}: {row['damage']}")
    return cli.EXIT_PARTIAL if summary.failures else cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    return cli.run(parser(), body, argv)


if __name__ == "__main__":
    sys.exit(main())
