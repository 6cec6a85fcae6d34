"""The version of the distribution: pyproject.toml reads it from here, and every result file names it."""

VERSION = "0.1.0"
