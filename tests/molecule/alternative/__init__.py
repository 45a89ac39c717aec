"""Tests of molecule's scenario `alternative`."""
