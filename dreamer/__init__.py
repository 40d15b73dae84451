"""What all papers share: everything but the agents themselves."""
