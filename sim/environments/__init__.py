"""Streams of losses with a known truth, one idea per file."""
