"""What a run leaves behind for people: result files, tables and figures."""
