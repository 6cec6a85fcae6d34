"""The pages of numbers, made from result files alone: ``results/README.md`` and ``results/verdicts.json``."""
