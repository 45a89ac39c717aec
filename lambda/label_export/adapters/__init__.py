"""Clients of what is outside of the function. Each sub-package knows one provider."""
