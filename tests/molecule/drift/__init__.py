"""Tests of molecule's scenario `drift`."""
