"""Device code: ``make(bind, config)`` gives a kernel; everything it calls comes from `ptx.OPS`."""
