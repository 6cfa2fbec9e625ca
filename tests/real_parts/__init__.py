"""Real parts of the Prometheus world, built from source, for the tests to compare Livery with."""
