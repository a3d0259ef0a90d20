"""What every room may use: files, command lines, tables, worker processes, shipped resources."""
