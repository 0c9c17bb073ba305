"""The exported model: its signatures, its files, and its parity with the checkpoint."""
