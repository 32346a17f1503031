"""Being here puts this folder on the import path: ``from strategies import Builder, graphs``."""
