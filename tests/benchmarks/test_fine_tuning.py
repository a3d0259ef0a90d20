"""benchmarks.fine_tuning: what its table says of scores that are known."""

from benchmarks import fine_tuning
from orpheus.base import cli


def test_table_has_means_deviations_and_gains_by_seed():
    rows = []
    for seed, (fresh, kept) in enumerate([(0.5, 0.6), (0.7, 0.9)]):
        for arm, value in zip(fine_tuning.ARMS, (fresh, kept, fresh), strict=True):
            both = {"roc_auc": value, "pr_auc": value / 2}
            rows.append({"arm": arm, "seed": seed, "new instruments": both, "common tags": both})
    lines = fine_tuning.table(rows).splitlines()
    assert lines[2].startswith("| fresh | 0.600 ± 0.141 | 0.300 ± 0.071 |")
    assert lines[3].startswith("| init-from | 0.750 ± 0.212 |")
    # by seed the gains are 0.1 and 0.2, whatever lies between the seeds
    assert lines[5].startswith("| init-from: gain over fresh | +0.150 ± 0.071 | +0.075 ± 0.035 |")
    assert lines[6].startswith("| init-from, word vectors: gain over fresh | +0.000 ± 0.000 |")


def test_missing_data_is_one_line(tmp_path, capsys):
    assert fine_tuning.main(["--data", str(tmp_path)]) == cli.EXIT_BAD_INPUT
    assert "philharmonia/tracks.csv; give the folder with --data" in capsys.readouterr().err


def test_instruments_of_both_taggers_are_different_and_all_there(shared):
    import csv

    with open(shared / "philharmonia/tracks.csv", encoding="utf-8", newline="") as file:
        played = {row["mp3_path"].split("/")[-1].split("_")[0] for row in csv.DictReader(file)}
    assert set(fine_tuning.OLD) | set(fine_tuning.NEW) <= played
    assert not set(fine_tuning.OLD) & set(fine_tuning.NEW)
