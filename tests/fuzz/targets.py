"""The file kinds that the project reads: how to make a good one, and everything that is done with it on reading."""

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import mutation, stored, texts

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        name: Of the kind.
        file: Name of the file that is mutated, in the folder that `make` fills.
        make: Fills a folder.
        read: Reads the file as the project does; asserts what must hold of anything that is accepted.
        mutate: How.
        many: Inputs in the slow run; of fewer than 5,000 there are none in the default one.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], None]
    mutate: Mutate = mutation.of_bytes
    many: int = 5000


JSON, TEXT = mutation.of_json, mutation.of_text
ARCHIVE = mutation.of_archive
TARGETS = [
    Target("csv of tracks", "t.csv", texts.text(texts.TRACKS, "t.csv"), texts.read_tracks, TEXT),
    Target("csv of tags", "t.csv", texts.text(texts.TRACKS, "t.csv"), texts.read_tags, TEXT),
    Target("facts for a split", "t.csv", texts.text(texts.TRACKS, "t.csv"), texts.read_facts, TEXT),
    Target("tag file", "t.tsv", texts.text(texts.JAMENDO, "t.tsv"), texts.read_tags, TEXT),
    Target(
        "interactions csv",
        "i.csv",
        texts.text("user,item,count\nu,a,3\nv,b,1\nu,b,2\n", "i.csv"),
        texts.read_interactions,
        TEXT,
    ),
    Target(
        "interactions tsv", "i.tsv", texts.text("u\ta\t3\nv\tb\t1.5\nu\tb\t2\n", "i.tsv"), texts.read_interactions, TEXT
    ),
    Target("playlist", "l.m3u8", texts.text("#EXTM3U\n#EXTINF:-1,x\nm/é.mp3\n", "l.m3u8"), texts.read_history, TEXT),
    Target("history", "h.txt", texts.text("s1\n\n/m/é.mp3\n", "h.txt"), texts.read_history, TEXT),
    Target("index of items", "i.tsv", texts.text("a\t1.mp3\nb\té.mp3\n", "i.tsv"), texts.read_index, TEXT),
    Target(
        "table of annotations",
        "a.tsv",
        texts.text("track_id\ttag\tscore\n1\trock\t50\n2\tpop\t1\n", "a.tsv"),
        texts.read_annotations,
        TEXT,
    ),
    Target("filter", "tags_remove.txt", texts.text("seen live\nété\n", "tags_remove.txt"), texts.read_filter, TEXT),
    Target("GloVe", "v.txt", functools.partial(texts.make_vectors, kind="glove"), texts.read_vectors, TEXT),
    Target("word2vec text", "v.txt", functools.partial(texts.make_vectors, kind="word2vec"), texts.read_vectors, TEXT),
    Target("word2vec binary", "v.bin", functools.partial(texts.make_vectors, kind="binary"), texts.read_vectors),
    Target("vectors, packed", "v.txt.gz", functools.partial(texts.make_vectors, kind="glove"), texts.read_vectors),
    Target("config", "config.json", texts.as_json(texts.CONFIG, "config.json"), texts.read_config, JSON),
    Target("config of an experiment", "e.json", texts.as_json(texts.EXPERIMENT, "e.json"), texts.read_experiment, JSON),
    Target(
        "config of retrieval",
        "r.json",
        texts.as_json(texts.RETRIEVAL, "r.json"),
        functools.partial(texts.read_other_config, kind="retrieval"),
        JSON,
    ),
    Target("run.json", "run.json", texts.as_json(texts.RUN, "run.json"), texts.read_run_file, JSON),
    Target("classes.json", "classes.json", texts.as_json(texts.CLASSES, "classes.json"), texts.read_run_file, JSON),
    Target(
        "history.json", "history.json", texts.as_json(texts.STATE["history"], "history.json"), texts.read_run_file, JSON
    ),
    Target(
        "metrics.json",
        "metrics.json",
        texts.as_json({"test": {"mean_of_windows": {"ROC": 0.5}}}, "metrics.json"),
        texts.read_run_file,
        JSON,
    ),
    Target(
        "songs.json", "songs.json", texts.as_json({"1": ["artist", ["rock"]]}, "songs.json"), texts.read_run_file, JSON
    ),
    Target("state of a checkpoint", "state.json", texts.as_json(texts.STATE, "state.json"), texts.read_run_file, JSON),
    Target(
        "spec of a run",
        "spec.json",
        texts.as_json(
            {
                "format": "waveform",
                "sample_rate": 8000,
                "n_fft": 512,
                "hop_length": 256,
                "n_mels": 32,
                "dtype": "int16",
            },
            "spec.json",
        ),
        texts.read_spec,
        JSON,
    ),
    Target("dictionary", "d.json", texts.as_json(texts.DICTIONARY, "d.json"), texts.read_dictionary, JSON),
    Target("genres.txt", "genres.txt", texts.text("[0, 1]\n[[0, 1]]\n", "genres.txt"), texts.read_genres, TEXT),
    Target(
        "genres.json",
        "genres.json",
        texts.as_json({"genres": [0, 1], "merge": [[0, 1]], "names": {"0": "x"}}, "genres.json"),
        texts.read_genres,
        JSON,
    ),
    Target("split", "s.json", texts.as_json(texts.SPLIT, "s.json"), texts.read_split, JSON),
    Target(
        "vocabulary of TF-IDF",
        "v.json",
        texts.as_json({"kind": "tfidf", "ngrams": 1, "words": ["a", "piano"], "idf": [1.0, 2.5]}, "v.json"),
        texts.read_vocabulary,
        JSON,
    ),
    Target(
        "vocabulary of sequences",
        "v.json",
        texts.as_json({"kind": "sequences", "length": 5, "words": ["a", "piano"]}, "v.json"),
        texts.read_vocabulary,
        JSON,
    ),
    Target(
        "groups of tags",
        "g.json",
        texts.as_json({"groups": {"genres": ["rock"], "instruments": ["piano"]}}, "g.json"),
        texts.read_groups,
        JSON,
    ),
    Target("table .npy", "x.npy", stored.make_table, stored.read_table),
    Target("table .npz", "x.npz", stored.make_table, stored.read_table, ARCHIVE),
    Target("table of text", "x.txt", stored.make_table, stored.read_table, TEXT),
    Target("sparse matrix", "sparse.npz", stored.make_table, stored.read_sparse, ARCHIVE),
    Target("scores", "scores_test.npz", stored.make_scores, stored.read_scores, ARCHIVE),
    Target("patches", "p.hdf5", stored.make_patches, stored.read_patches),
    Target("tag database", "tags.db", stored.make_database, texts.read_tags, stored.mutate_database),
    Target("songs of an index", "songs.db", stored.make_songs, stored.read_songs, stored.mutate_database),
    Target("vectors of an index", "v.faiss", stored.make_nearest, stored.read_nearest),
    Target("map of an index", "map.npz", stored.make_map, stored.read_map, ARCHIVE),
    Target("pickle", "d.pkl", stored.make_pickle, stored.read_pickle),
    Target("spec.json", "spec.json", stored.make_records, stored.read_records, JSON),
    Target("manifest.jsonl", "manifest.jsonl", stored.make_records, stored.read_records, JSON),
    Target("manifest as tags", "manifest.jsonl", stored.make_records, stored.read_sources, JSON),
    Target("manifest as a split", "manifest.jsonl", stored.make_split, stored.read_open_split, JSON),
    Target("run as a split", "run.json", stored.make_split, stored.read_open_split, JSON),
    Target("shard", "a.tfrecord", stored.make_records, stored.read_shard, stored.mutate_record),
    Target(
        "model.keras",
        "model.keras",
        stored.make_model,
        stored.read_model,
        functools.partial(ARCHIVE, json_members=True),
    ),
    Target("weights", "model.weights.h5", stored.make_model, stored.read_weights),
    Target("audio .wav", "a.wav", stored.make_audio, stored.read_audio),
    # A damaged one is decoded again, by ffmpeg in a process of its own: 20 to 200 ms each.
    *(
        Target(f"audio .{name}", f"a.{name}", stored.make_audio, stored.read_audio, many=200)
        for name in ("flac", "mp3", "ogg")
    ),
    Target("audio .npz", "a.npz", stored.make_audio, stored.read_audio, ARCHIVE),
]
