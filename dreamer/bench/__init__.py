"""Speed and memory; the one place of the core that imports agents."""
