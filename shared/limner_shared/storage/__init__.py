"""Pictures and other blobs, in a folder or a bucket."""
