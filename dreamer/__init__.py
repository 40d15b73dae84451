"""What both papers share: everything but the agents themselves."""
