"""Our arrays beside those that the released code computed."""
