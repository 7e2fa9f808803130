"""Language processing on both sides of generation: descriptions to conditions, and pictures to presentations."""
