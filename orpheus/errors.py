"""The two errors a user can cause. A command shows either as one line and exits with code 2."""


class ConfigError(ValueError):
    """A setting is wrong. The message names the key, the value, the rule and the cure."""


class DataError(ValueError):
    """A file is wrong or missing. The message names the file, what was found, the rule and the cure."""
