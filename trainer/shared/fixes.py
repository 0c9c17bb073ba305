"""What a user can do about a file that cannot be read: run the command that writes it again. For error messages."""

EVALUATE_AGAIN = "write it with centernet evaluate"
GATE_AGAIN = "write it with centernet gate"
TRAIN_AGAIN = "write it with centernet train"
RUN_AGAIN = "give a run's summary.json, which centernet run writes"
