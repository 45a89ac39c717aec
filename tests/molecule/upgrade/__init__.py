"""What molecule's scenario `upgrade` asserts."""
