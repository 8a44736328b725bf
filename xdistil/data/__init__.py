"""Data: files -> examples -> pieces -> packed rows -> batches."""
