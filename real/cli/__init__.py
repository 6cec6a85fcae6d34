"""The commands: python -m real."""
