"""The service on one machine: embedded Valkey, child processes, the stack, the demo and the doctor."""
