"""The rules themselves, in plain Python: no Beam, no I/O, no clock."""
