"""One module per stage: its cases, the data they need, and how each is measured."""
