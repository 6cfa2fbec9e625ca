"""The proxy as a process: command line, files, logs, own metrics, ports and tasks."""
