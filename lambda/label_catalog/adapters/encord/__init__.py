"""Encord: the SDK for everything that it reads safely, and our own reader of the one listing that it does not."""
