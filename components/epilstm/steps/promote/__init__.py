"""The promotion gate: whether a challenger is to follow the champion."""
