"""Agreement with other libraries, where installed. Comments say who is right where they differ."""
