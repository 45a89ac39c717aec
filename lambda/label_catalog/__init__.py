"""The catalog function: finds what webhooks missed, queues it for the exporter, reports how complete the bucket is."""

__version__ = "0.2.0"
