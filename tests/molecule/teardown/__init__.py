"""What molecule's scenario `teardown` asserts."""
