"""A tree of processes: `ebbtide up`."""
