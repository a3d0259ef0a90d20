"""Which network a tagger has: what the config says, or what its records' format says by default."""

from orpheus.config.tagging import Config
from orpheus.data.audio.spec import AudioSpec
from orpheus.errors import ConfigError
from orpheus.models import networks

KEY = "model.frontend"


def settled(config: Config, format: str) -> Config:
    """The config with network, filters and units filled in, as runs store it.

    Args:
        config: Of a run, old ones without a name included: the record's format was the network's name.
        format: Of the records.

    Raises:
        ConfigError: no such network, or one for other records.
    """
    name = config.model.frontend or format
    network = networks.find(name, format=format, key=KEY)
    filled = {
        "frontend": name,
        "n_filters": config.model.n_filters or network.n_filters,
        "n_dense_units": config.model.n_dense_units or network.n_dense_units,
    }
    return config.model_copy(update={"model": config.model.model_copy(update=filled)})


def check(config: Config, spec: AudioSpec) -> None:
    """See that a settled config's network takes the windows of records, before there is a run.

    Raises:
        ConfigError: a window too short or too long, samples stored in the wrong type.
    """
    name, seconds = str(config.model.frontend), config.training.window_length
    network = networks.find(name, format=spec.format, dtype=spec.dtype, key=KEY)
    frames = spec.frames(seconds)
    for limit, wrong, rule in (
        (network.shortest, frames < network.shortest, "at least"),
        (network.longest, network.longest is not None and frames > network.longest, "at most"),
    ):
        if wrong:
            raise ConfigError(
                f"model-training.window_length={seconds:g}: the {name} model needs {rule} {spec.seconds(limit or 0):.2f} s"
            )
    networks.check_window(name, spec.window_shape(seconds), key=KEY)
