"""What molecule's scenario `drift` asserts."""
