"""Storage of pictures and other blobs, in a folder or a bucket."""
