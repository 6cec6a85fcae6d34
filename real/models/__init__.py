"""A Hugging Face causal language model as the decoder sees it, and its memory."""
