"""Every figure once: the report and `epilstm plot` draw with these."""
