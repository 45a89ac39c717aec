"""Encord: the SDK for everything that it reads safely, and the one listing that it does not."""
