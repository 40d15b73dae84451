"""Where environments run: in processes of their own or in this one."""
