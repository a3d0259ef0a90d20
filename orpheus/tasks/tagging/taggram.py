"""A picture of a file's tags over time."""

import os

from orpheus.base import files


def taggram(prediction, path: str | os.PathLike, *, title: str = "", top: int = 10) -> None:
    """Draw the strongest tags of a file over time.

    Args:
        prediction: `Tagger.predict`'s.
        path: PNG (or another format that matplotlib knows by suffix).
        title: Above the picture.
        top: Tags shown, those with the highest score in any window.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    order = np.argsort(-prediction.scores.max(axis=0), kind="stable")[:top]
    edges = np.append(prediction.starts, prediction.starts[-1] + prediction.window_seconds)
    if len(edges) > 2:  # a last window that ends with the file starts before the one before it ends
        edges[1:-1] = np.maximum.accumulate(edges[1:-1])
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.32 * len(order)), layout="constrained")
    mesh = axes.pcolormesh(
        edges, np.arange(len(order) + 1), prediction.scores[:, order].T, vmin=0, vmax=1, cmap="magma"
    )
    axes.set_yticks(np.arange(len(order)) + 0.5, [prediction.classes[i] for i in order])
    axes.invert_yaxis()
    minutes = edges[-1] > 180
    axes.xaxis.set_major_formatter(lambda x, _: f"{int(x) // 60}:{int(x) % 60:02d}" if minutes else f"{x:g}")
    axes.set_xlabel("time (min:s)" if minutes else "time (s)")
    axes.set_title(title)
    figure.colorbar(mesh, ax=axes, label="score")
    with files.whole(path, suffix=os.path.splitext(path)[1]) as temporary:
        figure.savefig(temporary, dpi=110)
    plt.close(figure)
