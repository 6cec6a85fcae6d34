"""Verification, acceptance and speed: what speculative decoding asks of a draft, as arithmetic without a model."""
