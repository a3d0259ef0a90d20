"""docs/MIGRATING.md names every option of the reference systems, and the counterparts it gives exist."""

import re

import pytest

from orpheus import config
from orpheus.config import retrieval
from tests.conftest import ROOT

PAGE = (ROOT / "docs/MIGRATING.md").read_text(encoding="utf-8")
TAGGING = """frontend --tfrecords-dir --config --lastfm --multi-db --filter --filter-path --save-PR --save-ROC
    --save-confusion-matrix --save-tags-path --multi-tag --multi-db-default --epochs --steps-per-epoch --no-shuffle
    --update-freq --cuda --built-in -v --verbose --dictionary-dir --save-coocurrence-matrix-path --genre-path --gamma
    --custom-loss-embeddings-path"""
RETRIEVAL = """--num_workers --mode --batch_size --num_chunk --input_length --margin --input_type --w2v_type --is_balanced
    --is_weighted --n_epochs --gpu_id --lr --model_save_path --model_load_path --data_path --neptune_project
    --neptune_api_key"""
COMMANDS = """preprocessing_all_tags.py train.py lastfm.py custom_metric.py compute_dictionaries_k_means.py
    k_means_normalized.py embeddings_projector.py skip-gram.py orpheus_model.py data_input.py run_experiments.py predict.py
    eval.py create_spectrograms.py create_patches.py load_vsm.py load_w2v.py MusicRecommender main.py run.sh eval.sh
    step1_data_split.py step2_word_embedding.py step3_taste_profile.py"""


def rows(heading: str) -> list[tuple[str, str, str]]:
    """The table below a heading, as (there, here, remark)."""
    section = re.split(r"(?m)^#+ ", PAGE.split(f"{heading}\n", 1)[1], maxsplit=1)[0]
    found = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line[:1] == "|"
    ]
    assert all(len(row) == 3 for row in found), heading
    return found[2:]


@pytest.mark.parametrize(
    ("heading", "theirs"), [("### Options of train.py", TAGGING.split()), ("### Options of main.py", RETRIEVAL.split())]
)
def test_every_option_of_theirs_is_named_once(heading, theirs):
    named = [option for there, _, _ in rows(heading) for option in re.findall(r"`([^`]+)`", there)]
    assert sorted(named) == sorted(theirs)


def test_every_command_of_theirs_is_named():
    there = " ".join(row.split("|")[1] for row in PAGE.splitlines() if row.startswith("|"))
    assert not [name for name in COMMANDS.split() if name not in there]
    for option in ("-l", "-s", "-p"):
        assert f"`{option}` of predict.py" in there


def test_what_has_no_counterpart_says_why():
    tables = [line for line in PAGE.splitlines() if line.startswith("| `")]
    without = [line for line in tables if line.split("|")[2].strip() == "–"]
    assert without and all(len(line.split("|")[3].strip()) > 5 for line in without)
    assert all(line.split("|")[2].strip() for line in tables)


def test_keys_of_configs_exist():
    known: dict[str, set] = {}
    checked = 0
    for model in (config.Config, retrieval.RetrievalConfig):
        for name, field in model.model_fields.items():
            known.setdefault(field.alias or name, set()).update(field.annotation.model_fields)
    for section, key in re.findall(r"`([a-z-]+)\.([a-z_]+)(?:\.[a-z_]+)?`", PAGE):
        if section in known:
            assert key in known[section], f"{section}.{key}"
            checked += 1
    assert checked >= 10
