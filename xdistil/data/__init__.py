"""From files to batches: examples, tokenizers, subwords, packed rows."""
