"""The PostgreSQL engine of `dashboard.database`, in the shape that Django looks for: `base.DatabaseWrapper`."""
