"""Pure decisions of the control plane: functions from objects to values, without I/O or clock."""
