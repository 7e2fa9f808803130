"""The whole service on one machine: embedded servers, child processes, the demo and the doctor."""
