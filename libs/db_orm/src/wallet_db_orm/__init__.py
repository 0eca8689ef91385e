"""Data access: the only package that talks SQL, and the only place where transactions live."""
