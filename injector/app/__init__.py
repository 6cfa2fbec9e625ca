"""Assembly of the injector from its parts."""
