"""The commands of ``pixyz``, a file each: its arguments, and what it does."""
