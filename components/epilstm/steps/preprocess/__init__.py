"""From signal to the standardised matrix of bins x tracks."""
