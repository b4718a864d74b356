"""What executions cost: time, CPU, memory and errors for each plugin, and who called whom."""
