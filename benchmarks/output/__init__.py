"""Tables, charts and reports. Nothing here knows a loss or runs a library."""
