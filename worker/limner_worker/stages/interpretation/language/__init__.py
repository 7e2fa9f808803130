"""What the readers of descriptions know of languages: files, detection, numbers, text helpers. No I/O."""
