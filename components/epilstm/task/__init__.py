"""A step as a task on a cluster: kfp's placeholders in, the step's own command line run, kfp's executor output back.

Nothing else of the package knows of kfp, and this room does not import it: what the two agree on is JSON.
"""
