"""Many runs at once: planned, as scripts, on this machine or a cluster."""
