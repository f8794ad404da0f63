"""Where messages come from: each source yields what it received, unparsed."""
