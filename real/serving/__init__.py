"""The loop: draft, verify, commit, and learn from what verification revealed."""
