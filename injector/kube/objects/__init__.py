"""What the injector writes and counts: status of objects, events, pods without a proxy."""
