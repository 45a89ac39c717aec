"""What molecule's scenario `default` asserts."""
