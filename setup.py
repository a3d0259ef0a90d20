"""Lists the packages: all that have code, and the configs and dictionaries that pyproject.toml puts inside orpheus."""

from setuptools import find_packages, setup

SHIPPED = ["orpheus.shipped.configs", "orpheus.shipped.configs.experiments", "orpheus.shipped.dictionaries"]

setup(packages=[*find_packages(include=["orpheus", "orpheus.*", "tools"]), *SHIPPED])
