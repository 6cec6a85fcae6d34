"""What must be installed for what beyond the core, and how."""

EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub"), "real"),
    "peft": "lora",
    "PEPit": "pep",
    "hypothesis": "testing",
    "pytest": "testing",
    "jax": "jax",
    "distributed": "dask",
    "pandas": "tables",
    "pyarrow": "tables",
}
"""Module → the extra that brings it."""


def needs(what: str, module: str) -> str:
    """The message where ``module`` is missing. Nothing is released: an index would bring another's package, or none."""
    extra = EXTRAS[module]
    return f"{what} needs {module}, which is not installed: pip install '.[{extra}]' in the checkout of onlinespec"
