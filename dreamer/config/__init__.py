"""Settings: how they are declared, read and checked."""
