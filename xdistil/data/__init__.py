"""Data: files -> examples -> subwords -> packed rows -> batches."""
