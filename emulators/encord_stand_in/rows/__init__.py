"""The label rows: built at the start with the SDK (``build``, ``ontology``, ``extras``), or on demand (``giant``)."""
