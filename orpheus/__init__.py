"""Music tagging, recommendation and retrieval on TensorFlow 2 and Keras 3."""

__version__ = "0.1.0"


def load(run):
    """Load a trained tagger.

    Args:
        run: A run folder made by `orpheus.train`.

    Returns:
        `orpheus.tasks.tagging.tagger.Tagger`, whose `predict(path)` tags an audio file.

    Raises:
        DataError: not a run, or one that has no model yet.
    """
    from orpheus.runs.remote import open_run
    from orpheus.tasks.tagging.tagger import Tagger

    return Tagger(open_run(run))


def __getattr__(name: str):
    if name == "MusicRecommender":  # imported when asked for: it loads TensorFlow
        from orpheus.tasks.recommendation.recommender import MusicRecommender

        return MusicRecommender
    if name == "SongIndex":
        from orpheus.tasks.search.song_index import SongIndex

        return SongIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
