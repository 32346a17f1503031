"""A kernel package to copy, edit and compile in tests; never imported from here."""
