"""The label rows: made at the start with the SDK (``build``, ``ontology``, ``extras``), or on demand (``giant``)."""
