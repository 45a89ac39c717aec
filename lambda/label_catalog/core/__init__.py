"""Pure parts: values, comparison, windows, selection, state. They import nothing from the other sub-packages."""
