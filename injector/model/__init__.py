"""Pure decisions of the control plane: objects in, values out. No I/O, no clock."""
