"""Objects that the injector watches or writes: status, events, pods, backends, Secrets."""
