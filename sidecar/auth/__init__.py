"""Authentication and authorization of clients, by token or by name and password."""
