"""What molecule's scenario `alternative` asserts."""
