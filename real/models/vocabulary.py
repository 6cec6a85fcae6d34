"""Target and draft speak of the same tokens by the same ids."""

from typing import Any


def check_tokenizers(target: Any, draft: Any, target_name: str, draft_name: str) -> None:
    """ValueError unless both tokenizers give every id the same token."""
    ours, theirs = target.get_vocab(), draft.get_vocab()
    if ours == theirs:
        return
    different = [token for token in {**ours, **theirs} if ours.get(token) != theirs.get(token)]
    odd = min(different, key=lambda token: (ours.get(token, len(ours)), token))
    raise ValueError(
        f"draft={draft_name!r}: its tokenizer must give every token the id that target={target_name!r} gives it, but "
        f"token {odd!r} has id {theirs.get(odd)} here and {ours.get(odd)} there ({len(theirs)} and {len(ours)} "
        "tokens); choose a draft of the same family"
    )
