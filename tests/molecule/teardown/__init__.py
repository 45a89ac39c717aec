"""Tests of molecule's scenario `teardown`."""
