"""Pure parts: values, comparison, windows, selection, state. They import nothing of the other sub-packages."""
