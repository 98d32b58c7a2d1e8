"""A step as a task on a cluster: kfp's placeholders in, the step's own command line run, kfp's executor output back.

Nothing else of the package knows of kfp, and these modules do not import it: the interface is JSON.
"""
